//! The tape of a machine, and the thread that writes it.
//!
//! An input goes into a buffer under the mutex. The thread swaps that buffer for an empty one, and writes
//! without the mutex: a slow disk delays nobody. While the thread writes, the other buffer fills. If it is
//! full before the thread comes back, the recording ends, and the tape says so: a tape with a gap could not
//! be replayed, and a buffer that grows would take the memory of the pool.

use core::time::Duration;
use std::boxed::Box;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec::Vec;

use pool_proto::Role;
use pool_proto::tape::{Block, Ending};

use super::{PoolConnection, SharedMachine};
use crate::events;
use crate::sync::{current, park_timeout};

/// Opens the writer of a tape: for each pool that a builder builds, one of its own.
pub(crate) type OpenTape = Arc<dyn Fn() -> io::Result<Box<dyn Write + Send>> + Send + Sync>;

/// The size of each of the two buffers of a tape. At some 6 bytes for each input, half of it is full after
/// 80,000 inputs: at a million a second, the writer has another 80 ms.
pub(crate) const TAPE_BUFFER: usize = 1 << 20;

/// The longest time that an input stays in the buffer: the end of a tape whose process is killed.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// The state of the recording of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recording {
    /// It goes on.
    Running {
        /// The number of inputs so far.
        inputs: u64,
    },
    /// It is over, and the tape is whole.
    Ended {
        /// The number of inputs on the tape.
        inputs: u64,
        /// Why it is over.
        ending: Ending,
    },
    /// The tape could not be written further. It can be replayed as far as it goes.
    Failed {
        /// The number of inputs that were written.
        inputs: u64,
        /// The error of the writer.
        error: String,
    },
}

impl<C: PoolConnection, R: Role> SharedMachine<C, R> {
    /// Returns the state of the recording; `None` if there is none.
    #[must_use]
    pub fn recording(&self) -> Option<Recording> {
        let state = self.lock();
        let running = || state.machine.taped().map(|inputs| Recording::Running { inputs });
        state.recorded.clone().or_else(running)
    }

    /// Ends the recording with the last input so far. The thread of the tape writes the rest.
    pub fn end_recording(&self) {
        self.run(|machine, _| machine.end_tape());
    }

    /// Writes the tape of a machine up to its end: that of the recording, or of the driver. `first` is the
    /// block that came with the machine. Blocks, so it takes a thread of its own.
    pub fn write_tape(&self, first: Block, writer: Box<dyn Write + Send>) {
        let mut written = 0;
        // The writer is the user's, and a panic of it would leave a recording that seems to run.
        let write = AssertUnwindSafe(|| self.write_blocks(first, writer, &mut written));
        let panicked = |_| Err(io::Error::other("the writer of the tape panicked"));
        let outcome = match catch_unwind(write).unwrap_or_else(panicked) {
            Ok(ending) => Recording::Ended { inputs: written, ending },
            Err(error) => {
                let shown = tracing::field::display(&error);
                events::tape_failed(self.label(), shown, written);
                Recording::Failed { inputs: written, error: error.to_string() }
            }
        };
        let mut state = self.lock();
        state.machine.end_tape();
        // None, unless the writer has failed. Then nobody can write it.
        let unwritten = state.machine.take_block(&mut Vec::new());
        state.recorded = Some(outcome);
        drop(state);
        drop(unwritten);
    }

    fn write_blocks(
        &self,
        first: Block,
        mut writer: Box<dyn Write + Send>,
        written: &mut u64,
    ) -> io::Result<Ending> {
        writer.write_all(&first.seal())?;
        writer.flush()?;
        let mut spare = Vec::with_capacity(TAPE_BUFFER);
        loop {
            let block = {
                let mut state = self.lock();
                if state.ended {
                    state.machine.end_tape();
                }
                // From now on, an unpark ends the next sleep, even if it comes before.
                state.writer = Some(current());
                state.machine.take_block(&mut spare)
            };
            if let Some(block) = block {
                let (inputs, ending) = (block.inputs(), block.ending());
                spare = block.seal();
                writer.write_all(&spare)?;
                writer.flush()?;
                *written = inputs;
                if let Some(ending) = ending {
                    return Ok(ending);
                }
            }
            park_timeout(WRITTEN_WITHIN);
        }
    }
}
