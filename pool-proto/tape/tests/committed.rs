//! The tapes in `tapes/` are of a real client and its server, and replay identically: a change of the
//! machine's behaviour is noticed here. If it is on purpose, `CONTRIBUTING.md` tells how to renew them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::HashSet;
use std::mem::discriminant;
use std::time::Duration;

use pool_proto::tape::{Input, Recorded, Tape, TapeError};
use pool_proto::{Acquired, Action, ClientConfig, ConnId, Event, Instant};
use pool_tape::{ArrivalsError, Outcome, arrivals, lead_times, replay};

const CLIENT: &[u8] = include_bytes!("tapes/client.tape");
const SERVER: &[u8] = include_bytes!("tapes/server.tape");

#[test]
fn the_committed_tapes_replay_identically() {
    for (name, bytes) in [("client", CLIENT), ("server", SERVER)] {
        let report = replay(bytes).unwrap();
        assert!(matches!(report.outcome, Outcome::Identical(_)), "{name}: {report}");
        assert!(report.identical > 300, "{name}: {report}");
    }
}

#[test]
fn they_have_many_kinds_of_inputs() {
    let mut kinds = HashSet::new();
    for bytes in [CLIENT, SERVER] {
        assert!(bytes.len() < 20_000, "{} bytes", bytes.len());
        kinds.extend(
            Tape::read(bytes).unwrap().records().map(|record| discriminant(&record.unwrap().input)),
        );
    }
    assert!(kinds.len() >= 18, "{} kinds", kinds.len());
}

#[test]
fn a_report_tells_the_end_and_the_version() {
    let report = replay(CLIENT).unwrap();
    let expected = format!(
        "a client, recorded by pool-proto {}\nidentical after {} inputs in {:.3?}; the recording was ended",
        report.version, report.identical, report.lasted
    );
    assert_eq!(report.to_string(), expected);
}

#[test]
fn a_tape_that_is_cut_off_is_replayed_up_to_there() {
    let whole = replay(SERVER).unwrap().identical;
    let (cut, _) = SERVER.split_at(SERVER.len() - 1);
    let report = replay(cut).unwrap();
    let Outcome::Unreadable(TapeError::Truncated { offset }) = report.outcome else {
        panic!("{report}");
    };
    assert!(report.identical < whole && offset < cut.len(), "{report}");
    assert!(report.to_string().contains("but the tape is cut off at byte"), "{report}");
    assert!(arrivals(cut).unwrap().len() <= arrivals(SERVER).unwrap().len());
}

/// A tape whose header is that of another client than its inputs.
fn spliced() -> Vec<u8> {
    let now = Instant::EPOCH;
    let config = |capacity| ClientConfig::builder().capacity(1..=capacity).build().unwrap();
    let (_, header) = Recorded::<(), _>::client(&config(2), now, 0);
    let (mut client, _) = Recorded::<(), _>::client(&config(1), now, 0);
    let Some(Action::Dial { token }) = client.poll_action() else { panic!("no dial") };
    let id = Some(ConnId::from_bytes([1, 2, 3, 4]));
    client.handle_event(now, Event::Dialed { token });
    client.handle_event(now, Event::Established { token, connection: (), id });
    // This client dials another one then, and that of the header dials two.
    assert!(matches!(client.acquire(now), Acquired::Ready(_)));
    client.close(now);
    client.end_tape();
    let last = client.take_block(&mut Vec::new()).unwrap();
    [header.seal(), last.seal()].concat()
}

#[test]
fn the_first_difference_is_shown_with_the_inputs_around_it() {
    let tape = spliced();
    let report = replay(&tape).unwrap();
    let Outcome::Differs(difference) = &report.outcome else { panic!("{report}") };
    assert_eq!((report.identical, difference.input.unwrap().number), (2, 3), "{report}");
    let text = report.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert!(lines[1].starts_with("input 3, at byte "), "{text}");
    assert!(lines[3].contains("established 0.0, a new id, the server's"), "{text}");
    assert!(lines[4].starts_with("> ") && lines[4].ends_with("acquire any"), "{text}");
    assert!(lines[5].contains("now: Acquired(Ready(Lease"), "{text}");
    assert!(lines[6].contains("now: Dial") && lines[7].contains("now: Dial"), "{text}");
    assert!(lines[8].ends_with("close the pool"), "{text}");
    assert_eq!(arrivals(&tape), Err(ArrivalsError::Differs { input: 3 }));
}

#[test]
fn callers_come_and_hold_connections() {
    let callers = arrivals(SERVER).unwrap();
    assert!(callers.len() > 30, "{callers:?}");
    assert!(callers.iter().any(|caller| caller.waited.is_none()), "{callers:?}");
    assert!(callers.iter().any(|caller| caller.held.is_some()), "{callers:?}");
    assert!(callers.is_sorted_by_key(|caller| caller.at));
    assert!(callers.iter().all(|caller| caller.waited.is_some() || caller.held.is_none()));
    let put_back = callers.iter().filter(|caller| caller.put_back);
    assert!(put_back.clone().count() > 10 && put_back.clone().all(|caller| caller.held.is_some()));
}

#[test]
fn dials_of_a_client_take_their_time() {
    let tape = Tape::read(CLIENT).unwrap();
    let records = tape.records().map(|record| record.unwrap().input);
    let established = records.filter(|input| matches!(input, Input::Established { .. })).count();
    let times = lead_times(CLIENT).unwrap();
    assert_eq!(times.len(), established);
    // On loopback, with TLS. A turn of the driver has one time, so a dial may seem to take none.
    let (least, most) = (Duration::from_micros(100), Duration::from_secs(1));
    assert!(times.iter().filter(|time| **time > least).count() > established / 2, "{times:?}");
    assert!(times.iter().all(|time| *time < most), "{times:?}");
    assert_eq!(lead_times(SERVER).unwrap(), []);
}
