//! Handshakes in memory, between configurations of `pool_proto::tls` and what they may meet.
#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::error::Error as _;
use std::sync::Arc;

use pool_proto::tls::{
    ClientTls, Fingerprint, Identity, PemFault, PinMismatch, ServerTls, TlsError, TlsMode,
    roots_from_pem,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection, Error,
    HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
};

// ---------------------------------------------------------------- helpers

/// Both ends after everything they had to say was delivered.
struct Outcome {
    client: ClientConnection,
    server: ServerConnection,
    client_result: Result<(), Error>,
    server_result: Result<(), Error>,
    /// Every byte the client sent.
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

/// Moves what `from` has to say to `to`, and says whether there was anything.
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

/// A certificate authority of the test's own.
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

/// Presents a pair as it is, matching or not.
#[derive(Debug)]
struct Present(Arc<CertifiedKey>);

impl ResolvesServerCert for Present {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A server which presents a certificate whose key it does not hold.
fn impostor(certificate: CertificateDer<'static>) -> ServerTls {
    let other_key: PrivateKeyDer<'static> = KeyPair::generate().unwrap().into();
    let key = any_supported_type(&other_key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Present(Arc::new(CertifiedKey::new(vec![certificate], key)))));
    ServerTls::custom(Arc::new(config))
}

/// A server of TLS 1.2 and nothing newer.
fn tls12_server() -> ServerTls {
    let (certificate, key) = pair();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    ServerTls::custom(Arc::new(config))
}

/// A client of TLS 1.2 and nothing newer.
fn tls12_client() -> ClientTls {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS12])
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

// ---------------------------------------------------------------- modes

#[test]
fn modes_are_read_from_numbers_and_names_and_written_as_names() {
    for (number, name, mode) in [
        (0, "none", TlsMode::None),
        (1, "self-signed", TlsMode::SelfSigned),
        (2, "verified", TlsMode::Verified),
    ] {
        assert_eq!(TlsMode::try_from(number), Ok(mode));
        assert_eq!(number.to_string().parse(), Ok(mode));
        assert_eq!(name.parse(), Ok(mode));
        assert_eq!(mode.to_string(), name);
    }
}

#[test]
fn an_unknown_mode_is_an_error_which_names_it_and_the_known_ones() {
    let known = ["0 or \"none\"", "1 or \"self-signed\"", "2 or \"verified\""];
    for error in ["7".parse::<TlsMode>().unwrap_err(), TlsMode::try_from(7).unwrap_err()] {
        assert_eq!(error, TlsError::UnknownMode { value: "7".to_owned() });
        assert_says(&error, &["\"7\""]);
        assert_says(&error, &known);
    }
    for value in ["", " 1", "00", "+1", "3", "None", "VERIFIED", "tls"] {
        assert_says(&value.parse::<TlsMode>().unwrap_err(), &[&format!("{value:?}")]);
    }
    for number in 3..=u8::MAX {
        assert!(TlsMode::try_from(number).is_err());
    }
}

// ---------------------------------------------------------------- mode 1

