use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;
use std::string::ToString;

use proptest::prelude::*;

use super::bytes::{Cursor, Short};
use super::*;
use crate::config::{ClientConfig, ServerConfig};
use crate::event::{Action, CheckResult, Event, HandshakeFailure, Token, WaiterId};
use crate::id::{ConnId, Hint};
use crate::role::{Accepting, Dialing};
use crate::slab::Key;
use crate::time::Instant;

const NOW: Instant = Instant::from_nanos(1_000);

/// A machine with a tape, and the tape so far.
struct Taped<R> {
    machine: Recorded<u8, R>,
    bytes: Vec<u8>,
}

impl<R: crate::Role> Taped<R> {
    fn new((machine, first): (Recorded<u8, R>, Block)) -> Self {
        Self { machine, bytes: first.seal() }
    }

    fn flush(&mut self) {
        self.bytes
            .extend(self.machine.take_block(&mut Vec::new()).into_iter().flat_map(Block::seal));
    }

    fn end(mut self) -> Vec<u8> {
        self.machine.end_tape();
        self.flush();
        assert!(!self.machine.is_recorded());
        self.bytes
    }
}

fn client(capacity: u32) -> Taped<Dialing> {
    let config = ClientConfig::builder().capacity(1..=capacity).seed(1).build().unwrap();
    Taped::new(Recorded::client(&config, NOW, 0))
}

fn server(config: crate::ServerConfigBuilder) -> Taped<Accepting> {
    Taped::new(Recorded::server(&config.seed(1).build().unwrap(), NOW, 0))
}

/// A short life with two blocks of inputs.
fn short_life() -> Vec<u8> {
    let mut client = client(4);
    let Some(Action::Dial { token }) = client.machine.poll_action() else { panic!("no dial") };
    client.machine.handle_event(NOW, Event::Dialed { token });
    let id = Some(ConnId::from_bytes([1, 2, 3, 4]));
    client.machine.handle_event(NOW, Event::Established { token, connection: 7, id });
    client.flush();
    let later = NOW + Duration::from_secs(1);
    assert!(matches!(client.machine.acquire(later), crate::Acquired::Ready(_)));
    client.machine.handle_timeout(later);
    client.machine.put_drained(later, token, 7, CheckResult::Quiet).unwrap();
    client.machine.close(later);
    client.end()
}

/// Reads a tape to its end, and replays it.
fn read(bytes: &[u8]) -> Result<(u64, Option<Ending>), TapeError> {
    let tape = Tape::read(bytes)?;
    let mut replay = Replay::new(tape.header())?;
    let mut records = tape.records();
    let mut count = 0;
    for record in &mut records {
        assert!(matches!(replay.step(&record?), Step::Same(_)));
        count += 1;
    }
    Ok((count, records.ending()))
}

#[test]
fn a_tape_is_read_back_with_its_times() {
    let bytes = short_life();
    assert_eq!(read(&bytes), Ok((6, Some(Ending::Ended))));
    let tape = Tape::read(&bytes).unwrap();
    assert_eq!((tape.header().role(), tape.header().began()), (TapedRole::Client, NOW));
    assert_eq!(tape.header().version(), env!("CARGO_PKG_VERSION"));
    let last = tape.records().last().unwrap().unwrap();
    assert_eq!((last.number, last.input), (6, Input::Close));
    assert_eq!(last.at, NOW + Duration::from_secs(1));
}

#[test]
fn no_byte_can_change_unnoticed() {
    let bytes = short_life();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let error = read(&changed).unwrap_err();
            let expected = match at {
                0..8 => matches!(error, TapeError::NotATape),
                8 => matches!(error, TapeError::Version { .. }),
                // A length that was changed may lead beyond the end.
                _ => matches!(error, TapeError::Changed { .. } | TapeError::Truncated { .. }),
            };
            assert!(expected, "byte {at}, bit {bit}: {error}");
        }
    }
}

#[test]
fn a_tape_that_is_cut_off_anywhere_is_noticed_and_read_up_to_there() {
    let bytes = short_life();
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).unwrap_err();
        match length {
            0..8 => assert_eq!(error, TapeError::NotATape),
            _ => assert!(matches!(error, TapeError::Truncated { .. }), "{length}: {error}"),
        }
    }
    let cut = &bytes[..bytes.len() - 1];
    let records: Vec<_> = Tape::read(cut).unwrap().records().collect();
    assert_eq!(records.iter().filter(|record| record.is_ok()).count(), 2);
    assert!(records.last().unwrap().is_err());
}

