//! What is thrown away when a connection is put back, and when it is closed instead.

use std::io::ErrorKind;

use pool_driver::shared::PoolConnection;
use pool_proto::{CheckResult, CloseReason};

use crate::look::pattern;
use crate::reading::all_of;
use crate::rig::{Kind, Streaming, Taken};
use crate::writing::write;

/// The most data that is thrown away.
const DRAIN_LIMIT: usize = 256 * 1024;

fn drain(taken: &mut Taken) -> CheckResult {
    taken.leased.get_mut().unwrap().drain()
}

fn look(taken: &mut Taken) -> CheckResult {
    taken.leased.get_mut().unwrap().check()
}

/// Puts it back, and says why it was closed, if it was.
fn put(streaming: Streaming) -> Option<CloseReason> {
    let Streaming { mut pool, stream, .. } = streaming;
    pool.put(stream).unwrap();
    pool.turn();
    let reason = pool.reasons().first().copied();
    assert_eq!(pool.stats().idle, u32::from(reason.is_none()));
    reason
}

#[test]
fn with_nothing_there_it_is_quiet_and_watched() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.rouse();
        assert_eq!(drain(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert!(taken.near.is_watched(), "{kind:?}");
        assert_eq!(look(&mut taken), CheckResult::Quiet, "{kind:?}");
    }
}

#[test]
fn what_has_arrived_is_thrown_away_looked_at_or_not() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.say(b"an old answer");
        assert_eq!(look(&mut taken), CheckResult::Data, "{kind:?}");
        taken.peer.say(b"and another");
        assert_eq!(drain(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert_eq!(taken.near.unread(), 0, "{kind:?}");
        assert_eq!(look(&mut taken), CheckResult::Quiet, "{kind:?}");
    }
}

#[test]
fn as_much_as_the_limit_is_thrown_away_and_a_byte_more_is_too_much() {
    for kind in Kind::ALL {
        for (length, expected) in
            [(DRAIN_LIMIT, CheckResult::Quiet), (DRAIN_LIMIT + 1, CheckResult::Data)]
        {
            let mut taken = kind.taken();
            taken.peer.say(&pattern(length));
            assert_eq!(drain(&mut taken), expected, "{kind:?}, {length}");
        }
    }
}

#[test]
fn what_was_kept_counts_too() {
    for kind in Kind::ALL {
        for (length, expected) in
            [(DRAIN_LIMIT, CheckResult::Quiet), (DRAIN_LIMIT + 1, CheckResult::Data)]
        {
            let mut taken = kind.taken();
            taken.peer.say(&pattern(10_000));
            look(&mut taken);
            taken.peer.say(&pattern(length - 10_000));
            assert_eq!(drain(&mut taken), expected, "{kind:?}, {length}");
        }
    }
}

#[test]
fn behind_what_is_thrown_away_the_end_is_found() {
    for kind in Kind::ALL {
        for in_good_order in [true, false] {
            let mut taken = kind.taken();
            taken.peer.say(b"the last answer");
            if in_good_order {
                taken.peer.goodbye();
            } else {
                taken.peer.end.end();
            }
            assert_eq!(drain(&mut taken), CheckResult::Closed, "{kind:?}: {in_good_order}");
        }
    }
}

#[test]
fn a_failure_is_a_close() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.set(|kernel| kernel.read_error = Some(ErrorKind::ConnectionReset));
        assert_eq!(drain(&mut taken), CheckResult::Closed, "{kind:?}");
        let mut taken = kind.taken();
        taken.near.set(|kernel| kernel.watch_error = Some(ErrorKind::Other));
        assert_eq!(drain(&mut taken), CheckResult::Closed, "{kind:?}");
    }
}

#[test]
fn put_back_it_is_used_again_without_what_was_left() {
    for kind in Kind::ALL {
        let Streaming { mut pool, near, mut peer, stream } = kind.streaming();
        peer.say(b"an old answer");
        pool.put(stream).unwrap();
        pool.turn();
        assert_eq!((pool.stats().idle, pool.reasons()), (1, [].as_slice()), "{kind:?}");
        let mut stream = pool.take().expect("the same");
        peer.say(b"a new one");
        assert_eq!(all_of(&mut stream, &near), b"a new one", "{kind:?}");
    }
}

#[test]
fn with_too_much_left_it_is_closed() {
    for kind in Kind::ALL {
        let mut streaming = kind.streaming();
        streaming.peer.say(&pattern(DRAIN_LIMIT + 1));
        assert_eq!(put(streaming), Some(CloseReason::Leftover), "{kind:?}");
    }
}

#[test]
fn what_tls_has_not_sent_yet_is_sent_at_the_put() {
    for kind in Kind::TLS {
        let mut streaming = kind.streaming();
        streaming.near.set(|kernel| kernel.room = 10);
        assert_eq!(write(&mut streaming.stream, b"the end of it").unwrap(), 13, "{kind:?}");
        streaming.near.set(|kernel| kernel.room = 1000);
        let Streaming { mut pool, mut peer, stream, .. } = streaming;
        pool.put(stream).unwrap();
        pool.turn();
        assert_eq!((pool.stats().idle, pool.reasons()), (1, [].as_slice()), "{kind:?}");
        assert_eq!(peer.hear(), b"the end of it", "{kind:?}");
    }
}

#[test]
fn with_something_that_cannot_be_sent_now_it_is_closed() {
    for kind in Kind::TLS {
        let mut streaming = kind.streaming();
        streaming.near.set(|kernel| kernel.room = 10);
        write(&mut streaming.stream, b"the end of it").unwrap();
        assert_eq!(put(streaming), Some(CloseReason::Leftover), "{kind:?}");
    }
}

#[test]
fn with_something_that_can_never_be_sent_it_counts_as_closed_by_the_peer() {
    for kind in Kind::TLS {
        let mut streaming = kind.streaming();
        streaming.near.set(|kernel| kernel.room = 10);
        write(&mut streaming.stream, b"the end of it").unwrap();
        streaming.near.set(|kernel| kernel.write_error = Some(ErrorKind::ConnectionReset));
        assert_eq!(put(streaming), Some(CloseReason::PeerClosed), "{kind:?}");
    }
}

#[test]
fn with_its_own_half_closed_it_is_not_used_again() {
    for kind in Kind::ALL {
        let mut streaming = kind.streaming();
        streaming.stream.shutdown(crate::wire::Io).unwrap();
        assert_eq!(put(streaming), Some(CloseReason::PeerClosed), "{kind:?}");
    }
}
