//! File descriptors: 200 visitors at a time through proxies need more than the usual 1024.

/// What the largest phase needs, with a margin: 256 ready and 200 used connections, with two ends
/// at the pools and two at the proxy each, and two sockets at each end of 200 visitors.
#[cfg(target_os = "linux")]
const NEEDED: u64 = 4096;

/// How many descriptors this process has open; `None` where that cannot be counted.
pub(crate) fn open() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Raises the soft limit as far as needed and allowed.
#[cfg(target_os = "linux")]
pub(crate) fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    if current.is_none_or(|current| current >= NEEDED) {
        return;
    }
    let raised = maximum.map_or(NEEDED, |maximum| maximum.min(NEEDED));
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    if set.is_err() || raised < NEEDED {
        eprintln!("note: {NEEDED} file descriptors would be safe, but {raised} is the hard limit");
    }
}

/// There is no such limit here, or it is high enough.
#[cfg(not(target_os = "linux"))]
pub(crate) fn raise_limit() {}
