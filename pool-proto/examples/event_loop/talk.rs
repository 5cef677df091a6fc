//! One end's part in a request: the server sends bytes, the client sends back what it hears.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;

use crate::Outcome;

/// Bytes of a request, and of its echo.
pub(crate) const LENGTH: usize = 1 << 20;

/// Bytes read, and written, before it is the turn of other connections.
const TURN: usize = LENGTH / 4;

pub(crate) struct Talk {
    pub(crate) request: u32,
    pub(crate) stream: TcpStream,
    pub(crate) question: Option<Vec<u8>>,
    pub(crate) heard: Vec<u8>,
    sent: usize,
}

pub(crate) enum Progress {
    /// All has been sent and heard.
    Over,
    /// The socket would block, and says when to go on.
    Blocked,
    /// The turn is over. The socket has said that it could go on, and will not say so again.
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
            return Err("the peer has closed it in the middle of a request".into());
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

/// Appends what has arrived, `limit` bytes at the most. Whether that is all: so many have come, or
/// the peer has ended the stream.
pub(crate) fn read_up_to(
    limit: usize,
    stream: &TcpStream,
    bytes: &mut Vec<u8>,
) -> io::Result<bool> {
    // An error, such as that it would block, leaves in `bytes` what was read before.
    match stream.take(limit as u64).read_to_end(bytes) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
