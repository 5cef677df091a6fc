//! A process of the example, with its log.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The longest time of any step on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(15);

pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Process {
    /// Starts the example with these arguments.
    pub(crate) fn start(command: &str, settings: &Path) -> Self {
        let mut child =
            example().arg(command).arg(settings).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                // Fails if the test has ended.
                let _ = sender.send(line);
            }
        });
        Self { child, lines, log: Vec::new() }
    }

    /// Waits for a line of the log that contains `text`, and returns what follows the text.
    #[track_caller]
    pub(crate) fn logs(&mut self, text: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = line.split_once(text).map(|(_, rest)| rest.to_owned());
                    self.log.push(line);
                    if let Some(rest) = found {
                        return rest;
                    }
                }
                Err(_) => panic!("the log has no {text:?}:\n{}", self.log.join("\n")),
            }
        }
    }

    /// Sends a signal, such as `HUP`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(status.success(), "kill -s {signal}: {status}");
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the process goes on");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program as the example.
pub(crate) fn example() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(super::IS_EXAMPLE, "");
    command
}
