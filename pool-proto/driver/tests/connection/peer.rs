//! The peer at the other end of a wire, with or without TLS.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, LazyLock};
use std::task::Poll;

use pool_driver::connection::{Failure, Handshake, Socket};
use pool_driver::tls::{ClientTls, ServerTls};
use rustls::{ClientConnection, Connection, ServerConnection};

use crate::wire::{End, Io};

pub(crate) static CLIENT_TLS: LazyLock<ClientTls> =
    LazyLock::new(|| ClientTls::self_signed().unwrap());
pub(crate) static SERVER_TLS: LazyLock<ServerTls> =
    LazyLock::new(|| ServerTls::self_signed().unwrap());

pub(crate) struct Peer {
    pub(crate) end: End,
    tls: Option<Connection>,
}

impl Peer {
    pub(crate) const fn plain(end: End) -> Self {
        Self { end, tls: None }
    }

    pub(crate) fn tls_server(end: End, tls: &ServerTls) -> Self {
        let session = ServerConnection::new(Arc::clone(tls.config())).unwrap();
        Self { end, tls: Some(session.into()) }
    }

    pub(crate) fn tls_client(end: End, tls: &ClientTls) -> Self {
        let name = tls.server_name().clone();
        let session = ClientConnection::new(Arc::clone(tls.config()), name).unwrap();
        Self { end, tls: Some(session.into()) }
    }

    pub(crate) fn session(&mut self) -> &mut Connection {
        self.tls.as_mut().expect("a TLS session")
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Returns the TLS session.
    pub(crate) fn into_session(self) -> Connection {
        self.tls.expect("a TLS session")
    }

    /// Processes all received bytes and sends all pending ones; returns the error that TLS finds.
    pub(crate) fn pump(&mut self) -> Result<(), rustls::Error> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut result = Ok(());
        while result.is_ok() {
            match tls.read_tls(&mut Io(&self.end)) {
                Ok(0) => break,
                Ok(_) => result = tls.process_new_packets().map(|_| ()),
                // There are no more bytes, or TLS has no room until its data is read.
                Err(_) => break,
            }
        }
        while tls.wants_write() && tls.write_tls(&mut Io(&self.end)).is_ok() {}
        result
    }

    /// Sends user data. Before the end of the handshake, TLS keeps it until then.
    pub(crate) fn send(&mut self, data: &[u8]) {
        let Some(tls) = &mut self.tls else { return self.end.send(data) };
        tls.set_buffer_limit(None);
        tls.writer().write_all(data).unwrap();
        while tls.wants_write() && tls.write_tls(&mut Io(&self.end)).is_ok() {}
    }

    /// Sends a record that TLS cannot decrypt.
    pub(crate) fn send_invalid_record(&self) {
        self.end.send(&[[0x17, 3, 3, 0, 32].as_slice(), &[7; 32]].concat());
    }

    /// Asserts that the other end has sent an alert.
    #[track_caller]
    pub(crate) fn assert_alert(&mut self, context: impl fmt::Debug) {
        let error = self.pump().unwrap_err();
        assert!(matches!(error, rustls::Error::AlertReceived(_)), "{context:?}: {error}");
    }

    /// Returns all user data that has arrived, up to EOF or an error.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        if self.tls.is_none() {
            return self.end.take();
        }
        let mut data = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let before = (data.len(), self.end.unread());
            self.pump().unwrap();
            while let Ok(count @ 1..) = self.session().reader().read(&mut chunk) {
                data.extend_from_slice(&chunk[..count]);
            }
            if before == (data.len(), self.end.unread()) {
                return data;
            }
        }
    }

    /// Returns whether the other end has closed its writing half, with TLS by close_notify.
    pub(crate) fn received_close(&mut self) -> bool {
        if self.tls.is_none() {
            return self.end.has_ended();
        }
        self.pump().unwrap();
        let read = self.session().reader().read(&mut [0]);
        matches!(read, Ok(0)) && self.end.has_ended()
    }

    /// Returns whether TLS waits for more data and has seen no close_notify.
    pub(crate) fn sees_no_close(&mut self) -> bool {
        self.pump().unwrap();
        let read = self.session().reader().read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends close_notify, if it has TLS.
    pub(crate) fn close_tls(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            self.pump().unwrap();
        }
    }

    /// Closes its writing half, with TLS by close_notify.
    pub(crate) fn close(&mut self) {
        self.close_tls();
        self.end.end();
    }
}

/// Completes a handshake, and lets the peer process its messages in between.
pub(crate) fn complete(
    handshake: &mut Handshake,
    near: &End,
    peer: &mut Peer,
) -> Result<(), Failure> {
    for _ in 0..10_000 {
        if let Poll::Ready(result) = handshake.advance(&mut near.now()) {
            return result;
        }
        // An error of the peer reaches the other end as an alert.
        let _ = peer.pump();
    }
    panic!("the handshake waits forever");
}