#[test]
fn blocks_that_were_swapped_or_added_are_noticed() {
    let bytes = short_life();
    let again = [&bytes[..], &bytes[bytes.len() - 60..]].concat();
    let error = read(&again).unwrap_err();
    assert_eq!(error.to_string().matches("that is not the end").count(), 1, "{error}");
}

#[test]
fn a_newer_format_is_named() {
    let mut bytes = short_life();
    bytes[8] = 2;
    let error = read(&bytes).unwrap_err();
    assert_eq!(error, TapeError::Version { found: 2 });
    assert!(
        error.to_string().starts_with("the tape has format 2, but this version reads format 1")
    );
}

#[test]
fn a_full_buffer_ends_the_tape_and_not_the_machine() {
    let mut client = client(4);
    assert!(!client.machine.is_tape_due());
    for _ in 0..1_000 {
        client.machine.add_error();
    }
    assert!(client.machine.is_tape_due());
    assert_eq!(client.machine.error_count(), 1_000);
    let taped = client.machine.taped().unwrap();
    client.flush();
    assert!(!client.machine.is_recorded() && !client.machine.is_tape_due());
    client.machine.add_error();
    assert_eq!(read(&client.bytes), Ok((taped, Some(Ending::Overrun))));
    assert!((100..1_000).contains(&taped), "{taped}");
}

