//! Checks of a pooled connection: their results, the data that they keep, and the data that they
//! leave.

use std::io::ErrorKind;

use pool_driver::shared::PoolConnection;
use pool_proto::CheckResult;

use crate::peer::Peer;
use crate::reading::{all_of, read};
use crate::rig::{Kind, Taken};

/// The amount of early data at which a check stops reading; the last read may exceed it.
const EARLY_LIMIT: usize = 16 * 1024;

fn check(taken: &mut Taken) -> CheckResult {
    taken.leased.get_mut().check()
}

/// Returns all data that the holder reads.
fn contents(mut taken: Taken) -> Vec<u8> {
    all_of(&mut taken.leased, &taken.near)
}

pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

#[test]
fn a_check_without_data_is_quiet_and_needs_no_read() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        assert!(taken.near.is_watched(), "{kind:?}");
        let before = taken.near.get(|kernel| (kernel.reads, kernel.watches));
        assert_eq!(check(&mut taken), CheckResult::Quiet, "{kind:?}");
        let after = taken.near.get(|kernel| (kernel.reads, kernel.watches));
        assert_eq!(after, before, "{kind:?}");
    }
}

#[test]
fn data_is_kept_for_the_holder() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.send(b"hello");
        assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
        assert_eq!(taken.near.unread(), 0, "{kind:?}");
        assert!(taken.near.is_watched(), "{kind:?}");
        assert_eq!(contents(taken), b"hello", "{kind:?}");
    }
}

#[test]
fn known_data_needs_no_further_read() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.send(b"hello");
        check(&mut taken);
        let before = taken.near.get(|kernel| kernel.reads);
        assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
        assert_eq!(taken.near.get(|kernel| kernel.reads), before, "{kind:?}");
    }
}

#[test]
fn data_in_pieces_is_kept_in_order_over_several_checks() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.set(|kernel| kernel.piece = 3);
        for part in ["one, two, ", "three, ", "four"] {
            taken.peer.send(part.as_bytes());
            assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
            assert_eq!(taken.near.unread(), 0, "{kind:?}");
        }
        assert_eq!(contents(taken), b"one, two, three, four", "{kind:?}");
    }
}

#[test]
fn data_beyond_the_limit_stays_in_the_kernel() {
    for kind in Kind::PLAIN {
        let mut taken = kind.taken();
        let data = pattern(EARLY_LIMIT + 3000);
        taken.peer.send(&data);
        for _ in 0..2 {
            assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
            assert_eq!(taken.near.unread(), 3000, "{kind:?}");
        }
        assert_eq!(contents(taken), data, "{kind:?}");
    }
}

#[test]
fn a_check_below_the_limit_reads_on() {
    for kind in Kind::PLAIN {
        let mut taken = kind.taken();
        taken.peer.send(&pattern(EARLY_LIMIT - 1));
        assert_eq!(check(&mut taken), CheckResult::Data);
        assert!(taken.near.is_watched());
        taken.peer.send(b"x");
        assert_eq!(check(&mut taken), CheckResult::Data);
        assert_eq!(taken.near.unread(), 0, "there was room for this byte");
        taken.peer.send(b"y");
        assert_eq!(check(&mut taken), CheckResult::Data);
        assert_eq!(taken.near.unread(), 1, "the limit is reached");
    }
}

#[test]
fn data_beyond_the_limit_arrives_whole_over_tls() {
    for kind in Kind::TLS {
        let mut taken = kind.taken();
        let data = pattern(5 * EARLY_LIMIT);
        taken.peer.send(&data);
        for _ in 0..3 {
            assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
            assert!(taken.near.unread() > 2 * EARLY_LIMIT, "{kind:?}");
        }
        assert_eq!(contents(taken), data, "{kind:?}");
    }
}

#[test]
fn a_check_finds_the_peers_close() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.close();
        assert_eq!(check(&mut taken), CheckResult::Closed, "{kind:?}");
    }
}

