//! Rejected certificates: both ends name the reason and the remedy.

use std::error::Error as _;
use std::sync::Arc;
use std::task::Poll;

use pool_driver::connection::{Acceptor, Connector, Failure, Handshake, SharedSocket, Socket as _};
use pool_driver::tls::{ClientTls, Fingerprint, Identity, ServerTls, roots_from_pem};
use pool_proto::{ConnId, Dialing, IdExchange, IdFormat};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;

use crate::peer::Peer;
use crate::rig::{Pool, Side as _, begin_as};
use crate::wire::End;

fn identity() -> Identity {
    Identity::self_signed(["localhost"]).unwrap()
}

fn failed(handshake: &mut Handshake, near: &End, failure: &mut Option<Failure>) {
    if failure.is_none()
        && let Poll::Ready(result) = handshake.advance(&mut near.now())
    {
        *failure = result.err();
    }
}

/// Returns the failure of the client and that of the server.
fn failures(client: ClientTls, server: ServerTls) -> (Failure, Failure) {
    let (of_client, of_server) = attempt(client, server);
    (of_client.expect("the client fails"), of_server.expect("the server fails"))
}

fn attempt(client: ClientTls, server: ServerTls) -> (Option<Failure>, Option<Failure>) {
    let (near, far) = End::pair();
    let mut client = Connector::new(Some(client), IdExchange::default()).begin().unwrap();
    let acceptor = Acceptor::new(Some(server), IdFormat::Hex8);
    let mut server = begin_as(&acceptor, ConnId::ZERO);
    let (mut of_client, mut of_server) = (None, None);
    for _ in 0..100 {
        failed(&mut client, &near, &mut of_client);
        failed(&mut server, &far, &mut of_server);
    }
    (of_client, of_server)
}

#[track_caller]
fn assert_says(failure: &Failure, parts: &[&str]) {
    let Failure::Tls(error) = failure else { panic!("{failure}") };
    assert!(error.source().is_some_and(|source| source.is::<rustls::Error>()), "{error:?}");
    let text = failure.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

fn pinning(client: Fingerprint) -> ServerTls {
    ServerTls::new(identity()).unwrap().pinned_clients([client]).unwrap()
}

#[test]
fn a_missing_client_certificate() {
    let client = ClientTls::self_signed().unwrap();
    let (client, server) = failures(client, pinning(Fingerprint::from([7; 32])));
    assert_says(&client, &["has presented none", "ClientTls::client_certificate"]);
    assert_says(&server, &["peer sent no certificates", "ClientTls::client_certificate"]);
}

#[test]
fn a_client_certificate_that_is_not_pinned() {
    let stranger = identity();
    let client = ClientTls::self_signed().unwrap().client_certificate(stranger.clone());
    let (client, server) = failures(client, pinning(Fingerprint::from([7; 32])));
    let own = stranger.fingerprint().to_string();
    assert_says(&client, &["peer rejects", &own, "ServerTls::pinned_clients"]);
    assert_says(&server, &["the client's certificate is not pinned", &own]);
}

#[test]
fn a_client_certificate_of_another_issuer() {
    // Fresh certificates all have the same subject. The other root has one of its own.
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "another");
    let other = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let (stranger, namesake) = (identity(), identity().certificate_pem());
    for (root, problem) in [(other, "UnknownIssuer"), (namesake, "BadSignature")] {
        let roots = roots_from_pem(root.as_bytes()).unwrap();
        let client = ClientTls::self_signed().unwrap().client_certificate(stranger.clone());
        let server = ServerTls::new(identity()).unwrap();
        let (client, server) = failures(client, server.require_client_certificates(roots).unwrap());
        let own = stranger.fingerprint().to_string();
        assert_says(&client, &["peer rejects", &own, "ServerTls::require_client_certificates"]);
        assert_says(&server, &[problem, "authority", "as a root, or pin"]);
    }
}

#[test]
fn a_server_certificate_that_is_not_pinned() {
    let presented = identity();
    let client = ClientTls::self_signed().unwrap().pinned(Fingerprint::from([7; 32])).unwrap();
    let (client, server) = failures(client, ServerTls::new(presented.clone()).unwrap());
    let own = presented.fingerprint().to_string();
    assert_says(&client, &["the server's certificate is not pinned", &own]);
    assert_says(&server, &["peer rejects", &own, "ClientTls::pinned"]);
}

/// As `openssl req -x509` makes it by default.
#[test]
fn a_certificate_of_an_authority_as_a_leaf() {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let marked = Identity::from_der([certificate.der().clone()], key.into()).unwrap();
    let pem = marked.certificate_pem();
    let hints = ["CaUsedAsEndEntity", "openssl req -x509", "CA:FALSE", "or pin it"];

    let verifying = ClientTls::verified_pem("localhost", pem.as_bytes()).unwrap();
    let (client, _) = failures(verifying, ServerTls::new(marked.clone()).unwrap());
    assert_says(&client, &hints);

    let roots = roots_from_pem(pem.as_bytes()).unwrap();
    let server = ServerTls::new(identity()).unwrap().require_client_certificates(roots).unwrap();
    let client = ClientTls::self_signed().unwrap().client_certificate(marked);
    let (_, server) = failures(client, server);
    assert_says(&server, &hints);
}