#[test]
fn mode_1_accepts_a_self_signed_certificate() {
    let client = ClientTls::self_signed().unwrap();
    let outcome = shake(&client, &ServerTls::self_signed().unwrap());
    outcome.expect_established();
    assert_eq!(client.mode(), TlsMode::SelfSigned);
    assert_eq!(outcome.client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[test]
fn mode_1_accepts_a_certificate_for_another_name_and_another_time() {
    let identity = Authority::new().issue_with("elsewhere.example", |params| {
        params.not_before = date_time_ymd(1990, 1, 1);
        params.not_after = date_time_ymd(1991, 1, 1);
    });
    let server = ServerTls::new(identity).unwrap();
    shake(&ClientTls::self_signed().unwrap(), &server).expect_established();
}

#[test]
fn mode_1_refuses_a_server_without_the_key_of_its_certificate() {
    let (certificate, _) = pair();
    let outcome = shake(&ClientTls::self_signed().unwrap(), &impostor(certificate));
    let expected = Error::InvalidCertificate(CertificateError::BadSignature);
    assert_eq!(*outcome.client_error(), expected);
    assert!(!outcome.established());
}

#[test]
fn a_pin_does_not_stand_in_for_the_key() {
    let (certificate, _) = pair();
    let pin = Fingerprint::of(&certificate);
    let client = ClientTls::self_signed().unwrap().pinned(pin).unwrap();
    let outcome = shake(&client, &impostor(certificate));
    let expected = Error::InvalidCertificate(CertificateError::BadSignature);
    assert_eq!(*outcome.client_error(), expected);
}

#[test]
fn mode_1_sends_no_server_name() {
    let server = ServerTls::self_signed().unwrap();
    let unnamed = shake(&ClientTls::self_signed().unwrap(), &server);
    assert!(!contains(&unnamed.from_client, b"localhost"));
    let named = ClientTls::verified("localhost", Authority::new().roots()).unwrap();
    assert!(contains(&shake(&named, &server).from_client, b"localhost"));
}

#[test]
fn a_pinned_certificate_is_accepted() {
    let server = ServerTls::self_signed().unwrap();
    let pin = server.fingerprint().unwrap();
    shake(&ClientTls::self_signed().unwrap().pinned(pin).unwrap(), &server).expect_established();
}

#[test]
fn any_of_several_pinned_certificates_is_accepted() {
    let (old, new) = (ServerTls::self_signed().unwrap(), ServerTls::self_signed().unwrap());
    let pins = [&old, &new].map(|server| server.fingerprint().unwrap());
    let client = ClientTls::self_signed().unwrap().pinned_any(pins).unwrap();
    shake(&client, &old).expect_established();
    shake(&client, &new).expect_established();
}

#[test]
fn another_certificate_than_the_pinned_is_refused_with_both_fingerprints() {
    let server = ServerTls::self_signed().unwrap();
    let pin = Fingerprint::from([0xAB; 32]);
    let client = ClientTls::self_signed().unwrap().pinned(pin).unwrap();
    let outcome = shake(&client, &server);
    let found = server.fingerprint().unwrap();
    let text = [format!("expected SHA-256 fingerprint {pin}"), format!("found {found}")];
    assert_says(outcome.client_error(), &[&text[0], &text[1]]);
    assert!(outcome.server_result.is_err());

    let Error::InvalidCertificate(CertificateError::Other(other)) = outcome.client_error() else {
        panic!("{:?}", outcome.client_error());
    };
    let mismatch = other.source().unwrap().downcast_ref::<PinMismatch>().unwrap();
    assert_eq!((mismatch.expected(), mismatch.found()), (&[pin][..], found));
}

#[test]
fn pins_set_later_replace_pins_set_before() {
    let server = ServerTls::self_signed().unwrap();
    let client = ClientTls::self_signed().unwrap().pinned(server.fingerprint().unwrap()).unwrap();
    let repinned = client.clone().pinned(Fingerprint::from([0; 32])).unwrap();
    assert!(!shake(&repinned, &server).established());
    shake(&client, &server).expect_established();
}

#[test]
fn only_the_servers_own_certificate_counts_for_a_pin() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &authority.0).unwrap().der().clone();
    let issuer = authority.0.der().clone();
    let identity = Identity::from_der([leaf, issuer.clone()], key.into()).unwrap();
    let client = ClientTls::self_signed().unwrap().pinned(Fingerprint::of(&issuer)).unwrap();
    assert!(!shake(&client, &ServerTls::new(identity).unwrap()).established());
}

#[test]
fn no_pins_at_all_are_an_error() {
    let error = ClientTls::self_signed().unwrap().pinned_any([]).unwrap_err();
    assert_eq!(error, TlsError::EmptyPins);
    assert_says(&error, &["no fingerprints", "give at least one"]);
}

#[test]
fn pins_never_replace_the_verification_of_mode_2() {
    let client = ClientTls::verified("localhost", Authority::new().roots()).unwrap();
    let error = client.pinned(Fingerprint::from([0; 32])).unwrap_err();
    assert_eq!(error, TlsError::PinsNeedSelfSigned { mode: TlsMode::Verified });
    assert_says(&error, &["\"verified\"", "ClientTls::self_signed()"]);
}

// ---------------------------------------------------------------- mode 2

#[test]
fn mode_2_accepts_the_right_root_and_host() {
    let authority = Authority::new();
    let server = ServerTls::new(authority.issue("server.example")).unwrap();
    let client = ClientTls::verified("server.example", authority.roots()).unwrap();
    shake(&client, &server).expect_established();
    assert_eq!(client.mode(), TlsMode::Verified);
    assert_eq!(client.server_name(), &ServerName::try_from("server.example").unwrap());
}

