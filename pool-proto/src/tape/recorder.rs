//! The part of a tape that is not written yet.

use alloc::vec::Vec;
use core::hash::Hasher;
use core::mem;

use siphasher::sip::SipHasher13;

use super::bytes::{LONGEST, Short};
use super::header::Header;
use super::input::Input;
use super::outputs::{Output, Outputs};
use super::reader::Ending;
use crate::event::Action;
use crate::time::Instant;

/// The kind of a block.
pub(super) const HEADER: u8 = 0;
pub(super) const INPUTS: u8 = 1;
pub(super) const ENDED: u8 = 2;
pub(super) const OVERRUN: u8 = 3;

/// The bytes of a block before its body: kind and length.
pub(super) const BLOCK_HEAD: usize = 5;

/// The bytes at the end of a block of inputs: the hash of the outputs, and the checksum.
const BLOCK_END: usize = 8 + 8;

/// The smallest buffer: enough for some inputs.
const SMALLEST: usize = 1024;

/// Collects inputs in a buffer that does not grow.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    /// The block that is being filled, with room for its head.
    buffer: Vec<u8>,
    /// The most bytes of it.
    limit: usize,
    outputs: Outputs,
    /// The time of the last input.
    last: Instant,
    /// The number of inputs on the tape.
    inputs: u64,
    /// The number of the block that is being filled.
    number: u64,
    /// Whether the recording has ended, and how.
    ending: Option<Ending>,
}

/// A piece of a tape, to be written after the one before it.
#[derive(Debug)]
#[must_use = "a tape without one of its blocks cannot be read"]
pub struct Block {
    bytes: Vec<u8>,
    number: u64,
    inputs: u64,
    ending: Option<Ending>,
}

impl Block {
    /// Completes the piece with its length and checksum, and returns its bytes. It takes a microsecond for
    /// each kilobyte, so let no lock be held.
    pub fn seal(self) -> Vec<u8> {
        let Self { mut bytes, number, .. } = self;
        // The first block comes after the bytes by which a tape is known.
        let start = if number == 0 { Header::preamble().len() } else { 0 };
        let block = bytes.get_mut(start..).unwrap_or_default();
        let length = u32::try_from(block.len().saturating_sub(BLOCK_HEAD)).unwrap_or(u32::MAX);
        if let Some(place) = block.get_mut(1..BLOCK_HEAD) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        let sum = checksum(number, block);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// Returns how the tape ends, if it ends with this piece.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Returns the number of inputs on the tape up to the end of this piece.
    #[must_use]
    pub const fn inputs(&self) -> u64 {
        self.inputs
    }
}

/// The checksum of a block, which is another one at another place of the tape.
pub(super) fn checksum(number: u64, block: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(number, 0);
    hasher.write(block);
    hasher.finish()
}

impl Recorder {
    /// Begins a tape with the outputs of a machine's creation. The buffer takes `limit` bytes.
    pub(super) fn new<'a, C: 'a>(
        mut header: Header,
        actions: impl IntoIterator<Item = &'a Action<C>>,
        limit: usize,
    ) -> (Self, Block) {
        let mut outputs = Outputs::new();
        outputs.add(&(), actions);
        header.outputs = outputs.hash();
        let mut bytes = Header::preamble();
        bytes.extend([HEADER, 0, 0, 0, 0]);
        header.write(&mut bytes);
        let limit = limit.max(SMALLEST);
        let buffer = begin_in(Vec::new(), limit);
        let (last, inputs, number) = (header.began, 0, 1);
        let recorder = Self { buffer, limit, outputs, last, inputs, number, ending: None };
        (recorder, Block { bytes, number: 0, inputs: 0, ending: None })
    }

    /// Records an input and its outputs, if there is room.
    pub(super) fn push<'a, C: 'a>(
        &mut self,
        now: Instant,
        input: &Input,
        answer: &impl Output,
        actions: impl IntoIterator<Item = &'a Action<C>>,
    ) {
        if self.ending.is_some() {
            return;
        }
        if self.buffer.len() + LONGEST + BLOCK_END > self.limit {
            self.ending = Some(Ending::Overrun);
            return;
        }
        let elapsed = now.as_nanos().saturating_sub(self.last.as_nanos());
        self.last = now;
        self.outputs.add(answer, actions);
        let mut record = Short::new();
        record.varint(elapsed);
        input.write(&mut record);
        record.push(self.outputs.check());
        self.buffer.extend_from_slice(record.as_slice());
        self.inputs += 1;
    }

    /// Whether a piece should be taken: half of the buffer is full, or the recording has ended.
    pub(super) const fn is_due(&self) -> bool {
        self.buffer.len() > self.limit / 2 || self.ending.is_some()
    }

    pub(super) const fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Ends the recording, unless it has ended before.
    pub(super) fn end(&mut self) {
        self.ending.get_or_insert(Ending::Ended);
    }

    /// Takes the piece that is there, if it has inputs or is the last one, and goes on in `spare`.
    pub(super) fn take(&mut self, spare: &mut Vec<u8>) -> Option<Block> {
        if self.buffer.len() == BLOCK_HEAD && self.ending.is_none() {
            return None;
        }
        let next = begin_in(mem::take(spare), self.limit);
        let mut bytes = mem::replace(&mut self.buffer, next);
        if let Some(kind) = bytes.first_mut() {
            *kind = match self.ending {
                None => INPUTS,
                Some(Ending::Ended) => ENDED,
                Some(Ending::Overrun) => OVERRUN,
            };
        }
        bytes.extend(self.outputs.hash().to_le_bytes());
        let Self { number, inputs, ending, .. } = *self;
        let block = Block { bytes, number, inputs, ending };
        self.number += 1;
        Some(block)
    }
}

/// Begins a block of inputs, in memory that may have been used before.
fn begin_in(mut spare: Vec<u8>, limit: usize) -> Vec<u8> {
    spare.clear();
    spare.reserve_exact(limit);
    spare.extend([INPUTS, 0, 0, 0, 0]);
    spare
}
