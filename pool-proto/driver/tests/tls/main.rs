//! Handshakes in memory between configurations of `pool_driver::tls` and all kinds of peers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::error::Error as _;
use std::sync::Arc;

use pool_driver::tls::{
    ClientTls, Fingerprint, Identity, KeyFingerprint, PemFault, Pin, PinMismatch, ServerTls,
    TlsError, TlsFacts, TlsMode, roots_from_file, roots_from_pem,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection, Error,
    HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
};

mod alpn;
mod clients;
mod custom;
mod files;
mod identities;
mod loading;
mod mode_1;
mod mode_2;
mod peers;
mod pins;
mod providers;
#[cfg(any(feature = "native-roots", feature = "webpki-roots"))]
mod roots;
mod tls12;

/// The provider that this build takes where none is given.
fn provider() -> Arc<CryptoProvider> {
    Arc::clone(ClientTls::self_signed().unwrap().config().crypto_provider())
}

/// Both ends after the delivery of all their messages.
struct Outcome {
    client: ClientConnection,
    server: ServerConnection,
    client_result: Result<(), Error>,
    server_result: Result<(), Error>,
    /// All bytes that the client has sent.
    from_client: Vec<u8>,
}

impl Outcome {
    fn established(&self) -> bool {
        self.client_result.is_ok()
            && self.server_result.is_ok()
            && !self.client.is_handshaking()
            && !self.server.is_handshaking()
    }

    fn client_error(&self) -> &Error {
        self.client_result.as_ref().unwrap_err()
    }

    fn server_error(&self) -> &Error {
        self.server_result.as_ref().unwrap_err()
    }

    #[track_caller]
    fn expect_established(&self) {
        assert!(
            self.established(),
            "client {:?}, server {:?}",
            self.client_result,
            self.server_result
        );
    }
}

/// Delivers all pending bytes of `from` to `to`, and returns whether there were any.
fn carry(
    mut from: Connection,
    mut to: Connection,
    result: &mut Result<(), Error>,
    log: &mut Vec<u8>,
) -> (Connection, Connection, bool) {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    log.extend_from_slice(&wire);
    let moved = !wire.is_empty();
    let mut rest = wire.as_slice();
    while !rest.is_empty() && result.is_ok() {
        to.read_tls(&mut rest).unwrap();
        *result = to.process_new_packets().map(|_| ());
    }
    (from, to, moved)
}

fn shake(client: &ClientTls, server: &ServerTls) -> Outcome {
    shake_configs(client.config(), client.server_name(), server.config())
}

fn shake_configs(
    client: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    server: &Arc<ServerConfig>,
) -> Outcome {
    let mut client =
        Connection::Client(ClientConnection::new(Arc::clone(client), name.clone()).unwrap());
    let mut server = Connection::Server(ServerConnection::new(Arc::clone(server)).unwrap());
    let (mut client_result, mut server_result) = (Ok(()), Ok(()));
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    loop {
        let (forth, back);
        (client, server, forth) = carry(client, server, &mut server_result, &mut from_client);
        (server, client, back) = carry(server, client, &mut client_result, &mut from_server);
        if !forth && !back {
            break;
        }
    }
    match (client, server) {
        (Connection::Client(client), Connection::Server(server)) => {
            Outcome { client, server, client_result, server_result, from_client }
        }
        _ => unreachable!("each end keeps its role"),
    }
}

/// A certificate authority for one test.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| ())
    }

    fn issue_with(&self, name: &str, adjust: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        adjust(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity::from_der([certificate.der().clone()], key.into()).unwrap()
    }
}

/// A self-signed certificate and its key.
fn pair_for(name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.self_signed(&key).unwrap(), key)
}

/// A self-signed certificate for `localhost` and its key, in DER.
fn pair() -> (CertificateDer<'static>, KeyPair) {
    let (certificate, key) = pair_for("localhost");
    (certificate.der().clone(), key)
}

/// Presents a certificate and a key without checking that they match.
#[derive(Debug)]
struct Present(Arc<CertifiedKey>);

impl ResolvesServerCert for Present {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A server that presents a certificate without holding its key.
fn impostor(certificate: CertificateDer<'static>) -> ServerTls {
    let other_key: PrivateKeyDer<'static> = KeyPair::generate().unwrap().into();
    let key = provider().key_provider.load_private_key(other_key).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Present(Arc::new(CertifiedKey::new(vec![certificate], key)))));
    ServerTls::custom(Arc::new(config))
}

/// A server with a configuration of the user's own.
fn custom_server() -> ServerTls {
    let (certificate, key) = pair();
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    ServerTls::custom(Arc::new(config))
}

/// A client with a configuration of the user's own.
fn custom_client() -> ClientTls {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(Authority::new().roots())
        .with_no_client_auth();
    ClientTls::custom(Arc::new(config), ServerName::try_from("localhost").unwrap())
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[track_caller]
fn assert_says(error: &impl std::fmt::Display, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}