#[test]
fn mode_2_accepts_an_ip_address_as_host() {
    for host in ["192.0.2.7", "2001:db8::7"] {
        let authority = Authority::new();
        let server = ServerTls::new(authority.issue(host)).unwrap();
        let client = ClientTls::verified(host, authority.roots()).unwrap();
        shake(&client, &server).expect_established();
        let other = ClientTls::verified("192.0.2.8", authority.roots()).unwrap();
        assert!(!shake(&other, &server).established());
    }
}

#[test]
fn mode_2_accepts_a_self_signed_identity_trusted_by_its_pem() {
    let identity = Identity::self_signed(["*.example.com", "192.0.2.7", "full.example."]).unwrap();
    let server = ServerTls::new(identity.clone()).unwrap();
    for host in ["tunnel.example.com", "192.0.2.7", "full.example"] {
        let pem = identity.certificate_pem();
        let client = ClientTls::verified_pem(host, pem.as_bytes()).unwrap();
        shake(&client, &server).expect_established();
    }
}

#[test]
fn mode_2_refuses_the_wrong_host() {
    let authority = Authority::new();
    let server = ServerTls::new(authority.issue("server.example")).unwrap();
    let client = ClientTls::verified("other.example", authority.roots()).unwrap();
    let outcome = shake(&client, &server);
    assert!(matches!(
        outcome.client_error(),
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })
    ));
    assert_says(outcome.client_error(), &["other.example", "server.example"]);
    assert!(outcome.server_result.is_err());
}

#[test]
fn mode_2_refuses_an_unknown_root() {
    let server = ServerTls::new(Authority::new().issue("server.example")).unwrap();
    // An authority of the same subject but another key: the signature is what has to tell.
    let client = ClientTls::verified("server.example", Authority::new().roots()).unwrap();
    let outcome = shake(&client, &server);
    assert!(matches!(
        outcome.client_error(),
        Error::InvalidCertificate(CertificateError::BadSignature | CertificateError::UnknownIssuer)
    ));
}

#[test]
fn mode_2_refuses_an_issuer_nobody_named() {
    let server = ServerTls::new(Authority::new().issue("server.example")).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "somebody else");
    let key = KeyPair::generate().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
    let outcome = shake(&ClientTls::verified("server.example", roots).unwrap(), &server);
    assert_eq!(*outcome.client_error(), Error::InvalidCertificate(CertificateError::UnknownIssuer));
}

#[test]
fn mode_2_refuses_an_expired_certificate() {
    let authority = Authority::new();
    let identity = authority.issue_with("server.example", |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let client = ClientTls::verified("server.example", authority.roots()).unwrap();
    let outcome = shake(&client, &ServerTls::new(identity).unwrap());
    assert!(matches!(
        outcome.client_error(),
        Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
    ));
}

#[test]
fn mode_2_refuses_a_certificate_which_is_not_valid_yet() {
    let authority = Authority::new();
    let identity = authority.issue_with("server.example", |params| {
        params.not_before = date_time_ymd(3000, 1, 1);
    });
    let client = ClientTls::verified("server.example", authority.roots()).unwrap();
    let outcome = shake(&client, &ServerTls::new(identity).unwrap());
    assert!(matches!(
        outcome.client_error(),
        Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })
    ));
}

#[test]
fn mode_2_refuses_a_certificate_meant_for_clients_only() {
    let authority = Authority::new();
    let identity = authority.issue_with("server.example", |params| {
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
    });
    let client = ClientTls::verified("server.example", authority.roots()).unwrap();
    let outcome = shake(&client, &ServerTls::new(identity).unwrap());
    assert!(matches!(
        outcome.client_error(),
        Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. })
    ));
}

#[test]
fn mode_2_refuses_a_server_without_the_key_of_its_certificate() {
    let authority = Authority::new();
    let certificate = authority.issue("server.example").chain()[0].clone();
    let client = ClientTls::verified("server.example", authority.roots()).unwrap();
    let outcome = shake(&client, &impostor(certificate));
    let expected = Error::InvalidCertificate(CertificateError::BadSignature);
    assert_eq!(*outcome.client_error(), expected);
}

#[test]
fn an_empty_host_is_an_error() {
    let error = ClientTls::verified("", Authority::new().roots()).unwrap_err();
    assert_eq!(error, TlsError::EmptyHost);
    assert_says(&error, &["host name is empty", "give the DNS name or the IP address"]);
    assert_eq!(ClientTls::verified_pem("", b"garbage").unwrap_err(), TlsError::EmptyHost);
}

