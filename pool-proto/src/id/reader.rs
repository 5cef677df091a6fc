//! Reads an id from the start of a stream.

use core::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::{ConnId, IdError, IdFormat};

/// A reader of the id at the start of a connection, for bytes in any fragmentation.
///
/// Put bytes in with [`buffer_mut`](Self::buffer_mut) or [`feed`](Self::feed), then call
/// [`poll`](Self::poll). The reader keeps bytes after the id for
/// [`into_surplus`](Self::into_surplus). Poll after each read; then the reader never holds more than
/// one read and an unfinished id.
pub struct IdReader {
    format: IdFormat,
    buffer: BytesMut,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Whole(ConnId),
    Failed(IdError),
}

impl IdReader {
    /// Creates a reader of one id in this format. It allocates nothing before the first byte.
    #[must_use]
    pub fn new(format: IdFormat) -> Self {
        Self { format, buffer: BytesMut::new(), state: State::Waiting }
    }

    /// Returns the buffer, for a driver that reads straight into it. Only append to it.
    ///
    /// A driver that must not read beyond the id limits the read to [`missing`](Self::missing) bytes.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends bytes from the peer. After an error it drops them: they are useless then, and a peer
    /// must not fill the memory.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Returns the id, or `Ok(None)` while more bytes are needed.
    ///
    /// The first `Ok(Some(id))` takes the id out of the buffer. Later polls repeat the answer.
    ///
    /// # Errors
    ///
    /// [`IdError::NotHex`] at the first wrong byte, without waiting for the rest. The error is final:
    /// later polls repeat it.
    pub fn poll(&mut self) -> Result<Option<ConnId>, IdError> {
        match &self.state {
            State::Waiting => {}
            State::Whole(id) => return Ok(Some(*id)),
            State::Failed(error) => return Err(error.clone()),
        }
        match self.format.decode(&self.buffer) {
            Ok(None) => Ok(None),
            Ok(Some(id)) => {
                // Decoding needed this many bytes, so they are there.
                self.buffer.advance(self.format.wire_len());
                self.state = State::Whole(id);
                Ok(Some(id))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Returns the number of bytes that the id still lacks; 0 after the id is whole or an error.
    #[must_use]
    pub fn missing(&self) -> usize {
        match self.state {
            State::Waiting => self.format.wire_len().saturating_sub(self.buffer.len()),
            State::Whole(_) | State::Failed(_) => 0,
        }
    }

    /// Takes in EOF, and returns the id if it is whole.
    ///
    /// # Errors
    ///
    /// [`IdError::Short`] if the id is not whole, or the error of [`poll`](Self::poll). Both are
    /// final.
    pub fn end(&mut self) -> Result<ConnId, IdError> {
        match self.poll()? {
            Some(id) => Ok(id),
            None => {
                let short =
                    IdError::Short { got: self.buffer.len(), expected: self.format.wire_len() };
                Err(self.fail(short))
            }
        }
    }

    /// Returns the bytes after the id, in order and without copying.
    ///
    /// Empty if the id is not whole: before that, no byte is the user's.
    #[must_use]
    pub fn into_surplus(mut self) -> Bytes {
        // Without this poll, an id that was not polled for would come out as user data.
        match self.poll() {
            Ok(Some(_)) => self.buffer.freeze(),
            Ok(None) | Err(_) => Bytes::new(),
        }
    }

    fn fail(&mut self, error: IdError) -> IdError {
        self.state = State::Failed(error.clone());
        error
    }
}

impl fmt::Debug for IdReader {
    /// Shows the number of buffered bytes, not the bytes: user data must not get into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdReader")
            .field("format", &self.format)
            .field("state", &self.state)
            .field("buffered", &self.buffer.len())
            .finish()
    }
}
