//! The limit of bytes that one check reads when TLS yields no data.

use std::sync::Arc;
use std::task::Poll;

use pool_driver::connection::{Connection, Failure, SharedSocket, Socket};
use pool_driver::shared::{Leased, PoolConnection};
use pool_driver::tls::ServerTls;
use pool_proto::{CheckResult, Dialing, HandshakeFailure, IdExchange};
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConfig};

use crate::peer::{Peer, SERVER_TLS, complete};
use crate::rig::{Pool, Side, client_side, take};
use crate::wire::End;

/// The most bytes that one check reads.
const LIMIT: usize = 512 * 1024;

/// The overhead of a TLS record: its header, the inner content type, and the tag.
const OVERHEAD: usize = 5 + 1 + 16;

/// Seals TLS records of any type as a server.
struct Sealer {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Sealer {
    /// Continues the peer's session.
    fn new(peer: Peer) -> Self {
        let session = peer.into_session();
        let suite = session.negotiated_cipher_suite().unwrap();
        let (sequence, secrets) = session.dangerous_extract_secrets().unwrap().tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            panic!("the negotiated cipher suite is not known here")
        };
        let encrypter = suite.tls13().unwrap().aead_alg.encrypter(key, iv);
        let mut sealer = Self { encrypter, sequence: 0 };
        // aws-lc-rs requires that the first record of a key has the sequence number 0.
        while sealer.sequence < sequence {
            sealer.seal(ContentType::Handshake, &[]);
        }
        sealer
    }

    fn seal(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(payload);
        let plain = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload };
        self.sequence += 1;
        self.encrypter.encrypt(plain, self.sequence - 1).unwrap().encode()
    }

    /// Returns `length` bytes of session tickets (RFC 8446, section 4.6.1), which carry no data.
    fn tickets(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            // Leave enough bytes for the last record.
            let left = length - bytes.len();
            let record = if left > 16_000 { 15_000 } else { left };
            let ticket = self.seal(ContentType::Handshake, &ticket(record - OVERHEAD));
            assert_eq!(ticket.len(), record);
            bytes.extend(ticket);
        }
        bytes
    }
}

/// Returns a session ticket of this length.
fn ticket(length: usize) -> Vec<u8> {
    let mut bytes = vec![4];
    bytes.extend(&u32::try_from(length - 4).unwrap().to_be_bytes()[1..]);
    // Lifetime, age_add, nonce.
    bytes.extend([0, 0, 0, 9, 0, 0, 0, 1, 1, 7]);
    let rest = length - bytes.len() - 4;
    bytes.extend(u16::try_from(rest).unwrap().to_be_bytes());
    bytes.resize(bytes.len() + rest, 7);
    // No extensions.
    bytes.extend([0, 0]);
    bytes
}

fn server_tls() -> ServerTls {
    let mut config: ServerConfig = (**SERVER_TLS.config()).clone();
    config.enable_secret_extraction = true;
    ServerTls::custom(Arc::new(config))
}

/// A connection that is leased from a client, and the TLS session of its peer.
struct Lent {
    leased: Leased<Box<Connection<End>>>,
    near: End,
    far: End,
    sealer: Sealer,
}

impl Lent {
    fn new() -> Self {
        let mut pool = Pool::<Dialing>::new(true);
        let (near, far) = End::pair();
        let (attempt, handshake) = Dialing::begin(&mut pool);
        let mut peer = Peer::tls_server(far.clone(), &server_tls());
        peer.send(b"0a1b2c3d");
        let established = pool.complete_handshake(handshake, &near, &mut peer);
        attempt.complete(Ok((SharedSocket::new(near.clone()), established)));
        let Poll::Ready(Ok(leased)) = take(pool.shared().acquire()) else {
            panic!("no connection is ready")
        };
        Self { leased, near, far, sealer: Sealer::new(peer) }
    }

    /// Returns the result of a check after `length` bytes of tickets.
    fn check_behind(&mut self, length: usize) -> CheckResult {
        self.far.set(|kernel| kernel.room = 2 * LIMIT);
        self.far.send(&self.sealer.tickets(length));
        self.leased.get_mut().check()
    }
}

#[test]
fn a_check_that_reaches_its_limit_closes_the_connection() {
    for (length, expected) in [
        (LIMIT - 1, CheckResult::Quiet),
        (LIMIT, CheckResult::Closed),
        (LIMIT + 100_000, CheckResult::Closed),
    ] {
        let mut lent = Lent::new();
        assert_eq!(lent.check_behind(length), expected, "{length}");
        // Not exactly: the last read may go beyond the limit.
        let beyond = length.saturating_sub(LIMIT);
        assert!((beyond.saturating_sub(5000)..=beyond).contains(&lent.near.unread()), "{length}");
    }
}

#[test]
fn each_check_has_its_own_limit() {
    let mut lent = Lent::new();
    for _ in 0..3 {
        assert_eq!(lent.check_behind(LIMIT - 1), CheckResult::Quiet);
    }
    lent.far.send(&lent.sealer.seal(ContentType::ApplicationData, b"x"));
    assert_eq!(lent.check_behind(100), CheckResult::Data);
}

#[test]
fn a_peer_that_sends_tickets_instead_of_an_id_is_cut_off() {
    let (near, far) = End::pair();
    let mut handshake = client_side(true, IdExchange::default()).begin().unwrap();
    let mut peer = Peer::tls_server(far.clone(), &server_tls());
    while handshake.advance(&mut near.now()).is_pending() && peer.is_handshaking() {
        peer.pump().unwrap();
    }
    let mut sealer = Sealer::new(peer);
    far.send(&sealer.tickets(LIMIT));
    let failure = complete(&mut handshake, &near, &mut Peer::plain(far)).unwrap_err();
    assert!(matches!(failure, Failure::IdTransport(_)), "{failure}");
    assert_eq!(failure.kind(), HandshakeFailure::Transport);
}
