//! Any tape: neither reading any bytes nor replaying any inputs panics.

use std::hash::Hasher;

use pool_proto::tape::{Recorded, Replay, Tape, TapeError};
use pool_proto::{Acquirer, ClientConfig, Instant, ServerConfig};
use siphasher::sip::SipHasher13;

/// The bytes: a whole tape; and the body of a header; and, after a byte that chooses the machine, inputs.
/// The latter two are made into blocks here, because no fuzzer could guess a checksum.
pub fn tape(bytes: &[u8]) {
    note(read(bytes));
    let header = [b"pooltape\x01", &block(0, 0, bytes)[..]].concat();
    note(Tape::read(&header).map(drop));
    if let [machine, inputs @ ..] = bytes {
        note(replay(&[first(*machine), block(1, 2, inputs)].concat()));
    }
}

fn note(outcome: Result<(), TapeError>) {
    if let Err(error) = outcome {
        assert!(!error.to_string().is_empty());
    }
}

/// Reads all inputs, and says them in words.
fn read(bytes: &[u8]) -> Result<(), TapeError> {
    for record in Tape::read(bytes)?.records() {
        assert!(!record?.input.to_string().is_empty());
    }
    Ok(())
}

/// Replays all inputs, beyond the first that has other outputs, too.
fn replay(bytes: &[u8]) -> Result<(), TapeError> {
    let tape = Tape::read(bytes)?;
    let mut replay = Replay::new(tape.header())?;
    assert!(replay.begins_alike());
    let mut last = tape.header().began();
    for record in tape.records() {
        let record = record?;
        assert!(record.at >= last && record.offset < bytes.len());
        last = record.at;
        let _either = replay.step(&record);
        let stats = replay.stats();
        let held = stats.dialing + stats.handshaking + stats.idle + stats.leased + stats.claimed;
        assert!(held <= 16, "{stats:?}");
    }
    Ok(())
}

/// The first block of the tape of a small machine.
fn first(machine: u8) -> Vec<u8> {
    let acquirer =
        [Acquirer::Either, Acquirer::ThisEnd, Acquirer::Peer, Acquirer::Both][machine as usize % 4];
    let control = machine & 4 != 0;
    let block = if machine & 8 == 0 {
        let config = ClientConfig::builder().capacity(1..=4).max_connections(8);
        let config = config.acquirer(acquirer).control_connection(control).build().unwrap();
        Recorded::<(), _>::client(&config, Instant::EPOCH, 0).1
    } else {
        let config = ServerConfig::builder().capacity(4).max_connections(8).max_handshakes(8);
        let config = config.acquirer(acquirer).control_connection(control).build().unwrap();
        Recorded::<(), _>::server(&config, Instant::EPOCH, 0).1
    };
    block.seal()
}

/// A block with its length and checksum, as the format of tapes is documented.
fn block(number: u64, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    let block = [&[kind], &length[..], body].concat();
    let mut checksum = SipHasher13::new_with_keys(number, 0);
    checksum.write(&block);
    [block, checksum.finish().to_le_bytes().to_vec()].concat()
}
