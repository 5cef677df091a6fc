//! Reads tapes.

use alloc::string::String;
use core::fmt;
use core::iter::FusedIterator;

use thiserror::Error;

use super::bytes::Cursor;
use super::header::Header;
use super::input::Input;
use super::recorder::{BLOCK_HEAD, ENDED, HEADER, INPUTS, OVERRUN, checksum};
use super::{FORMAT, MAGIC};
use crate::error::ConfigError;
use crate::time::Instant;

/// A tape in memory, of which the header has been read.
#[derive(Clone, Debug)]
pub struct Tape<'a> {
    header: Header,
    blocks: Blocks<'a>,
}

/// An input as it stands on a tape.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The number of the input, from 1.
    pub number: u64,
    /// The place of its first byte on the tape.
    pub offset: usize,
    /// The time of the input, by the clock of the driver.
    pub at: Instant,
    /// The input.
    pub input: Input,
    /// The highest byte of the hash of all outputs so far.
    pub(super) check: u8,
    /// The whole hash, at the end of a block.
    pub(super) outputs: Option<u64>,
}

/// The end of a whole tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The recording was ended, by its user or with the pool.
    Ended,
    /// The recording has ended itself, because the writer of the tape was too slow.
    Overrun,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the recording was ended",
            Self::Overrun => "the recording ended itself: its writer was too slow for the pool",
        })
    }
}

/// The reason why a tape cannot be read, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TapeError {
    /// The first bytes are not those of a tape.
    #[error("this is not a tape of a pool: it does not begin with \"pooltape\"")]
    NotATape,
    /// The format is that of another version.
    #[error(
        "the tape has format {found}, but this version reads format {FORMAT}: use the version of \
         pool-proto that has recorded it, or one after that"
    )]
    Version {
        /// The version of the format.
        found: u8,
    },
    /// The tape ends within a block, or before the last one.
    #[error(
        "the tape is cut off at byte {offset}: its process was ended, or its writer failed, before the \
         end of the recording"
    )]
    Truncated {
        /// The place of the first byte that is missing, or of its block.
        offset: usize,
    },
    /// The bytes of a block are not those that were written.
    #[error("the tape was changed: the block at byte {offset} does not match its checksum")]
    Changed {
        /// The place of the block.
        offset: usize,
    },
    /// There is something else than expected.
    #[error("the tape has something at byte {offset} that is not {expected}")]
    Unexpected {
        /// The place on the tape.
        offset: usize,
        /// The thing that should be there.
        expected: &'static str,
    },
    /// The header has more or fewer settings than this version.
    #[error(
        "the tape has {found} settings, but this version has {expected}: replay it with pool-proto \
         {version}, which has recorded it"
    )]
    Settings {
        /// The number of settings on the tape.
        found: usize,
        /// The number of settings of this version.
        expected: usize,
        /// The version that has recorded the tape.
        version: String,
    },
    /// A setting has a value that this version does not know.
    #[error(
        "the tape has a value of the setting {setting} that this version does not know: replay it with \
         pool-proto {version}, which has recorded it"
    )]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// The version that has recorded the tape.
        version: String,
    },
    /// This version refuses the settings.
    #[error("this version refuses the settings on the tape: {0}")]
    Refused(#[source] ConfigError),
}

impl<'a> Tape<'a> {
    /// Reads the header of a tape.
    ///
    /// # Errors
    ///
    /// [`TapeError`] says why the bytes are not a tape that this version reads.
    pub fn read(bytes: &'a [u8]) -> Result<Self, TapeError> {
        let mut cursor = Cursor::new(bytes, 0);
        if cursor.array() != Some(MAGIC) {
            return Err(TapeError::NotATape);
        }
        match cursor.byte() {
            Some(FORMAT) => {}
            Some(found) => return Err(TapeError::Version { found }),
            None => return Err(TapeError::Truncated { offset: cursor.offset }),
        }
        let mut blocks = Blocks { cursor, number: 0 };
        let (kind, mut body) = blocks.read()?;
        let offset = body.offset;
        let header = Header::read(&mut body).filter(|_| kind == HEADER);
        let header = header.ok_or(TapeError::Unexpected { offset, expected: "a header" })?;
        Ok(Self { header, blocks })
    }

