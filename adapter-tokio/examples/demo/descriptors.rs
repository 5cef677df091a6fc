//! File descriptors: 200 visitors at a time through proxies need more than the usual 1024.

/// What the largest phase needs, with a margin: 256 ready and 200 used connections, with two ends
/// at the pools and two at the proxy each, and two sockets at each end of 200 visitors.
const NEEDED: u32 = 4096;

/// How many descriptors this process has open; `None` where that cannot be counted.
pub(crate) fn open() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Raises the soft limit, if it is too low, by starting this program again under a shell that does
/// so: the one way without unsafe code or another dependency.
#[cfg(unix)]
pub(crate) fn raise_limit() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const RAISED: &str = "POOL_DEMO_LIMIT_RAISED";
    let answer = Command::new("sh").args(["-c", "ulimit -n"]).output();
    let limit = answer.ok().and_then(|answer| {
        let text = String::from_utf8(answer.stdout).ok()?;
        text.trim().parse::<u32>().ok()
    });
    // "unlimited" is no number, and no shell means that there is nothing to be done.
    let Some(limit) = limit.filter(|limit| *limit < NEEDED) else {
        return;
    };
    if std::env::var_os(RAISED).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        let script = format!("ulimit -n {NEEDED} 2>/dev/null; exec \"$0\"");
        let mut again = Command::new("sh");
        again.arg("-c").arg(script).arg(program).env(RAISED, "1");
        // It comes back only if it failed.
        let _ = again.exec();
    }
    eprintln!("note: only {limit} file descriptors are allowed; {NEEDED} would be safe (ulimit -n)");
}

/// There is no such limit here.
#[cfg(not(unix))]
pub(crate) fn raise_limit() {}