#[test]
fn an_end_is_found_by_each_check() {
    let whole = Kind::ALL.map(|kind| (kind, Peer::close as fn(&mut Peer)));
    let close_notify = Kind::TLS.map(|kind| (kind, Peer::close_tls as fn(&mut Peer)));
    for (kind, end) in whole.into_iter().chain(close_notify) {
        let mut taken = kind.taken();
        end(&mut taken.peer);
        for _ in 0..3 {
            assert_eq!(check(&mut taken), CheckResult::Closed, "{kind:?}");
        }
    }
}

#[test]
fn eof_without_close_notify_is_a_close() {
    for kind in Kind::TLS {
        let mut taken = kind.taken();
        taken.peer.end.end();
        assert_eq!(check(&mut taken), CheckResult::Closed, "{kind:?}");
    }
}

#[test]
fn a_request_before_a_close_is_delivered_if_the_peer_is_a_pool() {
    for kind in Kind::ALL {
        for in_good_order in [true, false] {
            let mut taken = kind.taken();
            taken.peer.send(b"request");
            if in_good_order {
                taken.peer.close();
            } else {
                taken.peer.end.end();
            }
            let expected = kind.end_after("request");
            assert_eq!(check(&mut taken), expected, "{kind:?}, with close_notify: {in_good_order}");
        }
    }
}

#[test]
fn eof_after_data_is_found_by_the_next_check() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.send(b"request");
        assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
        taken.peer.close();
        let expected = kind.end_after("request");
        assert_eq!(check(&mut taken), expected, "{kind:?}");
    }
}

#[test]
fn a_read_error_is_an_end_even_after_data() {
    for kind in Kind::ALL {
        for data in ["", "request"] {
            let mut taken = kind.taken();
            taken.peer.send(data.as_bytes());
            taken.near.set(|kernel| kernel.read_error = Some(ErrorKind::ConnectionReset));
            assert_eq!(check(&mut taken), kind.end_after(data), "{kind:?}, {data:?}");
        }
    }
}

#[test]
fn a_reset_that_is_reported_only_once_is_an_end() {
    for kind in Kind::ALL {
        for data in ["", "request"] {
            let mut taken = kind.taken();
            taken.peer.send(data.as_bytes());
            if !data.is_empty() {
                check(&mut taken);
            }
            let before = taken.near.get(|kernel| kernel.reads);
            taken.near.set(|kernel| kernel.peek_error = Some(ErrorKind::ConnectionReset));
            assert_eq!(check(&mut taken), kind.end_after(data), "{kind:?}, {data:?}");
            assert_eq!(taken.near.get(|kernel| kernel.reads), before, "{kind:?}, {data:?}");
        }
    }
}

/// Nothing more is read behind as much data as the pool keeps, but the kernel is still asked.
#[test]
fn a_reset_behind_a_full_buffer_is_an_end() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        let data = pattern(EARLY_LIMIT);
        taken.peer.send(&data);
        assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
        taken.near.set(|kernel| kernel.peek_error = Some(ErrorKind::ConnectionReset));
        assert_eq!(check(&mut taken), kind.end_after("request"), "{kind:?}");
        let mut buffer = vec![0; EARLY_LIMIT + 1];
        assert_eq!(read(&mut taken.leased, &mut buffer).unwrap(), EARLY_LIMIT, "{kind:?}");
        assert_eq!(buffer[..EARLY_LIMIT], data, "{kind:?}");
        let error = read(&mut taken.leased, &mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{kind:?}");
    }
}

#[test]
fn a_connection_that_cannot_be_watched_has_ended() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.send(b"request");
        taken.near.set(|kernel| kernel.watch_error = Some(ErrorKind::Other));
        assert_eq!(check(&mut taken), kind.end_after("request"), "{kind:?}");
    }
}

#[test]
fn data_before_a_failure_is_read_and_then_the_failure() {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.has_claims()) {
        let mut taken = kind.taken();
        taken.peer.send(b"request");
        taken.near.set(|kernel| kernel.read_error = Some(ErrorKind::ConnectionReset));
        assert_eq!(check(&mut taken), CheckResult::Finished, "{kind:?}");
        let mut buffer = [0; 16];
        assert_eq!(read(&mut taken.leased, &mut buffer).unwrap(), 7, "{kind:?}");
        let error = read(&mut taken.leased, &mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{kind:?}");
    }
}

