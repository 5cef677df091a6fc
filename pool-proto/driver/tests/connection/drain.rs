//! Drains: the data that a put discards, and the results that close the connection instead.

use std::io::ErrorKind;

use allocation_counter::measure;
use pool_driver::shared::PoolConnection;
use pool_proto::{CheckResult, CloseReason};

use crate::check::pattern;
use crate::reading::all_of;
use crate::rig::{Kind, Streaming, Taken};
use crate::writing::write;

/// The most data that a drain discards.
const DRAIN_LIMIT: usize = 256 * 1024;

fn drain(taken: &mut Taken) -> CheckResult {
    taken.leased.get_mut().drain()
}

fn check(taken: &mut Taken) -> CheckResult {
    taken.leased.get_mut().check()
}

/// Puts the stream back; returns the reason if the connection was closed.
fn put(streaming: Streaming) -> Option<CloseReason> {
    let Streaming { mut pool, stream, .. } = streaming;
    pool.put(stream).unwrap();
    pool.turn();
    let reason = pool.reasons().first().copied();
    assert_eq!(pool.stats().idle, u32::from(reason.is_none()));
    reason
}

#[test]
fn a_drain_without_data_is_quiet_and_watched() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.wake();
        assert_eq!(drain(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert!(taken.near.is_watched(), "{kind:?}");
        assert_eq!(check(&mut taken), CheckResult::Quiet, "{kind:?}");
    }
}

#[test]
fn a_drain_discards_data_whether_it_was_checked_or_not() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.send(b"an old answer");
        assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
        taken.peer.send(b"and another");
        assert_eq!(drain(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert_eq!(taken.near.unread(), 0, "{kind:?}");
        assert_eq!(check(&mut taken), CheckResult::Quiet, "{kind:?}");
    }
}

#[test]
fn a_drain_discards_data_up_to_its_limit() {
    for kind in Kind::ALL {
        for (length, expected) in
            [(DRAIN_LIMIT, CheckResult::Quiet), (DRAIN_LIMIT + 1, CheckResult::Data)]
        {
            let mut taken = kind.taken();
            taken.peer.send(&pattern(length));
            assert_eq!(drain(&mut taken), expected, "{kind:?}, {length}");
        }
    }
}

#[test]
fn kept_data_counts_towards_the_drain_limit() {
    for kind in Kind::ALL {
        for (length, expected) in
            [(DRAIN_LIMIT, CheckResult::Quiet), (DRAIN_LIMIT + 1, CheckResult::Data)]
        {
            let mut taken = kind.taken();
            taken.peer.send(&pattern(10_000));
            check(&mut taken);
            taken.peer.send(&pattern(length - 10_000));
            assert_eq!(drain(&mut taken), expected, "{kind:?}, {length}");
        }
    }
}

/// An idle connection would have it for as long as it lives.
#[test]
fn a_drain_gives_back_the_memory_of_what_it_discards() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.send(&pattern(10_000));
        assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
        let drained = measure(|| assert_eq!(drain(&mut taken), CheckResult::Quiet, "{kind:?}"));
        assert!(drained.bytes_current <= -10_000, "{kind:?}: {drained:?}");
    }
}

#[test]
fn a_drain_finds_eof_after_discarded_data() {
    for kind in Kind::ALL {
        for in_good_order in [true, false] {
            let mut taken = kind.taken();
            taken.peer.send(b"the last answer");
            if in_good_order {
                taken.peer.close();
            } else {
                taken.peer.end.end();
            }
            assert_eq!(drain(&mut taken), CheckResult::Closed, "{kind:?}: {in_good_order}");
        }
    }
}

