//! Failed accepts: their meaning, and the pause after them.

use std::io::{self, ErrorKind};
use std::time::Duration;

use pool_driver::{AcceptFailure, AcceptPacer};

const MS: Duration = Duration::from_millis(1);

fn failed(error: impl Into<io::Error>) -> AcceptFailure {
    AcceptPacer::new(1).failed(&error.into())
}

fn pause(pacer: &mut AcceptPacer) -> Duration {
    match pacer.failed(&io::Error::other("no descriptors")) {
        AcceptFailure::Pause(pause) => pause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_peer_that_left_before_the_accept_is_skipped() {
    for kind in [
        ErrorKind::ConnectionAborted,
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionRefused,
        ErrorKind::Interrupted,
        ErrorKind::TimedOut,
        ErrorKind::HostUnreachable,
        ErrorKind::NetworkUnreachable,
        ErrorKind::NetworkDown,
    ] {
        assert_eq!(failed(kind), AcceptFailure::OfOnePeer, "{kind:?}");
    }
}

#[test]
fn a_dead_listener_is_given_up() {
    assert_eq!(failed(ErrorKind::InvalidInput), AcceptFailure::OfTheListener);
    // EINVAL, EBADF, ENOTSOCK.
    #[cfg(target_os = "linux")]
    for errno in [22, 9, 88] {
        let error = io::Error::from_raw_os_error(errno);
        assert_eq!(failed(error), AcceptFailure::OfTheListener, "{errno}");
    }
}

#[test]
fn all_other_errors_cause_a_pause() {
    for kind in [ErrorKind::Other, ErrorKind::OutOfMemory, ErrorKind::PermissionDenied] {
        assert!(matches!(failed(kind), AcceptFailure::Pause(_)), "{kind:?}");
    }
    // EMFILE, ENFILE, ENOBUFS, ENOMEM.
    #[cfg(target_os = "linux")]
    for errno in [24, 23, 105, 12] {
        let failure = failed(io::Error::from_raw_os_error(errno));
        assert!(matches!(failure, AcceptFailure::Pause(_)), "{errno}: {failure:?}");
    }
}

#[test]
fn pauses_grow_from_ten_milliseconds_to_a_second() {
    let mut longest = [Duration::ZERO; 12];
    for seed in 0..200 {
        let mut pacer = AcceptPacer::new(seed);
        for (nth, longest) in longest.iter_mut().enumerate() {
            let pause = pause(&mut pacer);
            assert!(pause <= (10 * MS * (1 << nth)).min(1000 * MS), "seed {seed}, {nth}");
            *longest = pause.max(*longest);
        }
    }
    for (nth, longest) in longest.into_iter().enumerate() {
        assert!(longest > (9 * MS * (1 << nth)).min(900 * MS), "{nth}: {longest:?}");
    }
}

#[test]
fn an_accepted_peer_resets_the_pauses() {
    for seed in 0..20 {
        let mut pacer = AcceptPacer::new(seed);
        (0..12).for_each(|_| _ = pause(&mut pacer));
        pacer.accepted();
        assert!(pause(&mut pacer) <= 10 * MS, "seed {seed}");
    }
}

#[test]
fn failures_of_one_peer_do_not_lengthen_the_pauses() {
    for seed in 0..20 {
        let mut pacer = AcceptPacer::new(seed);
        (0..12).for_each(|_| _ = pacer.failed(&ErrorKind::ConnectionAborted.into()));
        assert!(pause(&mut pacer) <= 10 * MS, "seed {seed}");
    }
}
