//! The part of an end in a request: the server sends bytes, the client echoes them.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

use crate::Outcome;

/// The size of a request and of its echo, in bytes.
pub(crate) const LENGTH: usize = 1 << 20;

/// The most bytes read, and written, before other connections have their turn.
const TURN: usize = LENGTH / 4;

pub(crate) struct Talk {
    pub(crate) request: u32,
    pub(crate) stream: TcpStream,
    pub(crate) question: Option<Vec<u8>>,
    pub(crate) heard: Vec<u8>,
    sent: usize,
}

pub(crate) enum Progress {
    /// All bytes were sent and received.
    Over,
    /// The socket would block. An event says when to continue.
    Blocked,
    /// The turn is over. The socket may have more, but its edge was consumed: no event will follow.
    Paused,
}

impl Talk {
    pub(crate) fn new(request: u32, stream: TcpStream, question: Option<Vec<u8>>) -> Self {
        Self { request, stream, question, heard: Vec::new(), sent: 0 }
    }

    pub(crate) fn advance(&mut self) -> Outcome<Progress> {
        let heard = self.heard.len();
        let limit = TURN.min(LENGTH - heard);
        let mut paused = read_up_to(limit, &self.stream, &mut self.heard)?;
        if paused && self.heard.len() < heard + limit {
            return Err("the peer has closed the connection during a request".into());
        }
        paused &= self.heard.len() < LENGTH;

        let bytes = self.question.as_ref().unwrap_or(&self.heard);
        let end = bytes.len().min(self.sent + TURN);
        while let Some(unsent @ [_, ..]) = bytes.get(self.sent..end) {
            match self.stream.write(unsent) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        paused |= self.sent == end && end < bytes.len();
        Ok(match (paused, self.sent.min(self.heard.len())) {
            (true, _) => Progress::Paused,
            (false, LENGTH) => Progress::Over,
            (false, _) => Progress::Blocked,
        })
    }
}

impl fmt::Display for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, heard) = (self.sent >> 10, self.heard.len() >> 10);
        write!(f, "request {}: {sent} KiB sent, {heard} KiB heard", self.request)
    }
}

/// Appends up to `limit` arrived bytes. Returns `true` at the limit or at EOF, `false` if the socket
/// would block.
pub(crate) fn read_up_to(
    limit: usize,
    stream: &TcpStream,
    bytes: &mut Vec<u8>,
) -> io::Result<bool> {
    // After an error, such as `WouldBlock`, `bytes` has the bytes that were read before.
    match stream.take(limit as u64).read_to_end(bytes) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