/// A self-signed certificate that its own peer trusts as a root, so that only `adjust` is wrong.
fn flawed(adjust: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    adjust(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity::from_der([certificate.der().clone()], key.into()).unwrap()
}

/// Returns the failures of a client and a server, of which the server presents `identity`; then those of
/// which the client does.
fn verified_at_either_end(identity: &Identity) -> [(Failure, Failure); 2] {
    let pem = identity.certificate_pem();
    let client = ClientTls::verified_pem("localhost", pem.as_bytes()).unwrap();
    let of_server = failures(client, ServerTls::new(identity.clone()).unwrap());
    let roots = roots_from_pem(pem.as_bytes()).unwrap();
    let server = ServerTls::new(self::identity()).unwrap();
    let server = server.require_client_certificates(roots).unwrap();
    let client = ClientTls::self_signed().unwrap().client_certificate(identity.clone());
    [of_server, failures(client, server)]
}

#[test]
fn a_certificate_outside_its_validity() {
    let expired = flawed(|params| params.not_after = date_time_ymd(2001, 1, 1));
    let future = flawed(|params| params.not_before = date_time_ymd(4000, 1, 1));
    for (identity, hints) in [
        (expired, ["expired", "renew", "set_tls", "clock of this host", "pin the key"]),
        (future, ["not valid yet", "clock of this host", "issued", "pin its key", "no dates"]),
    ] {
        let own = identity.fingerprint().to_string();
        let [(client, server), (other_client, other_server)] = verified_at_either_end(&identity);
        for here in [&client, &other_server] {
            assert_says(here, &hints);
        }
        for there in [&server, &other_client] {
            assert_says(there, &["CertificateExpired", "not valid yet", &own, "set_tls", "clocks"]);
        }
    }
}

#[test]
fn a_certificate_for_another_name() {
    let named = identity();
    let pem = named.certificate_pem();
    let client = ClientTls::verified_pem("tunnel.example", pem.as_bytes()).unwrap();
    let (client, server) = failures(client, ServerTls::new(named).unwrap());
    let hints = ["\"tunnel.example\"", "localhost", "ClientTls::verified", "subjectAltName"];
    assert_says(&client, &hints);
    assert_says(&server, &["BadCertificate", "a name that it contains"]);
}

/// Stands for SHA-1, with which the generator of these tests does not sign: SHA-224 is as unsupported.
#[test]
fn a_certificate_that_is_signed_in_an_unsupported_way() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    // ecdsa-with-SHA256 and ecdsa-with-SHA224 (RFC 5758, section 3.2).
    let (sha256, sha224) = ([0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2], 1);
    let mut der = certificate.der().to_vec();
    let places: Vec<_> =
        (0..der.len()).filter(|place| der[*place..].starts_with(&sha256)).collect();
    assert_eq!(places.len(), 2);
    for place in places {
        der[place + 7] = sha224;
    }
    let identity = Identity::from_der([der.into()], key.into()).unwrap();
    let [(client, server), (other_client, other_server)] = verified_at_either_end(&identity);
    for here in [&client, &other_server] {
        assert_says(here, &["UnsupportedSignatureAlgorithm", "SHA-1", "-sha256", "RSA of 2048"]);
    }
    for there in [&server, &other_client] {
        assert_says(there, &["peer rejects"]);
    }
}

#[test]
fn a_certificate_for_another_purpose() {
    let client_only =
        flawed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let server_only =
        flawed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let pem = client_only.certificate_pem();
    let client = ClientTls::verified_pem("localhost", pem.as_bytes()).unwrap();
    let (client, server) = failures(client, ServerTls::new(client_only).unwrap());
    assert_says(&client, &["extendedKeyUsage=serverAuth"]);
    assert_says(&server, &["UnsupportedCertificate", "extendedKeyUsage"]);

    let roots = roots_from_pem(server_only.certificate_pem().as_bytes()).unwrap();
    let server = ServerTls::new(identity()).unwrap().require_client_certificates(roots).unwrap();
    let client = ClientTls::self_signed().unwrap().client_certificate(server_only);
    let (client, server) = failures(client, server);
    assert_says(&server, &["extendedKeyUsage=clientAuth"]);
    assert_says(&client, &["UnsupportedCertificate", "extendedKeyUsage"]);
}