#[test]
fn an_end_without_data_is_read_as_eof_and_a_failure_as_that() {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.has_claims()) {
        let mut taken = kind.taken();
        taken.peer.close();
        assert_eq!(check(&mut taken), CheckResult::Closed, "{kind:?}");
        assert_eq!(read(&mut taken.leased, &mut [0; 16]).unwrap(), 0, "{kind:?}");

        let mut taken = kind.taken();
        taken.near.set(|kernel| kernel.peek_error = Some(ErrorKind::ConnectionReset));
        assert_eq!(check(&mut taken), CheckResult::Closed, "{kind:?}");
        let error = read(&mut taken.leased, &mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{kind:?}");
    }
}

#[test]
fn a_spurious_wake_is_quiet_and_watched_again() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.wake();
        assert!(!taken.near.is_watched(), "{kind:?}");
        assert_eq!(check(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert!(taken.near.is_watched(), "{kind:?}");
    }
}

/// Whoever reads is woken by another thread, perhaps in the middle of the check.
#[test]
fn a_wake_during_a_check_is_not_lost() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.wake();
        taken.near.set(|kernel| kernel.wakes_at_once = true);
        assert_eq!(check(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert!(!taken.near.is_watched(), "{kind:?}");
        assert_eq!(check(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert!(taken.near.is_watched(), "{kind:?}");
    }
}

#[test]
fn a_check_reads_on_while_the_reactor_reports_readiness() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.wake();
        taken.near.set(|kernel| (kernel.spurious, kernel.reads) = (2, 0));
        assert_eq!(check(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert_eq!(taken.near.get(|kernel| kernel.reads), 3, "{kind:?}");
        assert!(taken.near.is_watched(), "{kind:?}");
    }
}

#[test]
fn an_interrupted_read_is_repeated() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.send(b"hello");
        taken.near.set(|kernel| kernel.interrupts = 2);
        assert_eq!(check(&mut taken), CheckResult::Data, "{kind:?}");
        assert_eq!(contents(taken), b"hello", "{kind:?}");
    }
}

#[test]
fn an_invalid_record_is_a_close_and_sends_an_alert() {
    for kind in Kind::TLS {
        let mut taken = kind.taken();
        taken.peer.send_invalid_record();
        assert_eq!(check(&mut taken), CheckResult::Closed, "{kind:?}");
        taken.peer.assert_alert(kind);
    }
}

#[test]
fn early_data_claims_a_connection_if_the_peer_is_a_pool() {
    for kind in Kind::ALL {
        let mut pool = kind.pool();
        let (_near, mut peer) = pool.connect();
        pool.turn();
        assert_eq!(pool.stats().idle, 1, "{kind:?}");
        peer.send(b"request");
        pool.turn();
        let stats = pool.stats();
        let expected = if kind.has_claims() { (0, 1) } else { (1, 0) };
        assert_eq!((stats.idle, stats.claimed), expected, "{kind:?}");
    }
}

#[test]
fn a_close_is_noticed_without_an_acquire() {
    for kind in Kind::ALL {
        let mut pool = kind.pool();
        let (near, mut peer) = pool.connect();
        pool.turn();
        peer.close();
        pool.turn();
        if kind.has_claims() {
            // It is kept for an acquire by its id: the peer may have used it.
            assert_eq!((pool.stats().idle, pool.stats().finished), (0, 1), "{kind:?}");
        } else {
            assert_eq!(pool.reasons(), [pool_proto::CloseReason::PeerClosed], "{kind:?}");
            assert_eq!(near.get(|kernel| kernel.shut_writes), 1, "{kind:?}");
        }
    }
}

#[test]
fn a_close_that_the_reactor_has_not_reported_is_noticed_at_the_acquire() {
    for kind in Kind::ALL {
        let mut pool = kind.pool();
        let (near, mut peer) = pool.connect();
        near.set(|kernel| kernel.forget());
        peer.close();
        assert!(pool.take().is_none(), "{kind:?}");
    }
}
