//! Reads an id from the start of a stream.

use core::fmt;

use bytes::{Buf, Bytes, BytesMut};

use super::{ConnId, IdError, IdFormat};

/// Reads the id at the start of a connection, from bytes that come in any fragmentation.
///
/// Put bytes in with [`buffer_mut`](Self::buffer_mut) or [`feed`](Self::feed), then ask
/// [`poll`](Self::poll). Bytes behind the id are kept for [`into_surplus`](Self::into_surplus).
/// The reader holds what it is given: poll after each read, and it never holds more than one read
/// and an unfinished id.
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
    /// A reader of one id in this format. Allocates nothing before the first byte.
    #[must_use]
    pub fn new(format: IdFormat) -> Self {
        Self { format, buffer: BytesMut::new(), state: State::Waiting }
    }

    /// The buffer, for an adapter that reads straight into it. Append to it only.
    ///
    /// An adapter that must not read past the id limits the read to [`missing`](Self::missing)
    /// bytes.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends bytes that came from the peer. After an error they are dropped: nobody can want
    /// them, and a babbling peer must not fill the memory.
    pub fn feed(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The id, or `Ok(None)` as long as more bytes are needed.
    ///
    /// The first `Ok(Some(id))` takes the id out of the buffer; later polls repeat the answer.
    ///
    /// # Errors
    ///
    /// [`IdError::NotHex`] as soon as the first wrong byte is there, without waiting for the rest.
    /// The error is final: later polls repeat it.
    pub fn poll(&mut self) -> Result<Option<ConnId>, IdError> {
        match &self.state {
            State::Waiting => {}
            State::Whole(id) => return Ok(Some(*id)),
            State::Failed(error) => return Err(error.clone()),
        }
        match self.format.decode(&self.buffer) {
            Ok(None) => Ok(None),
            Ok(Some(id)) => {
                // Decoding needed this many bytes, so that many are there.
                self.buffer.advance(self.format.wire_len());
                self.state = State::Whole(id);
                Ok(Some(id))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// How many bytes the id still lacks; 0 if it is whole or has failed.
    #[must_use]
    pub fn missing(&self) -> usize {
        match self.state {
            State::Waiting => self.format.wire_len().saturating_sub(self.buffer.len()),
            State::Whole(_) | State::Failed(_) => 0,
        }
    }

    /// To be called when the peer has ended the stream: the id, if it was whole by then.
    ///
    /// # Errors
    ///
    /// [`IdError::Short`] if it was not, or the error [`poll`](Self::poll) would give. Either is
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

    /// The bytes that came after the id, untouched and in order, without copying them.
    ///
    /// Empty if there is no whole id: no byte is the user's before that.
    #[must_use]
    pub fn into_surplus(mut self) -> Bytes {
        // Without this an id nobody polled for would come out as user data.
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
    /// Tells how much is buffered and not what: the surplus is user data and not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdReader")
            .field("format", &self.format)
            .field("state", &self.state)
            .field("buffered", &self.buffer.len())
            .finish()
    }
}
