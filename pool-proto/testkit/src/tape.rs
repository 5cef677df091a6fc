//! The tape of a machine under test, and its replay, which must be identical.

use pool_proto::tape::{Block, Ending, Replay, Step, Tape};

use crate::call::Pool;
use crate::violation::{Verdict, Violation, ensure};

/// The size of the buffer of a tape: small, so that a tape has several blocks.
pub const BUFFER: usize = 4096;

/// A tape that is being written.
#[derive(Clone)]
pub struct Taping {
    bytes: Vec<u8>,
}

impl Taping {
    /// A tape that begins with this block.
    pub fn new(first: Block) -> Self {
        Self { bytes: first.seal() }
    }

    /// Writes the inputs so far, if there are many.
    pub fn write(&mut self, pool: &mut impl Pool) {
        if pool.is_tape_due() {
            self.bytes.extend(pool.take_block().into_iter().flat_map(Block::seal));
        }
    }

    /// Ends the tape, and replays it.
    pub fn check(&mut self, pool: &mut impl Pool) -> Verdict {
        let inputs = pool.end_tape();
        self.bytes.extend(pool.take_block().into_iter().flat_map(Block::seal));
        let (replayed, ending) = replay(&self.bytes)?;
        let whole = ending == Some(Ending::Ended) && Some(replayed) == inputs;
        ensure!(whole, "10: a tape has every input", "{replayed} of {inputs:?}, {ending:?}");
        Ok(())
    }

    /// The tape so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Replays a tape, and returns the number of its inputs, and how it ended.
///
/// # Errors
///
/// The tape cannot be read, or the replay is not identical.
pub fn replay(bytes: &[u8]) -> Verdict<(u64, Option<Ending>)> {
    let broken = |seen: String| Violation { invariant: "10: a replay is identical", seen };
    let tape = Tape::read(bytes).map_err(|error| broken(error.to_string()))?;
    let mut replay = Replay::new(tape.header()).map_err(|error| broken(error.to_string()))?;
    ensure!(replay.begins_alike(), "10: a replay is identical", "not from the beginning");
    let mut records = tape.records();
    let mut inputs = 0;
    for record in &mut records {
        let record = record.map_err(|error| broken(error.to_string()))?;
        let step = replay.step(&record);
        let same = matches!(step, Step::Same(_));
        let (number, input) = (record.number, record.input);
        ensure!(same, "10: a replay is identical", "input {number}, {input}: {step:?}");
        inputs = number;
    }
    Ok((inputs, records.ending()))
}
