//! Placeholders for the types of `tls` in builds without that feature.
//!
//! The types have no values, so an `Option` of one is always `None` and takes no space. The rest of the
//! crate compiles from the same source with and without TLS.

use std::io::{self, IoSlice, Read, Write};

use crate::connection::Buffer;

/// The TLS settings of a client.
#[derive(Clone, Debug)]
pub enum ClientTls {}

impl ClientTls {
    pub(crate) const fn authenticates_server(&self) -> bool {
        match *self {}
    }
}

/// The TLS settings of a server.
#[derive(Clone, Debug)]
pub enum ServerTls {}

impl ServerTls {
    pub(crate) const fn authenticates_clients(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn may_see_certificates(&self) -> bool {
        match *self {}
    }
}

/// The fingerprint of a certificate.
#[derive(Debug)]
pub(crate) enum Fingerprint {}

impl Fingerprint {
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        match *self {}
    }
}

/// The TLS state of a connection.
pub(crate) enum TlsConnection {}

impl TlsConnection {
    pub(crate) fn client(tls: &ClientTls) -> io::Result<Self> {
        match *tls {}
    }

    pub(crate) fn server(tls: &ServerTls) -> io::Result<Self> {
        match *tls {}
    }

    pub(crate) const fn peer_fingerprint(&self) -> Option<Fingerprint> {
        match *self {}
    }

    pub(crate) const fn has_unsent(&self) -> bool {
        match *self {}
    }

    pub(crate) fn handshake(&mut self, _socket: &mut (impl Read + Write)) -> io::Result<()> {
        match *self {}
    }

    pub(crate) fn read(
        &mut self,
        _socket: &mut (impl Read + Write),
        _buffer: &mut impl Buffer,
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

pub(crate) const fn is_rejection(_error: &io::Error) -> bool {
    false
}

pub(crate) const fn is_foreign_protocol(_error: &io::Error) -> bool {
    false
}
