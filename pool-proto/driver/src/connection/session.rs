//! Plain TCP or TLS, over any `Read + Write`: what rustls' `Stream` is, without holding the socket.
//!
//! Over a socket that does not block, everything here says
//! [`WouldBlock`](io::ErrorKind::WouldBlock) where it has to wait, and goes on where it was when it
//! is called again.

use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::{ClientConnection, Connection, ServerConnection};

use crate::tls::{ClientTls, ServerTls, TlsFacts};

/// What lies between a socket and its user.
pub(crate) struct Session {
    tls: Option<Box<Connection>>,
    /// This end has closed its half.
    shut: bool,
}

impl Session {
    pub(crate) fn client(tls: Option<&ClientTls>) -> Result<Self, rustls::Error> {
        let new = |tls: &ClientTls| {
            ClientConnection::new(Arc::clone(tls.config()), tls.server_name().clone())
        };
        let tls = tls.map(new).transpose()?;
        Ok(Self { tls: tls.map(|tls| Box::new(tls.into())), shut: false })
    }

    pub(crate) fn server(tls: Option<&ServerTls>) -> Result<Self, rustls::Error> {
        let new = |tls: &ServerTls| ServerConnection::new(Arc::clone(tls.config()));
        let tls = tls.map(new).transpose()?;
        Ok(Self { tls: tls.map(|tls| Box::new(tls.into())), shut: false })
    }

    pub(crate) fn facts(&self) -> Option<TlsFacts> {
        self.tls.as_deref().map(TlsFacts::of)
    }

    /// Whether this end has closed its half.
    pub(crate) const fn is_shut_down(&self) -> bool {
        self.shut
    }

    /// Goes through the TLS handshake, until all of this end's part has been sent.
    pub(crate) fn handshake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        loop {
            send(tls, socket)?;
            if !tls.is_handshaking() {
                return Ok(());
            }
            if receive(tls, socket)? == 0 {
                let text = "the peer closed the connection";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
            }
        }
    }

    /// An end without TLS' goodbye is an [`UnexpectedEof`](ErrorKind::UnexpectedEof).
    pub(crate) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return retry(|| socket.read(buffer)) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            receive(tls, socket)?;
        }
    }

    /// What TLS has taken may not have been sent yet: [`flush`](Self::flush).
    pub(crate) fn write_vectored(
        &mut self,
        socket: &mut impl Write,
        data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if self.shut {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let Some(tls) = &mut self.tls else { return retry(|| socket.write_vectored(data)) };
        if data.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        loop {
            let taken = tls.writer().write_vectored(data)?;
            match send(tls, socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && taken > 0 => {
                    return Ok(taken);
                }
                Err(error) => return Err(error),
                Ok(()) if taken > 0 => return Ok(taken),
                // TLS had no room, and has some now.
                Ok(()) => {}
            }
        }
    }

    pub(crate) fn write(&mut self, socket: &mut impl Write, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(socket, &[IoSlice::new(data)])
    }

    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.tls.as_deref_mut().map_or(Ok(()), |tls| send(tls, socket))?;
        socket.flush()
    }

    /// Says TLS' goodbye; closing the socket's half is left to the caller.
    pub(crate) fn shutdown(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.shut = true;
        let Some(tls) = &mut self.tls else { return Ok(()) };
        tls.send_close_notify();
        send(tls, socket)
    }
}

fn retry<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Sends all that TLS has to send.
fn send(tls: &mut Connection, socket: &mut impl Write) -> io::Result<()> {
    while tls.wants_write() {
        if retry(|| tls.write_tls(socket))? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

/// Takes in what the socket has; 0 at its end.
fn receive(tls: &mut Connection, socket: &mut (impl Read + Write)) -> io::Result<usize> {
    let count = retry(|| tls.read_tls(socket))?;
    if let Err(error) = tls.process_new_packets() {
        // The alert that tells the peer why. If it cannot be sent, the peer sees only the end.
        let _ = send(tls, socket);
        return Err(io::Error::new(ErrorKind::InvalidData, error));
    }
    Ok(count)
}
