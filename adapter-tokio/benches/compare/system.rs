//! Figures of the operating system, and other processes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pool_testkit::measure::nanos;
use rustix::time::ClockId;

use crate::Outcome;

/// The time by the clock, in nanoseconds.
pub(crate) fn now() -> u64 {
    nanos(ClockId::Monotonic)
}

/// The processor time of this process, in nanoseconds.
pub(crate) fn processor() -> u64 {
    nanos(ClockId::ProcessCPUTime)
}

/// The memory of a process that is its own, in bytes: without the kernel's and that of files.
pub(crate) fn resident(process: u32) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}

/// Another process of this program, which plays the part that it is given. It ends when this is dropped.
pub(crate) struct Other {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Other {
    pub(crate) fn start(part: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::run(command.arg("--part").args(part))
    }

    pub(crate) fn run(command: &mut Command) -> Outcome<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Self { child, input, output })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn write(&mut self, line: &str) -> Outcome {
        let input = self.input.as_mut().ok_or("no input")?;
        writeln!(input, "{line}")?;
        Ok(())
    }

    /// The next line that it prints.
    pub(crate) fn read(&mut self) -> Outcome<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("the other process has ended".into());
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // The end of its input ends it; it may have ended already.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Runs a part of this program under strace, and returns the number of its system calls.
pub(crate) fn traced(part: &[&str]) -> Outcome<f64> {
    let list = std::env::temp_dir().join(format!("compare-{}.strace", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-c", "-q", "-o"])
        .arg(&list)
        .arg(std::env::current_exe()?)
        .arg("--part")
        .args(part)
        .status()
        .map_err(|_| "there is no strace")?;
    let text = std::fs::read_to_string(&list).unwrap_or_default();
    // Fails where there is none.
    let _ = std::fs::remove_file(&list);
    let total = text.lines().find(|line| line.ends_with(" total"));
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    match calls {
        Some(calls) if status.success() => Ok(calls),
        _ => Err("strace does not work here".into()),
    }
}

/// The processor time of another process, in nanoseconds.
pub(crate) fn used(process: u32) -> Outcome<f64> {
    let mut sum = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let path = thread?.path().join("schedstat");
        // A thread may end meanwhile.
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        sum += text.split_whitespace().next().ok_or("no time")?.parse::<f64>()?;
    }
    Ok(sum)
}
