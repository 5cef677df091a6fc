//! Memory in which a connection encrypts and decrypts, and in which it keeps what is under way.
//!
//! The C library of Linux copies more than 2 KiB by `rep movsb`. On processors of AMD since Zen 3, that takes
//! twenty times as long where the copy begins less than 32 bytes behind the original, by their places in
//! pages of 4 KiB: 9 µs for a record of TLS, instead of 0.4 (glibc bug 30994). An allocator that puts the copy
//! right behind an original of a power of two of bytes makes this the usual case. So both are kept apart.

use core::cell::Cell;
use core::hint::black_box;
use std::vec::Vec;

use bytes::{Buf, BytesMut};

/// A copy that begins so many bytes behind its original is far enough from it.
const APART: usize = 64;

/// The length from which on the place of a copy matters.
const LONG: usize = 2048;

/// Allocates memory that keeps the next allocation, into which so many bytes will be copied, apart from them.
pub(super) fn spacer(data: usize) -> Option<Vec<u8>> {
    // Unused, it would be optimised away.
    (data >= LONG).then(|| black_box(Vec::with_capacity(LONG)))
}

/// Appends bytes that are to be kept.
pub(super) fn keep(bytes: &mut BytesMut, more: &[u8]) {
    if bytes.capacity() == 0 && more.len() >= LONG {
        bytes.reserve(APART + more.len());
        bytes.resize(APART, 0);
        bytes.advance(APART);
    }
    bytes.extend_from_slice(more);
}

/// Removes bytes from the front, and gives the memory back with the last.
pub(super) fn consume(bytes: &mut BytesMut, count: usize) {
    bytes.advance(count.min(bytes.len()));
    if bytes.is_empty() {
        *bytes = BytesMut::new();
    }
}

std::thread_local! {
    /// The memory in which a thread encrypts and decrypts.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `act` with at least `least` bytes of memory that the calls of this thread share.
pub(super) fn with_scratch<T>(least: usize, act: impl FnOnce(&mut [u8]) -> T) -> T {
    // A call within a call, or at the end of the thread, gets memory of its own.
    let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
    if bytes.len() < least {
        bytes.resize(least, 0);
    }
    let result = act(&mut bytes);
    let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
    result
}
