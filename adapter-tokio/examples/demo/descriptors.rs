//! The limit of file descriptors: 200 visitors at a time through proxies need more than the usual
//! 1024.

/// The number that the largest phase needs, with a margin: 256 ready and 200 leased connections,
/// each with two ends at the pools and two at the proxy, and two sockets at each end of 200
/// visitors.
#[cfg(target_os = "linux")]
const NEEDED: u64 = 4096;

/// Returns the number of open sockets and files of this process; `None` where they cannot be counted.
/// The first deadline opens three more descriptors, of the thread that keeps all deadlines: they stay.
pub(crate) fn open() -> Option<usize> {
    let is_pollers = |to: &std::path::Path| to.to_string_lossy().starts_with("anon_inode:");
    let entries = std::fs::read_dir("/proc/self/fd").ok()?.flatten();
    let opened = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    Some(opened.filter(|to| !is_pollers(to)).count())
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
