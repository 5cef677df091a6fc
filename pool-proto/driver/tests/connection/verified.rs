//! Certificates that are rejected where chains are verified: both ends name the reason and the remedy.

use std::sync::Arc;

use pool_driver::connection::Failure;
use pool_driver::tls::{ClientTls, Identity, ServerTls, roots_from_pem};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::remedies::{assert_says, attempt, failures, identity};

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
    let server = ServerTls::new(crate::remedies::identity()).unwrap();
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

/// An authority in between that is not marked as one, and so may not issue certificates.
#[test]
fn a_chain_by_a_certificate_that_is_not_an_authority() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "root");
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::ExplicitNoCa;
    params.distinguished_name.push(DnType::CommonName, "between");
    let between = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &between).unwrap().der().clone();
    let identity = Identity::from_der([leaf, between.der().clone()], key.into()).unwrap();
    let verifying = ClientTls::verified_pem("localhost", root.pem().as_bytes()).unwrap();
    let (client, _) = failures(verifying, ServerTls::new(identity).unwrap());
    assert_says(&client, &["EndEntityUsedAsCa", "CA:TRUE is missing", "as a root"]);
}

/// Presents a certificate without reading it, as other software does.
#[derive(Debug)]
struct Present(Arc<CertifiedKey>);

impl ResolvesServerCert for Present {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// As `openssl x509 -req` makes it without extensions.
#[test]
fn a_certificate_of_x_509_v1() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut der = certificate.der().to_vec();
    // The version (RFC 5280, section 4.1): v3 is 2, and v1 is 0.
    let version = der.windows(5).position(|window| window == [0xA0, 3, 2, 1, 2]).unwrap();
    der[version + 4] = 0;
    let pem = certificate.pem();
    let refused = Identity::from_der([der.clone().into()], key.serialize_der().try_into().unwrap());
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("expected an X.509 v3 certificate"), "{text}");

    let mut config = (**ServerTls::new(identity()).unwrap().config()).clone();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = config.crypto_provider().key_provider.load_private_key(private).unwrap();
    let presented = Arc::new(CertifiedKey::new(vec![der.into()], key));
    config.cert_resolver = Arc::new(Present(presented));
    let verifying = ClientTls::verified_pem("localhost", pem.as_bytes()).unwrap();
    let (client, _) = failures(verifying, ServerTls::custom(Arc::new(config)));
    assert_says(&client, &["UnsupportedCertVersion", "expected X.509 v3", "-copy_extensions"]);
}
