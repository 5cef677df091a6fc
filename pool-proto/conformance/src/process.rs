//! Descriptors and threads of this process, and processor time, as Linux reports them.

use std::fmt::Debug;
use std::time::Duration;

use super::prelude::*;
use super::skipped::skip;

/// The number of open descriptors; `None` where they cannot be counted.
pub(super) fn descriptors() -> Option<usize> {
    count("/proc/self/fd")
}

/// The number of threads; `None` where they cannot be counted.
pub(super) fn threads() -> Option<usize> {
    count("/proc/self/task")
}

fn count(directory: &str) -> Option<usize> {
    if !cfg!(target_os = "linux") {
        skip("descriptors and threads are counted on Linux only");
        return None;
    }
    Some(std::fs::read_dir(directory).unwrap().count())
}

/// The processor time that a process has used, in steps of 10 ms.
pub(super) fn processor_time(process: u32) -> Option<Duration> {
    if !cfg!(target_os = "linux") {
        skip("processor time is read on Linux only");
        return None;
    }
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Fields 14 and 15 of proc(5), counted from 1, in hundredths of a second.
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Some(Duration::from_millis(ticks * 10))
}

/// Returns the result of `look` once 50 further looks have not changed it: earlier scenarios may
/// still be cleaning up. It counts looks, each after a pause of 1 ms, and not time: on a busy
/// machine, 50 ms may pass in which no other thread has run.
pub(super) fn settled<T: PartialEq + Debug>(look: impl Fn() -> T) -> T {
    let mut last = look();
    let mut same = 0;
    eventually(
        || {
            let seen = look();
            same = if seen == last { same + 1 } else { 0 };
            last = seen;
            same
        },
        |same| *same >= 50,
    );
    last
}
