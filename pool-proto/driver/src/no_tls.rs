//! Stands in for [`tls`](crate::tls) in builds without that feature.
//!
//! No value of these types exists: an `Option` of one is always `None`, and takes no space. The rest
//! of the crate is thereby compiled from the same source with and without TLS.

use std::io::{self, IoSlice, Read, Write};

/// Settings of a client that no build without TLS can have.
#[derive(Clone, Debug)]
pub enum ClientTls {}

/// Settings of a server that no build without TLS can have.
#[derive(Clone, Debug)]
pub enum ServerTls {}

/// The TLS state of a connection that no build without TLS can have.
pub(crate) enum TlsConnection {}

impl TlsConnection {
    pub(crate) fn client(tls: &ClientTls) -> io::Result<Self> {
        match *tls {}
    }

    pub(crate) fn server(tls: &ServerTls) -> io::Result<Self> {
        match *tls {}
    }

    pub(crate) fn handshake(&mut self, _socket: &mut (impl Read + Write)) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn read(
        &mut self,
        _socket: &mut (impl Read + Write),
        _buffer: &mut [u8],
    ) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn write_vectored(
        &mut self,
        _socket: &mut impl Write,
        _data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn flush(&mut self, _socket: &mut impl Write) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn shutdown(&mut self, _socket: &mut impl Write) -> io::Result<()> {
        match *self {}
    }
}

pub(crate) const fn is_tls_failure(_error: &io::Error) -> bool {
    false
}

pub(crate) const fn is_foreign_protocol(_error: &io::Error) -> bool {
    false
}
