//! Failed dials and handshakes: their kinds, their texts, and their counts.

use std::error::Error as _;
use std::io;

use pool_driver::connection::Failure;
use pool_proto::{Accepting, Dialing, HandshakeFailure, IdError};

use crate::rig::{Pool, Side};

fn error() -> io::Error {
    io::Error::other("intended failure")
}

fn all() -> [(Failure, HandshakeFailure, &'static str); 7] {
    use HandshakeFailure::{Id, Tls, Transport};
    [
        (Failure::Dial(error()), Transport, "dialling failed: intended"),
        (Failure::Options(error()), Transport, "setting the socket's options failed: intended"),
        (Failure::Tls(error()), Tls, "the TLS handshake failed: intended"),
        (Failure::NoTls(error()), Tls, "the peer does not speak TLS (intended"),
        (
            Failure::TlsTransport(error()),
            Transport,
            "the transport failed during the TLS handshake: intended",
        ),
        (
            Failure::Id(IdError::Short { got: 1, expected: 4 }),
            Id,
            "expected a connection id of 4 bytes, but the peer ended the stream after 1",
        ),
        (
            Failure::IdTransport(error()),
            Transport,
            "the transport failed during the id exchange: intended",
        ),
    ]
}

#[test]
fn each_failure_has_its_kind_and_its_text() {
    for (failure, kind, text) in all() {
        assert_eq!(failure.kind(), kind, "{failure}");
        assert!(failure.to_string().starts_with(text), "{failure}");
        let source = failure.source().map(ToString::to_string);
        assert!(source.is_some_and(|source| failure.to_string().contains(&source)), "{failure}");
    }
}

#[test]
fn a_reported_failure_is_the_last_failure_until_a_connection_is_established() {
    for (failure, kind, _) in all() {
        let mut pool = Pool::<Accepting>::new(false);
        let (attempt, _handshake) = Accepting::begin(&mut pool);
        let text = failure.to_string();
        attempt.complete(Err(failure));
        assert_eq!(pool.shared().last_failure().as_deref(), Some(text.as_str()));
        let totals = pool.shared().stats().totals;
        let counted = [totals.tls_failures, totals.id_failures, totals.transport_failures];
        let expected = match kind {
            HandshakeFailure::Tls => [1, 0, 0],
            HandshakeFailure::Id => [0, 1, 0],
            _ => [0, 0, 1],
        };
        assert_eq!(counted, expected, "{text}");
        pool.connect();
        assert_eq!(pool.shared().last_failure(), None);
    }
}

#[test]
fn a_failure_before_the_transport_is_connected_is_a_failed_dial() {
    let mut pool = Pool::<Dialing>::new(false);
    pool.turn();
    let attempt = pool.begun.pop_front().unwrap();
    attempt.complete(Err(Failure::Dial(error())));
    let stats = pool.shared().stats();
    assert_eq!((stats.totals.dial_failures, stats.totals.transport_failures), (1, 0));
    assert_eq!(stats.dialing, 0);
}