/// As a user of certbot has it who gives cert.pem in place of fullchain.pem.
#[test]
fn a_chain_without_the_authority_in_between() {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap());
    let root = root.unwrap();
    let between =
        CertifiedIssuer::signed_by(authority("between"), KeyPair::generate().unwrap(), &root);
    let between = between.unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &between).unwrap().der().clone();
    let key = || PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let verifying = ClientTls::verified_pem("localhost", root.pem().as_bytes()).unwrap();

    let without = Identity::from_der([leaf.clone()], key()).unwrap();
    let (client, server) = failures(verifying.clone(), ServerTls::new(without).unwrap());
    assert_says(&client, &["UnknownIssuer", "fullchain.pem, not cert.pem"]);
    assert_says(&server, &["UnknownCA", "trust its issuer"]);

    let whole = Identity::from_der([leaf, between.der().clone()], key()).unwrap();
    assert!(attempt(verifying, ServerTls::new(whole).unwrap()).0.is_none());
}

#[test]
fn protocols_of_which_none_is_common() {
    let client = ClientTls::self_signed().unwrap().alpn(["pool/2", "\u{1}"]).unwrap();
    let server = ServerTls::new(identity()).unwrap().alpn(["pool/1"]).unwrap();
    let (client, server) = failures(client, server);
    let common = "have none in common";
    assert_says(&client, &[common, "this end has \"pool/2\", \"\\x01\"", "ClientTls::alpn"]);
    assert_says(&server, &[common, "this end has \"pool/1\"", "ServerTls::alpn"]);
}

/// A custom configuration gets the same remedies, and names its certificate.
#[test]
fn the_settings_of_a_custom_configuration() {
    let own = identity();
    let known = ClientTls::self_signed().unwrap().client_certificate(own.clone());
    let client = ClientTls::custom(Arc::clone(known.config()), known.server_name().clone());
    let server = ServerTls::custom(Arc::clone(pinning(Fingerprint::from([7; 32])).config()));
    let (client, server) = failures(client, server);
    let own = own.fingerprint().to_string();
    assert_says(&client, &["peer rejects", &own, "ServerTls::pinned_clients"]);
    assert_says(&server, &["the client's certificate is not pinned", &own]);

    let pinned = ClientTls::self_signed().unwrap().pinned(Fingerprint::from([7; 32])).unwrap();
    let custom = ServerTls::custom(Arc::clone(ServerTls::new(identity()).unwrap().config()));
    let replaced = identity();
    let (_, server) = failures(pinned, custom.identity(replaced.clone()));
    assert_says(&server, &["peer rejects", &replaced.fingerprint().to_string()]);
}

#[test]
fn a_failure_that_no_setting_mends_is_the_text_of_rustls() {
    let (near, far) = End::pair();
    let tls = ClientTls::self_signed().unwrap();
    let mut client = Connector::new(Some(tls), IdExchange::default()).begin().unwrap();
    // A fatal handshake_failure alert (RFC 8446, section 6.2).
    far.send(&[21, 3, 3, 0, 2, 2, 40]);
    let mut failure = None;
    failed(&mut client, &near, &mut failure);
    assert_eq!(
        failure.unwrap().to_string(),
        "the TLS handshake failed: received fatal alert: HandshakeFailure"
    );
}

/// In TLS 1.3 a client's handshake is over before the server has checked its certificate. Without an id
/// to wait for, the connection is established then.
#[test]
fn a_rejection_behind_the_handshake() {
    for before_the_first_check in [true, false] {
        let mut pool = Pool::<Dialing>::with_ids(true, IdExchange::None);
        let (near, far) = End::pair();
        let mut peer = Peer::tls_server(far, &pinning(Fingerprint::from([7; 32])));
        let (attempt, handshake) = Dialing::begin(&mut pool);
        let established = pool.complete_handshake(handshake, &near, &mut peer);
        let socket = SharedSocket::new(near.clone());
        if before_the_first_check {
            assert_eq!(peer.pump(), Err(rustls::Error::NoCertificatesPresented));
            attempt.complete(Ok((socket, established)));
            let totals = pool.shared().stats().totals;
            assert_eq!((totals.established, totals.tls_failures), (0, 1));
        } else {
            attempt.complete(Ok((socket, established)));
            assert_eq!(pool.shared().last_failure(), None);
            assert_eq!(peer.pump(), Err(rustls::Error::NoCertificatesPresented));
        }
        pool.turn();
        assert_eq!(pool.shared().stats().idle, 0);
        let text = pool.shared().last_failure().unwrap();
        assert!(text.contains("this end has presented none"), "{text}");
    }
}

/// Any other failure of an idle connection has nothing to do with its handshake.
#[test]
fn an_idle_connection_that_fails_is_not_a_failed_handshake() {
    let mut pool = Pool::<Dialing>::new(true);
    let (_near, peer) = pool.connect();
    pool.turn();
    peer.end.send(&[[0x17, 3, 3, 0, 32].as_slice(), &[7; 32]].concat());
    pool.turn();
    assert_eq!(pool.shared().stats().idle, 0);
    let text = pool.shared().last_failure().unwrap();
    assert!(text.contains("ended soon after it was established"), "{text}");
}
