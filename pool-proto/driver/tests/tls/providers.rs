//! Which provider a configuration uses.

use super::*;

/// A provider that can be told apart: it has one cipher suite, and prefers another group than the
/// default.
fn own_provider() -> Arc<CryptoProvider> {
    let mut own = (*provider()).clone();
    own.cipher_suites.truncate(1);
    own.kx_groups.reverse();
    Arc::new(own)
}

#[track_caller]
fn assert_same(left: &Arc<CryptoProvider>, right: &Arc<CryptoProvider>) {
    assert!(Arc::ptr_eq(left, right));
}

#[test]
fn every_configuration_uses_the_provider_that_it_was_given() {
    let own = own_provider();
    let (certificate, key) = pair_for("localhost");
    let identity = Identity::from_pem_with_provider(
        certificate.pem().as_bytes(),
        key.serialize_pem().as_bytes(),
        Arc::clone(&own),
    );
    let server = ServerTls::new(identity.unwrap()).unwrap();
    assert_same(server.config().crypto_provider(), &own);
    let roots = roots_from_pem(certificate.pem().as_bytes()).unwrap();
    let demanding = server.clone().require_client_certificates(roots.clone()).unwrap();
    assert_same(demanding.config().crypto_provider(), &own);
    let pinning = server.clone().pinned_clients([Fingerprint::from([0; 32])]).unwrap();
    assert_same(pinning.config().crypto_provider(), &own);

    let anyone = ClientTls::self_signed_with_provider(Arc::clone(&own)).unwrap();
    let pinned = anyone.clone().pinned(server.fingerprint().unwrap()).unwrap();
    let verified = ClientTls::verified_with_provider("localhost", roots, Arc::clone(&own)).unwrap();
    for client in [anyone, pinned, verified] {
        assert_same(client.config().crypto_provider(), &own);
        let outcome = shake(&client, &server);
        outcome.expect_established();
        let group = outcome.client.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, own.kx_groups[0].name());
    }
}

#[test]
fn a_provider_without_tls_1_3_is_an_error() {
    let mut own = (*provider()).clone();
    own.cipher_suites.clear();
    let own = Arc::new(own);
    let roots = Authority::new().roots();
    let (certificate, key) = pair();
    let identity = Identity::from_der_with_provider([certificate], key.into(), Arc::clone(&own));
    for error in [
        ClientTls::self_signed_with_provider(Arc::clone(&own)).unwrap_err(),
        ClientTls::verified_with_provider("localhost", roots, own).unwrap_err(),
        ServerTls::new(identity.unwrap()).unwrap_err(),
    ] {
        assert!(matches!(error, TlsError::Config(_)), "{error}");
        assert_says(&error, &["TLS 1.3", "provider"]);
    }
}

#[test]
fn a_key_that_the_provider_cannot_load_is_refused() {
    #[derive(Debug)]
    struct NoKeys;
    impl rustls::crypto::KeyProvider for NoKeys {
        fn load_private_key(
            &self,
            _key: PrivateKeyDer<'static>,
        ) -> Result<Arc<dyn rustls::sign::SigningKey>, Error> {
            Err(Error::General("no keys are loaded here".into()))
        }
    }
    let mut own = (*provider()).clone();
    own.key_provider = &NoKeys;
    let (certificate, key) = pair();
    let error = Identity::from_der_with_provider([certificate], key.into(), Arc::new(own));
    let error = error.unwrap_err();
    assert!(matches!(error, TlsError::BadIdentity { .. }), "{error}");
    assert_says(&error, &["no keys are loaded here"]);
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
#[test]
fn ring_is_taken_where_it_is_alone() {
    let expected = rustls::crypto::ring::default_provider();
    assert_eq!(format!("{:?}", provider()), format!("{expected:?}"));
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn aws_lc_rs_is_taken_alone_and_beside_ring() {
    let expected = rustls::crypto::aws_lc_rs::default_provider();
    assert_eq!(format!("{:?}", provider()), format!("{expected:?}"));
}
