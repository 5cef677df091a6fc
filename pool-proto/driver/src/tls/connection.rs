//! TLS over any `Read + Write`: rustls' `Stream`, without holding the socket.

use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::{ClientConnection, Connection, InvalidMessage, ServerConnection};

use super::{ClientTls, Fingerprint, ServerTls, TlsFacts};
use crate::connection::retry;

/// The TLS state of one connection.
///
/// Over a non-blocking socket every call returns [`WouldBlock`](ErrorKind::WouldBlock) where it
/// would have to wait, and continues there when it is called again.
pub(crate) struct TlsConnection(Box<Connection>);

impl TlsConnection {
    pub(crate) fn client(tls: &ClientTls) -> io::Result<Self> {
        ClientConnection::new(Arc::clone(tls.config()), tls.server_name().clone())
            .map(|connection| Self(Box::new(connection.into())))
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))
    }

    pub(crate) fn server(tls: &ServerTls) -> io::Result<Self> {
        ServerConnection::new(Arc::clone(tls.config()))
            .map(|connection| Self(Box::new(connection.into())))
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))
    }

    /// Returns the parameters that the handshake has negotiated.
    pub(crate) fn facts(&self) -> TlsFacts {
        TlsFacts::of(&self.0)
    }

    /// Returns the fingerprint of the certificate that the peer has proven to hold the key of. `None`
    /// if it has presented none, and before the handshake is complete.
    pub(crate) fn peer_fingerprint(&self) -> Option<Fingerprint> {
        let chain = self.0.peer_certificates().filter(|_| !self.0.is_handshaking())?;
        chain.first().map(Fingerprint::of)
    }

    /// Completes the handshake, and sends all of this end's part of it.
    pub(crate) fn handshake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        loop {
            self.send(socket)?;
            if !self.0.is_handshaking() {
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
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            match self.0.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
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
            let taken = self.0.writer().write_vectored(data)?;
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

    /// Sends everything that rustls has buffered.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.send(socket)
    }

    /// Sends a close_notify alert.
    pub(crate) fn shutdown(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.0.send_close_notify();
        self.send(socket)
    }

    fn send(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.0.wants_write() {
            if retry(|| self.0.write_tls(socket))? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Reads once from the socket; 0 at EOF.
    fn receive(&mut self, socket: &mut (impl Read + Write)) -> io::Result<usize> {
        let count = retry(|| self.0.read_tls(socket))?;
        if let Err(error) = self.0.process_new_packets() {
            // The alert tells the peer the reason. If it cannot be sent, the peer sees only EOF.
            let _ = self.send(socket);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(count)
    }
}

/// Whether a [`TlsConnection`] failed because of TLS, and not because of the socket.
pub(crate) fn is_tls_failure(error: &io::Error) -> bool {
    by_rustls(error).is_some()
}

/// Whether a [`TlsConnection`] failed because the peer's bytes are not a TLS record.
pub(crate) fn is_foreign_protocol(error: &io::Error) -> bool {
    let foreign = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
    by_rustls(error).is_some_and(|error| *error == foreign)
}

fn by_rustls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
