//! Memory in which a connection encrypts and decrypts, and in which it keeps what is under way.
//!
//! The C library of Linux copies more than 2 KiB by `rep movsb`. On processors of AMD since Zen 3, that takes
//! twenty times as long where the copy begins less than 32 bytes behind the original, by their places in
//! pages of 4 KiB: 9 µs for a record of TLS, instead of 0.4 (glibc bug 30994, mended in later versions). An
//! allocator that puts the copy right behind an original of a power of two of bytes makes this a usual case.
//! So both are kept apart.

use core::cell::Cell;
use core::hint::black_box;
use std::vec::Vec;

use bytes::{Buf, BytesMut};

use super::records::{FULL_RECORD, HEADER, RECORD};

/// The size of a page.
const PAGE: usize = 4096;

/// Less is copied in another way.
const LONG: usize = 2048;

/// A copy that begins so many bytes behind its original, or more, is far enough from it.
const APART: usize = 64;

/// Whether a copy of `original` at this place would be a slow one.
fn is_near(original: &[u8], copy: *const u8) -> bool {
    (1..APART).contains(&(copy.addr().wrapping_sub(original.as_ptr().addr()) % PAGE))
}

/// Returns memory in the place in which rustls would copy `data` to encrypt it, if that were too near. While
/// it is held, rustls gets another place.
pub(super) fn hold_apart(data: &[u8]) -> Option<Vec<u8>> {
    if data.len() < LONG {
        return None;
    }
    let size = data.len().min(RECORD) + FULL_RECORD - RECORD;
    // Unused, it would be optimised away.
    let place = black_box(Vec::<u8>::with_capacity(size));
    is_near(data, place.as_ptr().wrapping_add(HEADER)).then_some(place)
}

/// Appends bytes that are to be kept.
pub(super) fn keep(bytes: &mut BytesMut, more: &[u8]) {
    if bytes.is_empty() && !more.is_empty() {
        bytes.reserve(APART + more.len());
        if is_near(more, bytes.as_ptr()) {
            bytes.resize(APART, 0);
            bytes.advance(APART);
        }
    }
    bytes.extend_from_slice(more);
}

std::thread_local! {
    /// The memory in which a thread encrypts and decrypts.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `act` with `size` bytes of memory that the calls of this thread share.
pub(super) fn with_scratch<T>(size: usize, act: impl FnOnce(&mut [u8]) -> T) -> T {
    // A call within a call, or at the end of the thread, gets memory of its own.
    let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
    if bytes.len() < size {
        bytes.resize(size, 0);
    }
    // No more than that, so that the outcome does not depend on earlier calls.
    let result = act(bytes.get_mut(..size).unwrap_or_default());
    let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
    result
}
