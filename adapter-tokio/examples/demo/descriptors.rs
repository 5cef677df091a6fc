//! The limit of file descriptors: 200 visitors at a time through proxies need more than the usual
//! 1024.

/// The number that the largest phase needs, with a margin: 256 ready and 200 leased connections,
/// each with two ends at the pools and two at the proxy, and two sockets at each end of 200
/// visitors.
#[cfg(target_os = "linux")]
const NEEDED: u64 = 4096;

/// Returns the number of open descriptors of this process; `None` where they cannot be counted.
pub(crate) fn open() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Raises the soft limit as far as is needed and allowed.
#[cfg(target_os = "linux")]
pub(crate) fn raise_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` means unlimited.
    if current.is_none_or(|current| current >= NEEDED) {
        return;
    }
    let raised = maximum.map_or(NEEDED, |maximum| maximum.min(NEEDED));
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    if set.is_err() || raised < NEEDED {
        eprintln!(
            "note: the demo needs up to {NEEDED} descriptors, but the hard limit is {raised}"
        );
    }
}

/// Does nothing: this system has no such limit, or a higher one.
#[cfg(not(target_os = "linux"))]
pub(crate) fn raise_limit() {}
