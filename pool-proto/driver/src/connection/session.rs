//! Plain TCP or TLS, over any `Read + Write`.
//!
//! Over a non-blocking socket every call returns [`WouldBlock`](io::ErrorKind::WouldBlock) where it
//! would have to wait, and continues there when it is called again.

use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use super::buffer::{Buffer, ReadTo, Slice};
#[cfg(feature = "tls")]
use crate::tls::TlsFacts;
use crate::tls::{ClientTls, Fingerprint, ServerTls, TlsConnection};

/// The layer between a socket and its user.
pub(crate) struct Session {
    /// Boxed, so that a connection without TLS is small.
    tls: Option<Box<TlsConnection>>,
    /// Whether this end has closed its writing half.
    shut: bool,
}

impl Session {
    pub(crate) fn client(tls: Option<&ClientTls>) -> io::Result<Self> {
        Self::new(tls.map(TlsConnection::client))
    }

    pub(crate) fn server(tls: Option<&ServerTls>) -> io::Result<Self> {
        Self::new(tls.map(TlsConnection::server))
    }

    fn new(tls: Option<io::Result<TlsConnection>>) -> io::Result<Self> {
        Ok(Self { tls: tls.transpose()?.map(Box::new), shut: false })
    }

    /// Returns the parameters that the TLS handshake has negotiated; `None` without TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn facts(&self) -> Option<TlsFacts> {
        self.tls.as_ref().map(|tls| tls.facts())
    }

    /// Returns the fingerprint of the peer's certificate, once the TLS handshake is complete; `None`
    /// without TLS, and if the peer has presented none.
    pub(crate) fn peer_fingerprint(&self) -> Option<Fingerprint> {
        self.tls.as_ref().and_then(|tls| tls.peer_fingerprint())
    }

    pub(crate) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether this end has closed its writing half.
    pub(crate) const fn is_shut_down(&self) -> bool {
        self.shut
    }

    /// Whether TLS has data that the socket has not accepted.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    /// Completes the TLS handshake, if there is one, and sends all of this end's part of it.
    pub(crate) fn handshake(&mut self, socket: &mut (impl Read + Write)) -> io::Result<()> {
        self.tls.as_mut().map_or(Ok(()), |tls| tls.handshake(socket))
    }

    /// Reads data. Under TLS, EOF without a close_notify alert is an
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof).
    pub(crate) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        self.read_to(socket, &mut Slice::new(buffer))
    }

    /// [`read`](Self::read) into any buffer.
    pub(crate) fn read_to<B: Buffer, T: Read + Write + ReadTo<B>>(
        &mut self,
        socket: &mut T,
        buffer: &mut B,
    ) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(socket, buffer),
            None => retry(|| socket.read_to(buffer)),
        }
    }

    /// Writes data. Under TLS, some of it may wait for a [`flush`](Self::flush).
    pub(crate) fn write_vectored(
        &mut self,
        socket: &mut impl Write,
        data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if self.shut {
            return Err(ErrorKind::BrokenPipe.into());
        }
        match &mut self.tls {
            Some(tls) => tls.write_vectored(socket, data),
            None => retry(|| match data {
                // The call for one slice is cheaper.
                [one] => socket.write(one),
                _ => socket.write_vectored(data),
            }),
        }
    }

    pub(crate) fn write(&mut self, socket: &mut impl Write, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(socket, &[IoSlice::new(data)])
    }

    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.tls.as_mut().map_or(Ok(()), |tls| tls.flush(socket))?;
        socket.flush()
    }

    /// Ends the TLS stream with a close_notify alert. The caller closes the socket's writing half.
    pub(crate) fn shutdown(&mut self, socket: &mut impl Write) -> io::Result<()> {
        self.shut = true;
        self.tls.as_mut().map_or(Ok(()), |tls| tls.shutdown(socket))
    }
}

/// Repeats a call that a signal has interrupted.
pub(crate) fn retry<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