#[test]
fn a_host_which_is_neither_name_nor_address_is_an_error_which_quotes_it() {
    for host in [
        " ",
        "a b",
        "example.com:443",
        "[::1]",
        "https://example.com",
        "*.example.com",
        "1.2.3.4.5",
        "f\u{fc}r.example",
    ] {
        let error = ClientTls::verified(host, Authority::new().roots()).unwrap_err();
        assert_eq!(error, TlsError::InvalidHost { host: host.to_owned() });
        assert_says(&error, &[&format!("{host:?}"), "without scheme, port, brackets"]);
    }
}

#[test]
fn an_empty_root_store_is_an_error() {
    let error = ClientTls::verified("localhost", RootCertStore::empty()).unwrap_err();
    assert_says(&error, &["server's certificate", "root store is empty", "add the certificate"]);

    let server = ServerTls::self_signed().unwrap();
    let error = server.require_client_certificates(RootCertStore::empty()).unwrap_err();
    assert_says(&error, &["client certificates", "root store is empty", "add the certificate"]);
}

#[test]
fn roots_which_are_not_pem_are_an_error() {
    let key_pem = KeyPair::generate().unwrap().serialize_pem();
    for garbage in [&b""[..], b"garbage", &[0xFF, 0, 0x30, 0x82], key_pem.as_bytes()] {
        let error = ClientTls::verified_pem("localhost", garbage).unwrap_err();
        let length = garbage.len();
        let expected = "root certificates";
        assert_eq!(error, TlsError::Pem { expected, length, fault: PemFault::Missing });
        assert_says(&error, &[expected, &format!("{length} bytes"), "there is no such section"]);
    }
}

#[test]
fn damaged_pem_is_an_error_which_says_how() {
    let pem = Identity::self_signed(["localhost"]).unwrap().certificate_pem();
    for (damaged, fault) in [
        (pem.replace("-----END", "----END"), PemFault::Unterminated),
        (pem.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE---"), PemFault::BadStart),
        (pem.replace("\nMII", "\nM!I"), PemFault::Base64),
        (pem.replace('\n', "\\n"), PemFault::BadStart),
        (pem.replace('\n', " "), PemFault::Unterminated),
    ] {
        let error = roots_from_pem(damaged.as_bytes()).unwrap_err();
        assert!(matches!(error, TlsError::Pem { fault: found, .. } if found == fault), "{error}");
        assert_says(&error, &["check that the text"]);
    }
}

#[test]
fn one_bad_root_among_good_ones_is_an_error_which_counts_to_it() {
    let good = Identity::self_signed(["localhost"]).unwrap().certificate_pem();
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = roots_from_pem(format!("{good}{bad}{good}").as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::BadRoot { number: 2, .. }));
    assert_says(&error, &["number 2", "replace or remove"]);
    assert_eq!(roots_from_pem(format!("{good}{good}").as_bytes()).unwrap().len(), 2);
}

// ---------------------------------------------------------------- versions, resumption

#[test]
fn a_client_refuses_a_server_of_tls_1_2() {
    let verified = ClientTls::verified("localhost", Authority::new().roots()).unwrap();
    for client in [ClientTls::self_signed().unwrap(), verified] {
        let outcome = shake(&client, &tls12_server());
        assert!(matches!(outcome.server_error(), Error::PeerIncompatible(_)));
        assert_eq!(
            *outcome.client_error(),
            Error::AlertReceived(AlertDescription::ProtocolVersion)
        );
    }
}

#[test]
fn a_server_refuses_a_client_of_tls_1_2() {
    let server = ServerTls::self_signed().unwrap();
    let demanding = server.clone().require_client_certificates(Authority::new().roots()).unwrap();
    for server in [server, demanding] {
        let outcome = shake(&tls12_client(), &server);
        assert!(matches!(outcome.server_error(), Error::PeerIncompatible(_)));
        assert_eq!(
            *outcome.client_error(),
            Error::AlertReceived(AlertDescription::ProtocolVersion)
        );
    }
}

