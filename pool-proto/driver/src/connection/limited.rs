//! A bound on the bytes that one check of a socket may read.

use std::io::{self, ErrorKind, Read, Write};

/// Bytes that one check may read from a socket: twice the limit of a drain. TLS can consume records
/// without yielding data (session tickets, key updates), which the limits on data do not see. A peer
/// that sends more of them than there may be data wastes this end's time, and is cut off.
const LIMIT: usize = 512 * 1024;

/// A socket of which at most [`LIMIT`] bytes may be read.
pub(super) struct Limited<T> {
    inner: T,
    left: usize,
}

impl<T> Limited<T> {
    pub(super) const fn new(inner: T) -> Self {
        Self { inner, left: LIMIT }
    }
}

impl<T: Read> Read for Limited<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.saturating_sub(count);
        if self.left == 0 { Err(ErrorKind::QuotaExceeded.into()) } else { Ok(count) }
    }
}

/// For alerts, which TLS sends while it reads.
impl<T: Write> Write for Limited<T> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.inner.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
