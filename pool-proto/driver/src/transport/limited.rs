//! A bound on what one look at a socket may take.

use std::io::{self, ErrorKind, Read, Write};

/// Bytes read from a socket in one go, at the most: twice what is thrown away when a connection is put
/// back. TLS can consume records without giving data (tickets, key updates), which the limits of data
/// do not see; a peer that sends more of them than there may be data wants to keep us busy, and is cut
/// off.
const LIMIT: usize = 512 * 1024;

/// A socket of which only so much may be read.
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