#[test]
fn a_server_sends_no_session_tickets() {
    // This client would take tickets, so their absence is the server's doing.
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let roots = roots_from_pem(identity.certificate_pem().as_bytes()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let client = ClientTls::custom(Arc::new(config), ServerName::try_from("localhost").unwrap())
        .client_certificate(identity.clone());
    let server = ServerTls::new(identity).unwrap();
    let demanding = server.clone().require_client_certificates(roots).unwrap();
    for server in [server, demanding] {
        let outcome = shake(&client, &server);
        outcome.expect_established();
        assert_eq!(outcome.client.tls13_tickets_received(), 0);
        assert!(!outcome.server.wants_write());
        assert!(!server.config().session_storage.can_cache());
        // Without a store rustls holds tickets back by itself, so the wire cannot tell this one.
        assert_eq!(server.config().send_tls13_tickets, 0);
    }
}

#[test]
fn a_client_does_not_resume_even_where_the_server_offers_it() {
    let (certificate, key) = pair();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let server = ServerTls::custom(Arc::new(config));
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let verified = ClientTls::verified("localhost", roots).unwrap();
    for client in [ClientTls::self_signed().unwrap(), verified] {
        for _ in 0..2 {
            let outcome = shake(&client, &server);
            outcome.expect_established();
            assert_eq!(outcome.client.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

// ---------------------------------------------------------------- mutual TLS

#[test]
fn a_server_which_requires_client_certificates_accepts_a_known_one() {
    let authority = Authority::new();
    let server = ServerTls::new(authority.issue("server.example"))
        .unwrap()
        .require_client_certificates(authority.roots())
        .unwrap();
    let identity = authority.issue("client.example");
    for client in [
        ClientTls::self_signed().unwrap(),
        ClientTls::verified("server.example", authority.roots()).unwrap(),
        ClientTls::self_signed().unwrap().pinned(server.fingerprint().unwrap()).unwrap(),
    ] {
        let outcome = shake(&client.client_certificate(identity.clone()), &server);
        outcome.expect_established();
        assert_eq!(outcome.server.peer_certificates(), Some(identity.chain()));
    }
}

#[test]
fn a_server_which_requires_client_certificates_refuses_a_client_without() {
    let server = ServerTls::self_signed()
        .unwrap()
        .require_client_certificates(Authority::new().roots())
        .unwrap();
    let outcome = shake(&ClientTls::self_signed().unwrap(), &server);
    assert_eq!(*outcome.server_error(), Error::NoCertificatesPresented);
    assert_eq!(
        *outcome.client_error(),
        Error::AlertReceived(AlertDescription::CertificateRequired)
    );
    // The client was done before it was refused: the first read is where it learns.
    assert!(!outcome.client.is_handshaking());
}

#[test]
fn a_server_which_requires_client_certificates_refuses_an_unknown_one() {
    let server = ServerTls::self_signed()
        .unwrap()
        .require_client_certificates(Authority::new().roots())
        .unwrap();
    let stranger = Identity::self_signed(["client.example"]).unwrap();
    let client = ClientTls::self_signed().unwrap().client_certificate(stranger);
    let outcome = shake(&client, &server);
    assert!(matches!(outcome.server_error(), Error::InvalidCertificate(_)));
    assert!(matches!(outcome.client_error(), Error::AlertReceived(_)));
}

#[test]
fn pins_set_after_the_client_certificate_keep_it() {
    let identity = Identity::self_signed(["client.example"]).unwrap();
    let server = ServerTls::self_signed()
        .unwrap()
        .require_client_certificates(roots_from_pem(identity.certificate_pem().as_bytes()).unwrap())
        .unwrap();
    let client = ClientTls::self_signed()
        .unwrap()
        .client_certificate(identity)
        .pinned(server.fingerprint().unwrap())
        .unwrap();
    shake(&client, &server).expect_established();
}

#[test]
fn requiring_client_certificates_keeps_the_servers_own() {
    let server = ServerTls::self_signed().unwrap();
    let fingerprint = server.fingerprint();
    let server = server.require_client_certificates(Authority::new().roots()).unwrap();
    assert_eq!(server.fingerprint(), fingerprint);
}

#[test]
fn client_certificates_cannot_be_required_of_a_custom_server_configuration() {
    let roots = Authority::new().roots();
    let error = tls12_server().require_client_certificates(roots).unwrap_err();
    assert_eq!(error, TlsError::CustomServerConfig);
    assert_says(&error, &["custom server configuration", "rustls::ServerConfig"]);
}

#[test]
fn custom_configurations_are_taken_as_they_are() {
    let client = tls12_client();
    assert_eq!(client.mode(), TlsMode::Verified);
    let config = Arc::clone(client.config());
    let named = client.client_certificate(Identity::self_signed(["localhost"]).unwrap());
    // The author's own value is not changed under him.
    assert!(!Arc::ptr_eq(&config, named.config()));
    assert!(!config.client_auth_cert_resolver.has_certs());
    assert!(named.config().client_auth_cert_resolver.has_certs());
    assert_eq!(tls12_server().fingerprint(), None);
}

// ---------------------------------------------------------------- identities

#[test]
fn an_identity_is_read_from_pem() {
    let (certificate, key) = pair_for("localhost");
    let pem = certificate.pem();
    let identity = Identity::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    assert_eq!(identity.fingerprint(), Fingerprint::of(certificate.der()));
    assert_eq!(identity.chain(), [certificate.der().clone()]);

    let both = format!("{}{pem}", key.serialize_pem());
    let from_one = Identity::from_pem(both.as_bytes(), both.as_bytes()).unwrap();
    assert_eq!(from_one.chain(), identity.chain());
}

#[test]
fn certificate_pem_is_what_others_write_whatever_the_length() {
    // The name's length moves the certificate's end through a group and a line of Base64.
    for length in 1..=60 {
        let (certificate, key) = pair_for(&"a".repeat(length));
        let identity = Identity::from_der([certificate.der().clone()], key.into()).unwrap();
        assert_eq!(identity.certificate_pem(), certificate.pem().replace("\r\n", "\n"));
    }
}

#[test]
fn certificate_pem_holds_the_whole_chain() {
    let authority = Authority::new();
    let (_, key) = pair();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &authority.0).unwrap().der().clone();
    let chain = [leaf, authority.0.der().clone()];
    let identity =
        Identity::from_der(chain.clone(), key.serialize_der().try_into().unwrap()).unwrap();
    let read =
        Identity::from_pem(identity.certificate_pem().as_bytes(), key.serialize_pem().as_bytes());
    assert_eq!(read.unwrap().chain(), chain);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (certificate, _) = pair();
    let (_, other_key) = pair();
    let error = Identity::from_der([certificate.clone()], other_key.into()).unwrap_err();
    let fingerprint = Fingerprint::of(&certificate);
    assert_eq!(error, TlsError::KeyMismatch { certificate: fingerprint });
    assert_says(&error, &["does not belong", &fingerprint.to_string(), "leaf certificate first"]);
}

#[test]
fn an_identity_without_certificates_is_refused() {
    let (_, key) = pair();
    assert_eq!(Identity::from_der([], key.into()).unwrap_err(), TlsError::EmptyChain);
}

#[test]
fn a_certificate_which_is_none_is_refused() {
    let (_, key) = pair();
    let error = Identity::from_der([CertificateDer::from(vec![0; 8])], key.into()).unwrap_err();
    assert!(matches!(error, TlsError::BadIdentity { .. }));
    assert_says(&error, &["cannot be used", "X.509 v3"]);
}

#[test]
fn an_encrypted_or_missing_key_is_refused_with_a_hint() {
    let (certificate, key) = pair_for("localhost");
    let pem = certificate.pem();
    let encrypted = key.serialize_pem().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for key_pem in ["", &encrypted, &pem] {
        let error = Identity::from_pem(pem.as_bytes(), key_pem.as_bytes()).unwrap_err();
        assert!(matches!(error, TlsError::Pem { fault: PemFault::Missing, .. }));
        assert_says(&error, &["a private key", "not encrypted"]);
    }
}

#[test]
fn a_key_whose_line_breaks_were_lost_does_not_land_in_the_error() {
    let (certificate, key) = pair_for("localhost");
    let key_pem = key.serialize_pem();
    let body = key_pem.lines().nth(1).unwrap();
    let listed = format!("{:?}", body.as_bytes());
    let listed = &listed[1..listed.len() - 1];
    for lost in ["", " ", "\\n"] {
        let flat = key_pem.replace('\n', lost);
        let error = Identity::from_pem(certificate.pem().as_bytes(), flat.as_bytes()).unwrap_err();
        assert_says(&error, &["line breaks"]);
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(body) && !text.contains(listed), "{text}");
        }
    }
}

#[test]
fn a_self_signed_identity_needs_good_names() {
    let none: [&str; 0] = [];
    assert_eq!(Identity::self_signed(none).unwrap_err(), TlsError::NoNames);
    assert_eq!(Identity::self_signed([""]).unwrap_err(), TlsError::EmptyHost);
    for host in ["a b", "*", "*.", "*.*.example", "*.192.0.2.1", "example.com:443"] {
        let error = Identity::self_signed(["localhost", host]).unwrap_err();
        assert_eq!(error, TlsError::InvalidHost { host: host.to_owned() });
    }
}

#[test]
fn every_self_signed_identity_is_another() {
    let (a, b) = (ServerTls::self_signed().unwrap(), ServerTls::self_signed().unwrap());
    assert_ne!(a.fingerprint(), b.fingerprint());
}

#[test]
fn debug_output_shows_no_key() {
    let (certificate, key) = pair();
    let secret = key.serialize_der();
    let identity = Identity::from_der([certificate], key.into()).unwrap();
    let client = ClientTls::self_signed().unwrap().client_certificate(identity.clone());
    let server = ServerTls::new(identity.clone()).unwrap();
    // The private scalar starts at byte 36 of this PKCS#8 structure; 4 bytes would betray it.
    for part in secret[36..68].chunks(4) {
        let decimal = format!("{part:?}");
        let decimal = &decimal[1..decimal.len() - 1];
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [
            format!("{identity:?} {client:?} {server:?}"),
            format!("{identity:#?} {client:#?} {server:#?}").replace(['\n', ' '], ""),
        ] {
            assert!(!text.contains(decimal) && !text.contains(&hex), "{text}");
            assert!(!text.contains(&decimal.replace(' ', "")), "{text}");
        }
    }
    let fingerprint = identity.fingerprint().to_string();
    for text in [format!("{identity:?}"), format!("{client:?}"), format!("{server:?}")] {
        assert!(text.contains(&fingerprint), "{text}");
    }
}

// ---------------------------------------------------------------- fingerprints

#[test]
fn a_fingerprint_is_the_sha_256_of_the_der() {
    // FIPS 180-4 example: SHA-256("abc").
    let fingerprint = Fingerprint::of(&CertificateDer::from(&b"abc"[..]));
    let text = "ba:78:16:bf:8f:01:cf:ea:41:41:40:de:5d:ae:22:23:\
                b0:03:61:a3:96:17:7a:9c:b4:10:ff:61:f2:00:15:ad";
    assert_eq!(fingerprint.to_string(), text);
    assert_eq!(fingerprint.as_bytes()[..2], [0xba, 0x78]);
}

#[test]
fn fingerprints_are_read_with_and_without_colons_in_either_case() {
    let fingerprint = Fingerprint::of(&CertificateDer::from(&b"abc"[..]));
    let text = fingerprint.to_string();
    for text in [text.clone(), text.to_uppercase(), text.replace(':', "")] {
        assert_eq!(text.parse(), Ok(fingerprint));
    }
    assert_eq!(text.replace(':', "").to_uppercase().parse(), Ok(fingerprint));
}

#[test]
fn a_fingerprint_of_the_wrong_length_is_an_error_which_counts() {
    for digits in [0, 1, 40, 63, 65, 128] {
        let error = "a".repeat(digits).parse::<Fingerprint>().unwrap_err();
        assert_eq!(error, TlsError::FingerprintLength { digits });
        assert_says(&error, &["64 hex digits", &format!("has {digits}")]);
    }
    for (text, digits) in
        [("aa:bb:cc".to_owned(), 6), (Fingerprint::from([0; 32]).to_string() + "a", 65)]
    {
        let error = text.parse::<Fingerprint>().unwrap_err();
        assert_eq!(error, TlsError::FingerprintLength { digits });
    }
}

#[test]
fn a_fingerprint_with_a_stray_character_is_an_error_which_points_at_it() {
    let text = Fingerprint::from([0xAB; 32]).to_string();
    for (bad, found, position) in [
        (format!("{text}:"), ':', 95),
        (text.replacen("ab:", "ab", 1), 'a', 2),
        (format!(":{text}"), ':', 0),
        (text.replacen("ab", "a", 1), ':', 1),
        (text.replace(':', "-"), '-', 2),
        (format!("{} ", "ab".repeat(32)), ' ', 64),
        ("g".to_owned(), 'g', 0),
        ("\u{661}".to_owned(), '\u{661}', 0),
    ] {
        let error = bad.parse::<Fingerprint>().unwrap_err();
        let expected = TlsError::FingerprintCharacter { found, position };
        assert_eq!(error, expected, "{bad}");
        assert_says(&error, &[&format!("{found:?}"), &format!("character {position}")]);
    }
}
