//! What a look at a connection of the pool finds, keeps and leaves.

use std::io::ErrorKind;

use pool_driver::shared::PoolConnection;
use pool_proto::CheckResult;

use crate::reading::all_of;
use crate::rig::{Kind, Taken};

/// Data kept for the next holder, at the most, but for what the last read has brought.
const EARLY_LIMIT: usize = 16 * 1024;

fn look(taken: &mut Taken) -> CheckResult {
    taken.leased.get_mut().unwrap().check()
}

/// What its holder reads.
fn contents(mut taken: Taken) -> Vec<u8> {
    all_of(&mut taken.leased, &taken.near)
}

pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

#[test]
fn nothing_is_quiet_and_is_known_without_a_read() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        assert!(taken.near.is_watched(), "{kind:?}");
        let before = taken.near.get(|kernel| (kernel.reads, kernel.watches));
        assert_eq!(look(&mut taken), CheckResult::Quiet, "{kind:?}");
        let after = taken.near.get(|kernel| (kernel.reads, kernel.watches));
        assert_eq!(after, before, "{kind:?}");
    }
}

#[test]
fn data_is_kept_for_the_holder() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.say(b"hello");
        assert_eq!(look(&mut taken), CheckResult::Data, "{kind:?}");
        assert_eq!(taken.near.unread(), 0, "{kind:?}");
        assert!(taken.near.is_watched(), "{kind:?}");
        assert_eq!(contents(taken), b"hello", "{kind:?}");
    }
}

#[test]
fn data_that_is_known_is_not_looked_for_again() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.say(b"hello");
        look(&mut taken);
        let before = taken.near.get(|kernel| kernel.reads);
        assert_eq!(look(&mut taken), CheckResult::Data, "{kind:?}");
        assert_eq!(taken.near.get(|kernel| kernel.reads), before, "{kind:?}");
    }
}

#[test]
fn data_in_pieces_is_kept_in_order_over_several_looks() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.set(|kernel| kernel.piece = 3);
        for part in ["one, two, ", "three, ", "four"] {
            taken.peer.say(part.as_bytes());
            assert_eq!(look(&mut taken), CheckResult::Data, "{kind:?}");
            assert_eq!(taken.near.unread(), 0, "{kind:?}");
        }
        assert_eq!(contents(taken), b"one, two, three, four", "{kind:?}");
    }
}

#[test]
fn beyond_the_limit_data_stays_in_the_kernel() {
    for kind in Kind::PLAIN {
        let mut taken = kind.taken();
        let data = pattern(EARLY_LIMIT + 3000);
        taken.peer.say(&data);
        for _ in 0..2 {
            assert_eq!(look(&mut taken), CheckResult::Data, "{kind:?}");
            assert_eq!(taken.near.unread(), 3000, "{kind:?}");
        }
        assert_eq!(contents(taken), data, "{kind:?}");
    }
}

#[test]
fn a_byte_below_the_limit_it_looks_on() {
    for kind in Kind::PLAIN {
        let mut taken = kind.taken();
        taken.peer.say(&pattern(EARLY_LIMIT - 1));
        assert_eq!(look(&mut taken), CheckResult::Data);
        assert!(taken.near.is_watched());
        taken.peer.say(b"x");
        assert_eq!(look(&mut taken), CheckResult::Data);
        assert_eq!(taken.near.unread(), 0, "there was room for it");
        taken.peer.say(b"y");
        assert_eq!(look(&mut taken), CheckResult::Data);
        assert_eq!(taken.near.unread(), 1, "now there is none");
    }
}

#[test]
fn over_tls_more_than_the_limit_comes_out_whole() {
    for kind in Kind::TLS {
        let mut taken = kind.taken();
        let data = pattern(5 * EARLY_LIMIT);
        taken.peer.say(&data);
        for _ in 0..3 {
            assert_eq!(look(&mut taken), CheckResult::Data, "{kind:?}");
            assert!(taken.near.unread() > 2 * EARLY_LIMIT, "{kind:?}");
        }
        assert_eq!(contents(taken), data, "{kind:?}");
    }
}

#[test]
fn the_peers_close_is_found() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.goodbye();
        assert_eq!(look(&mut taken), CheckResult::Closed, "{kind:?}");
    }
}

#[test]
fn an_end_without_tls_goodbye_is_a_close() {
    for kind in Kind::TLS {
        let mut taken = kind.taken();
        taken.peer.end.end();
        assert_eq!(look(&mut taken), CheckResult::Closed, "{kind:?}");
    }
}

#[test]
fn a_request_behind_which_the_peer_closes_is_delivered_but_what_is_no_request_hides_no_close() {
    for kind in Kind::ALL {
        for in_good_order in [true, false] {
            let mut taken = kind.taken();
            taken.peer.say(b"request");
            if in_good_order {
                taken.peer.goodbye();
            } else {
                taken.peer.end.end();
            }
            let expected = if kind.has_claims() { CheckResult::Data } else { CheckResult::Closed };
            assert_eq!(look(&mut taken), expected, "{kind:?}, in good order: {in_good_order}");
        }
    }
}

