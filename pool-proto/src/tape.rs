//! Tapes: everything that a machine was told, in order, to be replayed elsewhere.
//!
//! A machine is deterministic. So a tape that holds its configuration and all of its inputs, from the
//! first one on, makes the same machine again: the state in which a pool did something odd at a user's
//! site can be reached here, one input at a time. [`Recorded`] is a machine with a tape, [`Tape`] reads
//! one, [`Replay`] replays it.
//!
//! A machine that runs already cannot be recorded: its tape would have to begin with the whole state of
//! the machine, every list and counter of it, and only the same version could read that. So a recording
//! begins with the machine. It may end at any time.
//!
//! # What a tape tells
//!
//! A tape holds neither ids nor addresses, certificates, names, keys or data. It holds times, counts and
//! relations:
//!
//! - *Ids.* A machine only compares ids. The tape says where an id is found in the machine at that
//!   moment ([`IdName`]): it is that of this connection, or this waiter waits for it, or it is new. (Where
//!   both ends acquire, also whose it is, which is a bit of the id.) The replayed machine issues ids of
//!   its own, and nothing else in its answers depends on them.
//! - *Peers.* An address or the fingerprint of a certificate becomes a number of 63 bits, by a keyed hash
//!   ([`PeerName`]). The key is derived from the secret of the machine and is not on the tape. The number
//!   says of two connections whether their peers are the same, and whether the allow list let it in.
//! - *Randomness.* The tape holds the seeds of the jitter of backoff and lifetimes. They are derived from
//!   the secret by a pseudorandom function, so nothing about the secret, or about ids, follows from
//!   them.
//!
//! The times of requests and the sizes of a stock are on the tape, in the clear.
//!
//! # The format
//!
//! Version 1. A *varint* is an unsigned LEB128 of up to 64 bits; other numbers have fixed sizes and are
//! little endian.
//!
//! ```text
//! tape     8 bytes "pooltape", 1 byte version, block of the header, blocks of inputs
//! block    1 byte kind, 4 bytes length of the body, body, 8 bytes checksum
//! kind     0 header; 1 inputs, and more follow; 2 inputs, the recording was ended;
//!          3 inputs, the recording ended itself because the writer was too slow
//! checksum SipHash-1-3 of the block before it, under the key (number of the block, 0)
//!
//! header   1 byte length of the version, version of pool-proto, 1 byte role (0 client, 1 server),
//!          2 × 8 bytes seeds (lifetimes, backoff), varint time of the machine's creation,
//!          varint count of the settings, varint each, 8 bytes hash of the outputs at the creation
//! inputs   any number of inputs, 8 bytes hash of all outputs so far
//! input    varint nanoseconds since the input before, 1 byte operation, operands,
//!          1 byte: the highest of the hash of all outputs so far
//! ```
//!
//! An operation is the number of its variant in [`Input`], plus 32 times a detail: the result of a check
//! (1 + its number, 0 for none), the failed part of a handshake, or the kind of an [`IdName`] (1 + its
//! number, 0 for none). The three inputs of a new configuration are one operation with three details: each
//! setting that it changes, each connection of whose peer its allow list says otherwise, and the change
//! itself. Operands come in the order of their fields: tokens and waiters as two varints
//! (slot and generation), counts as varints, a deadline as a varint (1 + its nanoseconds, 0 for none),
//! peers as 8 bytes.
//!
//! The hash is of the outputs as 64-bit words, by rustc's FxHash: each answer, or, if the input was a
//! timeout or a new configuration, the next deadline, and then the actions that came with it. Ids and
//! addresses in outputs are left out: they come from the inputs. A machine that differs from the tape is
//! noticed at the first differing input with a probability of 255 in 256, and otherwise soon after it; the
//! whole hash at the end of a block leaves one chance in 2⁶⁴. A busy machine takes some 6 bytes for each
//! input.
//!
//! A byte that was changed is noticed by the checksum of its block. A tape whose process was killed ends
//! without a block of kind 2 or 3, and can be replayed up to the last whole block.

mod bytes;
mod header;
mod input;
mod outputs;
mod reader;
mod recorded;
mod recorder;
mod replay;

pub use header::{Header, TapedRole};
pub use input::{IdName, Input, PeerName};
pub use outputs::Answer;
pub use reader::{Ending, Record, Records, Tape, TapeError};
pub use recorded::Recorded;
pub use recorder::Block;
pub use replay::{Replay, Step};

/// The first bytes of a tape.
const MAGIC: [u8; 8] = *b"pooltape";

/// The version of the format that this crate writes and reads.
const FORMAT: u8 = 1;

#[cfg(test)]
mod tests;