#[test]
fn a_machine_without_a_tape_has_none() {
    let config = ClientConfig::builder().build().unwrap();
    let mut machine = Recorded::from(crate::Client::<u8>::new(&config, NOW));
    machine.add_error();
    machine.end_tape();
    assert_eq!((machine.taped(), machine.is_tape_due()), (None, false));
    assert!(machine.take_block(&mut Vec::new()).is_none());
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn peers_have_names_that_tell_equal_from_other_and_allowed_from_not() {
    let list = "10.0.0.0/8, 2001:db8::/32".parse().unwrap();
    let mut server = server(ServerConfig::builder().allow(list));
    let addresses = ["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "11.0.0.1", "2001:db8::1"];
    for address in addresses.iter().chain(&["2001:db8::2", "2001:db8:0:1::2"]) {
        // Which may be rejected.
        assert_eq!(server.machine.accept(NOW, ip(address)).is_ok(), !address.starts_with("11."));
    }
    let bytes = server.end();
    let names: Vec<PeerName> = Tape::read(&bytes)
        .unwrap()
        .records()
        .map(|record| match record.unwrap().input {
            Input::Accept { peer } => peer,
            other => panic!("{other}"),
        })
        .collect();
    let [a, b, mapped, stranger, net, same_net, other_net] = names[..] else { panic!("{names:?}") };
    assert_eq!((a, net), (mapped, same_net));
    let others = [a, b, stranger, net, other_net];
    for (at, name) in others.iter().enumerate() {
        assert!(!others[..at].contains(name), "{others:?}");
    }
    let allowed = |name: PeerName| name.0 >> 63 == 1;
    assert!(!allowed(stranger) && [a, b, net, other_net].into_iter().all(allowed), "{others:?}");
    assert_eq!(read(&bytes), Ok((7, Some(Ending::Ended))));
    for secret in [&[10u8, 0, 0, 1][..], &[0x20, 0x01, 0x0d, 0xb8]] {
        assert!(!bytes.windows(4).any(|window| window == secret));
    }
}

#[test]
fn neither_ids_nor_the_secret_are_on_a_tape() {
    let secret = [0x5a; 32];
    let config = ServerConfig::builder().build().unwrap().or_entropy(secret);
    let mut server = Taped::new(Recorded::server(&config, NOW, 0));
    let token = server.machine.accept(NOW, ip("10.0.0.1")).unwrap();
    let id = server.machine.admit(NOW, token, Some([0xab; 32])).unwrap();
    server.machine.handle_event(NOW, Event::Established { token, connection: 1, id: None });
    assert!(matches!(server.machine.acquire_by_id(NOW, id), crate::Acquired::Ready(_)));
    let bytes = server.end();
    assert_eq!(read(&bytes), Ok((4, Some(Ending::Ended))));
    for hidden in [id.to_bytes(), [0x5a; 4], [0xab; 4]] {
        assert!(!bytes.windows(4).any(|window| window == hidden), "{hidden:?}");
    }
}

/// Any input.
fn inputs() -> impl Strategy<Value = Input> {
    let key =
        || (any::<u32>(), any::<u32>()).prop_map(|(index, generation)| Key { index, generation });
    let token = move || key().prop_map(Token);
    let waiter = move || key().prop_map(WaiterId);
    let result = || {
        prop::sample::select(vec![
            CheckResult::Quiet,
            CheckResult::Data,
            CheckResult::Finished,
            CheckResult::Closed,
        ])
    };
    let failure = prop::sample::select(vec![
        HandshakeFailure::Tls,
        HandshakeFailure::Id,
        HandshakeFailure::Transport,
    ]);
    let id = move || {
        prop_oneof![
            Just(IdName::Zero),
            token().prop_map(IdName::Live),
            waiter().prop_map(IdName::Awaited),
            any::<u8>().prop_map(IdName::Ended),
            (0..17u8).prop_map(|hint| IdName::NewOfServer(Hint::from_byte(hint).unwrap())),
            (0..17u8).prop_map(|hint| IdName::NewOfClient(Hint::from_byte(hint).unwrap())),
        ]
    };
    let peer = || any::<u64>().prop_map(PeerName);
    let nanos = 0..u64::MAX;
    let plain = prop::sample::select(vec![
        Input::Timeout,
        Input::Acquire,
        Input::AcquireAgain,
        Input::PutForeign,
        Input::Clean,
        Input::EndFinished,
        Input::Flush,
        Input::Close,
        Input::AddError,
        Input::ResetError,
        Input::AcceptEnded,
        Input::DialNow,
        Input::AcquireClaimed,
        Input::SetCapacity { low: 3, high: 70_000 },
        Input::NewSetting { number: 300, value: u64::MAX },
        Input::SetConfig,
    ]);
    let events = (token(), result(), 0..7).prop_map(|(token, result, kind)| match kind {
        6 => Input::NewVerdict { token },
        0 => Input::Dialed { token },
        1 => Input::DialFailed { token },
        2 => Input::FirstByte { token },
        3 => Input::Readable { token },
        4 => Input::Checked { token, result },
        _ => Input::Closed { token },
    });
    prop_oneof![
        plain,
        events,
        id().prop_map(|id| Input::AcquireById { id }),
        any::<u32>().prop_map(|ready| Input::WaitReady { ready }),
        waiter().prop_map(|waiter| Input::Collect { waiter }),
        waiter().prop_map(|waiter| Input::Cancel { waiter }),
        waiter().prop_map(|waiter| Input::TimeOut { waiter }),
        (token(), prop::option::of(result()))
            .prop_map(|(token, drained)| Input::Put { token, drained }),
        (token(), result()).prop_map(|(token, result)| Input::Reject { token, result }),
        prop::option::of(nanos.prop_map(Instant::from_nanos))
            .prop_map(|deadline| Input::GracefulShutdown { deadline }),
        (token(), prop::option::of(id())).prop_map(|(token, id)| Input::Established { token, id }),
        (token(), failure).prop_map(|(token, failure)| Input::HandshakeFailed { token, failure }),
        peer().prop_map(|peer| Input::Accept { peer }),
        (token(), prop::option::of(peer()))
            .prop_map(|(token, certificate)| Input::Admit { token, certificate }),
    ]
}

proptest! {
    #[test]
    fn every_input_is_read_back(input in inputs(), elapsed: u64) {
        let mut short = Short::new();
        short.varint(elapsed);
        input.write(&mut short);
        short.push(0xcc);
        let mut cursor = Cursor::new(short.as_slice(), 0);
        prop_assert_eq!(cursor.varint(), Some(elapsed));
        prop_assert_eq!(Input::read(&mut cursor), Some(input));
        prop_assert_eq!(cursor.byte(), Some(0xcc));
        prop_assert!(cursor.is_empty());
    }

    #[test]
    fn whatever_is_read_is_written_alike(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut cursor = Cursor::new(&bytes, 0);
        if let Some(input) = Input::read(&mut cursor) {
            let mut short = Short::new();
            input.write(&mut short);
            let again = Input::read(&mut Cursor::new(short.as_slice(), 0));
            prop_assert_eq!(again, Some(input));
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&MAGIC[..], &[FORMAT], &tail].concat();
        if let Ok(tape) = Tape::read(&bytes) {
            tape.records().for_each(drop);
        }
    }
}