#[test]
fn an_end_after_a_look_that_found_data_is_seen_by_the_next() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.say(b"request");
        assert_eq!(look(&mut taken), CheckResult::Data, "{kind:?}");
        taken.peer.goodbye();
        let expected = if kind.has_claims() { CheckResult::Data } else { CheckResult::Closed };
        assert_eq!(look(&mut taken), expected, "{kind:?}");
    }
}

#[test]
fn a_failure_is_a_close_even_behind_data() {
    for kind in Kind::ALL {
        for data in ["", "request"] {
            let mut taken = kind.taken();
            taken.peer.say(data.as_bytes());
            taken.near.set(|kernel| kernel.read_error = Some(ErrorKind::ConnectionReset));
            assert_eq!(look(&mut taken), CheckResult::Closed, "{kind:?}, {data:?}");
        }
    }
}

#[test]
fn a_reset_that_reports_itself_once_is_taken_at_its_word() {
    for kind in Kind::ALL {
        for data in ["", "request"] {
            let mut taken = kind.taken();
            taken.peer.say(data.as_bytes());
            if !data.is_empty() {
                look(&mut taken);
            }
            let before = taken.near.get(|kernel| kernel.reads);
            taken.near.set(|kernel| kernel.peek_error = Some(ErrorKind::ConnectionReset));
            assert_eq!(look(&mut taken), CheckResult::Closed, "{kind:?}, {data:?}");
            assert_eq!(taken.near.get(|kernel| kernel.reads), before, "{kind:?}, {data:?}");
        }
    }
}

#[test]
fn a_connection_that_cannot_be_watched_any_more_is_closed() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.say(b"request");
        taken.near.set(|kernel| kernel.watch_error = Some(ErrorKind::Other));
        assert_eq!(look(&mut taken), CheckResult::Closed, "{kind:?}");
    }
}

#[test]
fn a_wake_for_nothing_is_quiet_and_watched_again() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.rouse();
        assert!(!taken.near.is_watched(), "{kind:?}");
        assert_eq!(look(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert!(taken.near.is_watched(), "{kind:?}");
    }
}

#[test]
fn it_reads_on_where_the_reactor_says_that_there_may_be_more() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.near.rouse();
        taken.near.set(|kernel| (kernel.spurious, kernel.reads) = (2, 0));
        assert_eq!(look(&mut taken), CheckResult::Quiet, "{kind:?}");
        assert_eq!(taken.near.get(|kernel| kernel.reads), 3, "{kind:?}");
        assert!(taken.near.is_watched(), "{kind:?}");
    }
}

#[test]
fn an_interrupted_read_is_done_again() {
    for kind in Kind::ALL {
        let mut taken = kind.taken();
        taken.peer.say(b"hello");
        taken.near.set(|kernel| kernel.interrupts = 2);
        assert_eq!(look(&mut taken), CheckResult::Data, "{kind:?}");
        assert_eq!(contents(taken), b"hello", "{kind:?}");
    }
}

#[test]
fn a_record_that_is_false_is_a_close_and_the_peer_is_told() {
    for kind in Kind::TLS {
        let mut taken = kind.taken();
        taken.peer.end.send(&[[0x17, 3, 3, 0, 32].as_slice(), &[7; 32]].concat());
        assert_eq!(look(&mut taken), CheckResult::Closed, "{kind:?}");
        let error = taken.peer.pump().unwrap_err();
        assert!(matches!(error, rustls::Error::AlertReceived(_)), "{kind:?}: {error}");
    }
}

#[test]
fn what_arrives_in_the_pool_claims_the_connection_unless_the_peer_is_no_pool() {
    for kind in Kind::ALL {
        let mut pool = kind.pool();
        let (_near, mut peer) = pool.bring();
        pool.turn();
        assert_eq!(pool.stats().idle, 1, "{kind:?}");
        peer.say(b"request");
        pool.turn();
        let stats = pool.stats();
        let expected = if kind.has_claims() { (0, 1) } else { (1, 0) };
        assert_eq!((stats.idle, stats.claimed), expected, "{kind:?}");
    }
}

#[test]
fn a_close_in_the_pool_is_noticed_without_anybody_asking() {
    for kind in Kind::ALL {
        let mut pool = kind.pool();
        let (near, mut peer) = pool.bring();
        pool.turn();
        peer.goodbye();
        pool.turn();
        assert_eq!(pool.reasons(), [pool_proto::CloseReason::PeerClosed], "{kind:?}");
        assert_eq!(near.get(|kernel| kernel.shut_writes), 1, "{kind:?}");
    }
}

#[test]
fn a_close_that_the_reactor_has_not_heard_of_is_noticed_at_the_acquire() {
    for kind in Kind::ALL {
        let mut pool = kind.pool();
        let (near, mut peer) = pool.bring();
        near.set(|kernel| kernel.forget());
        peer.goodbye();
        assert!(pool.take().is_none(), "{kind:?}");
    }
}
