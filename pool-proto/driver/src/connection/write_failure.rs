//! The failure that a write has met, for the reader.

use std::io::{self, ErrorKind};

use super::again;

/// The failure of a connection that a write has met. The system reports it once, to the first call.
/// Reads return the data that came before it, and then an ordinary EOF, as if the peer had sent
/// everything: the reader, which may be on another task or thread than the writer, needs the failure
/// too.
#[derive(Default)]
pub(super) struct WriteFailure(Option<io::Error>);

impl WriteFailure {
    /// Keeps a copy of the error of a write by which the connection has ended, and returns the result.
    ///
    /// A broken pipe does not count: the failure itself was reported before it, or the peer had closed
    /// its half in good order, and reads end by that.
    pub(super) fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::BrokenPipe)
        {
            self.0 = Some(again(error));
        }
        result
    }

    /// Returns the failure, once.
    pub(super) fn take(&mut self) -> Option<io::Error> {
        self.0.take()
    }
}