    /// Returns the machine that the tape is of.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the inputs, in their order.
    #[must_use]
    pub const fn records(&self) -> Records<'a> {
        Records {
            blocks: self.blocks,
            body: Cursor::new(&[], 0),
            outputs: None,
            at: self.header.began,
            number: 0,
            ending: None,
            failed: false,
        }
    }
}

/// Reads whole blocks.
#[derive(Clone, Copy, Debug)]
struct Blocks<'a> {
    cursor: Cursor<'a>,
    number: u64,
}

impl<'a> Blocks<'a> {
    /// The kind and the body of the next block.
    fn read(&mut self) -> Result<(u8, Cursor<'a>), TapeError> {
        let start = self.cursor;
        let truncated = TapeError::Truncated { offset: start.offset };
        let [kind, length @ ..] = self.cursor.array::<BLOCK_HEAD>().ok_or(truncated.clone())?;
        let length = u32::from_le_bytes(length) as usize;
        let offset = self.cursor.offset;
        let body = self.cursor.take(length).ok_or(truncated.clone())?;
        let sum = self.cursor.long().ok_or(truncated)?;
        let whole = Cursor::take(&mut { start }, BLOCK_HEAD + length).unwrap_or_default();
        if checksum(self.number, whole) != sum {
            return Err(TapeError::Changed { offset: start.offset });
        }
        self.number += 1;
        Ok((kind, Cursor::new(body, offset)))
    }
}

/// The inputs on a tape. An error is the last item.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    blocks: Blocks<'a>,
    /// The inputs that are left of a block, and the hash at its end.
    body: Cursor<'a>,
    outputs: Option<u64>,
    at: Instant,
    number: u64,
    ending: Option<Ending>,
    failed: bool,
}

impl Records<'_> {
    /// Returns how the tape ended, once all of its inputs have been read.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending.filter(|_| self.body.is_empty())
    }

    fn read(&mut self) -> Result<Option<Record>, TapeError> {
        while self.body.is_empty() {
            if self.ending.is_some() {
                return match self.blocks.cursor.is_empty() {
                    true => Ok(None),
                    false => Err(TapeError::Unexpected {
                        offset: self.blocks.cursor.offset,
                        expected: "the end, which came before it",
                    }),
                };
            }
            self.next_block()?;
        }
        let offset = self.body.offset;
        let unexpected = TapeError::Unexpected { offset, expected: "an input" };
        let elapsed = self.body.varint().ok_or(unexpected.clone())?;
        let input = Input::read(&mut self.body).ok_or(unexpected.clone())?;
        let check = self.body.byte().ok_or(unexpected)?;
        self.at = Instant::from_nanos(self.at.as_nanos().saturating_add(elapsed));
        self.number += 1;
        let outputs = self.outputs.filter(|_| self.body.is_empty());
        Ok(Some(Record { number: self.number, offset, at: self.at, input, check, outputs }))
    }

    fn next_block(&mut self) -> Result<(), TapeError> {
        let start = self.blocks.cursor.offset;
        let (kind, body) = self.blocks.read()?;
        self.ending = match kind {
            INPUTS => None,
            ENDED => Some(Ending::Ended),
            OVERRUN => Some(Ending::Overrun),
            _ => {
                let expected = "a block of inputs";
                return Err(TapeError::Unexpected { offset: start, expected });
            }
        };
        let offset = body.offset;
        let expected = "a block of inputs with a hash of the outputs";
        let (inputs, mut hash) =
            body.split_last(8).ok_or(TapeError::Unexpected { offset, expected })?;
        (self.body, self.outputs) = (inputs, hash.long());
        Ok(())
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, TapeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let read = self.read();
        self.failed = read.is_err();
        read.transpose()
    }
}

impl FusedIterator for Records<'_> {}
