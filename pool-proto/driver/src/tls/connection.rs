//! TLS over any `Read + Write`: rustls' `Stream`, without holding the socket.

use std::boxed::Box;
use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::{ClientConnection, Connection, ServerConnection, Side};

use super::failure::TlsFailure;
use super::own::Own;
use super::{ClientTls, Fingerprint, ServerTls, TlsFacts};
use crate::connection::{Buffer, retry};

/// The TLS state of one connection.
///
/// Over a non-blocking socket every call returns [`WouldBlock`](ErrorKind::WouldBlock) where it
/// would have to wait, and continues there when it is called again.
pub(crate) struct TlsConnection {
    rustls: Box<Connection>,
    /// For the text of a failure.
    own: Arc<Own>,
}

impl TlsConnection {
    pub(crate) fn client(tls: &ClientTls) -> io::Result<Self> {
        let own = Arc::clone(tls.own());
        ClientConnection::new(Arc::clone(tls.config()), tls.server_name().clone())
            .map(|connection| Self { rustls: Box::new(connection.into()), own })
            .map_err(|error| refused_settings(error, Side::Client, tls.own()))
    }

    pub(crate) fn server(tls: &ServerTls) -> io::Result<Self> {
        let own = Arc::clone(tls.own());
        ServerConnection::new(Arc::clone(tls.config()))
            .map(|connection| Self { rustls: Box::new(connection.into()), own })
            .map_err(|error| refused_settings(error, Side::Server, tls.own()))
    }

    /// Returns the parameters that the handshake has negotiated.
    pub(crate) fn facts(&self) -> TlsFacts {
        TlsFacts::of(&self.rustls)
    }

    /// Returns the fingerprint of the certificate that the peer has proven to hold the key of. `None`
    /// if it has presented none, and before the handshake is complete.
    pub(crate) fn peer_fingerprint(&self) -> Option<Fingerprint> {
        let chain = self.rustls.peer_certificates().filter(|_| !self.rustls.is_handshaking())?;
        chain.first().map(Fingerprint::of)
    }

    /// Completes the handshake, and sends all of this end's part of it.
    pub(crate) fn handshake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        loop {
            self.send(socket)?;
            if !self.rustls.is_handshaking() {
                return Ok(());
            }
            if self.receive(socket)? == 0 {
                let text = "the peer closed the connection";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
            }
        }
    }

    /// Reads decrypted data. EOF without a close_notify alert is an
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof).
    pub(crate) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut impl Buffer,
    ) -> io::Result<usize> {
        if buffer.room() == 0 {
            return Ok(0);
        }
        loop {
            let mut reader = self.rustls.reader();
            match reader.fill_buf() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(data) => {
                    let count = data.len().min(buffer.room());
                    buffer.put(data.get(..count).unwrap_or_default());
                    reader.consume(count);
                    return Ok(count);
                }
            }
            self.receive(socket)?;
        }
    }

    /// Encrypts data and sends as much as the socket accepts. The rest is sent by
    /// [`flush`](Self::flush) or the next write.
    pub(crate) fn write_vectored(
        &mut self,
        socket: &mut impl Write,
        data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if data.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        loop {
            let taken = self.rustls.writer().write_vectored(data)?;
            match self.send(socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && taken > 0 => {
                    return Ok(taken);
                }
                Err(error) => return Err(error),
                Ok(()) if taken > 0 => return Ok(taken),
                // rustls' buffer was full, and is empty now.
                Ok(()) => {}
            }
        }
    }

    /// Whether rustls has buffered data to send.
    pub(crate) fn has_unsent(&self) -> bool {
        self.rustls.wants_write()
    }

    /// Sends everything that rustls has buffered.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.send(socket)
    }

    /// Sends a close_notify alert.
    pub(crate) fn shutdown(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.rustls.send_close_notify();
        self.send(socket)
    }

    fn send(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.rustls.wants_write() {
            if retry(|| self.rustls.write_tls(socket))? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Reads once from the socket; 0 at EOF.
    fn receive(&mut self, socket: &mut (impl Read + Write)) -> io::Result<usize> {
        let count = retry(|| self.rustls.read_tls(socket))?;
        if let Err(error) = self.rustls.process_new_packets() {
            // The alert tells the peer the reason. If it cannot be sent, the peer sees only EOF.
            let _ = self.send(socket);
            let side = match *self.rustls {
                Connection::Client(_) => Side::Client,
                Connection::Server(_) => Side::Server,
            };
            let failure = TlsFailure::new(error, side, Arc::clone(&self.own));
            return Err(failure.into_io(ErrorKind::InvalidData));
        }
        Ok(count)
    }
}

fn refused_settings(error: rustls::Error, side: Side, own: &Arc<Own>) -> io::Error {
    TlsFailure::new(error, side, Arc::clone(own)).into_io(ErrorKind::InvalidInput)
}