#[test]
fn a_failed_drain_is_a_close() {
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
fn a_reused_connection_does_not_deliver_old_data() {
    for kind in Kind::ALL {
        let Streaming { mut pool, near, mut peer, stream } = kind.streaming();
        peer.send(b"an old answer");
        pool.put(stream).unwrap();
        pool.turn();
        assert_eq!((pool.stats().idle, pool.reasons()), (1, [].as_slice()), "{kind:?}");
        let mut stream = pool.take().expect("the same connection");
        peer.send(b"a new one");
        assert_eq!(all_of(&mut stream, &near), b"a new one", "{kind:?}");
    }
}

#[test]
fn a_put_with_too_much_unread_data_closes_the_connection() {
    for kind in Kind::ALL {
        let mut streaming = kind.streaming();
        streaming.peer.send(&pattern(DRAIN_LIMIT + 1));
        assert_eq!(put(streaming), Some(CloseReason::Leftover), "{kind:?}");
    }
}

#[test]
fn a_put_sends_the_data_that_tls_has_buffered() {
    for kind in Kind::TLS {
        let mut streaming = kind.streaming();
        streaming.near.set(|kernel| kernel.room = 10);
        assert_eq!(write(&mut streaming.stream, b"the end of it").unwrap(), 13, "{kind:?}");
        streaming.near.set(|kernel| kernel.room = 1000);
        let Streaming { mut pool, mut peer, stream, .. } = streaming;
        pool.put(stream).unwrap();
        pool.turn();
        assert_eq!((pool.stats().idle, pool.reasons()), (1, [].as_slice()), "{kind:?}");
        assert_eq!(peer.receive(), b"the end of it", "{kind:?}");
    }
}

#[test]
fn a_put_with_data_that_cannot_be_sent_now_closes_the_connection() {
    for kind in Kind::TLS {
        let mut streaming = kind.streaming();
        streaming.near.set(|kernel| kernel.room = 10);
        write(&mut streaming.stream, b"the end of it").unwrap();
        assert_eq!(put(streaming), Some(CloseReason::Leftover), "{kind:?}");
    }
}

#[test]
fn a_put_with_data_that_can_never_be_sent_counts_as_closed_by_the_peer() {
    for kind in Kind::TLS {
        let mut streaming = kind.streaming();
        streaming.near.set(|kernel| kernel.room = 10);
        write(&mut streaming.stream, b"the end of it").unwrap();
        streaming.near.set(|kernel| kernel.write_error = Some(ErrorKind::ConnectionReset));
        assert_eq!(put(streaming), Some(CloseReason::PeerClosed), "{kind:?}");
    }
}

#[test]
fn a_half_closed_connection_is_not_reused() {
    for kind in Kind::ALL {
        let mut streaming = kind.streaming();
        streaming.stream.shutdown(crate::wire::Io).unwrap();
        assert_eq!(put(streaming), Some(CloseReason::PeerClosed), "{kind:?}");
    }
}

#[test]
fn the_socket_learns_of_the_first_write_and_of_the_put() {
    for kind in Kind::ALL {
        let Streaming { mut pool, near, mut peer, mut stream } = kind.streaming();
        assert!(near.get(|kernel| kernel.uses.is_empty()), "{kind:?}");
        write(&mut stream, b"request").unwrap();
        peer.send(b"answer");
        assert_eq!(all_of(&mut stream, &near), b"answer", "{kind:?}");
        assert_eq!(near.get(|kernel| kernel.uses.clone()), [true], "{kind:?}");
        pool.put(stream).unwrap();
        pool.turn();
        assert_eq!(near.get(|kernel| kernel.uses.clone()), [true, false], "{kind:?}");
        // A holder that does not write costs nothing.
        let mut stream = pool.take().unwrap();
        peer.send(b"early");
        assert_eq!(all_of(&mut stream, &near), b"early", "{kind:?}");
        pool.put(stream).unwrap();
        pool.turn();
        assert_eq!(near.get(|kernel| kernel.uses.len()), 2, "{kind:?}");
        let mut stream = pool.take().unwrap();
        stream.shutdown(crate::wire::Io).unwrap();
        assert_eq!(near.get(|kernel| kernel.uses.clone()), [true, false, true], "{kind:?}");
    }
}
