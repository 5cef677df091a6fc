//! Configurations of the user's own: the facts known of them, and the parts that can
//! be replaced.

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;

use super::*;

fn with_certificate(identity: &Identity) -> ClientTls {
    let known = ClientTls::self_signed().unwrap().client_certificate(identity.clone());
    ClientTls::custom(Arc::clone(known.config()), known.server_name().clone())
}

#[test]
fn the_certificate_of_a_custom_client_is_known() {
    let agent = Identity::self_signed(["agent.example"]).unwrap();
    assert_eq!(with_certificate(&agent).certificate(), Some(agent.fingerprint()));
    assert_eq!(custom_client().certificate(), None);
    let other = Identity::self_signed(["agent.example"]).unwrap();
    let replaced = with_certificate(&agent).client_certificate(other.clone());
    assert_eq!(replaced.certificate(), Some(other.fingerprint()));
}

/// A resolver that presents nothing to a server without wishes.
#[test]
fn a_resolver_may_have_nothing_to_present() {
    #[derive(Debug)]
    struct Picky;
    impl ResolvesClientCert for Picky {
        fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            assert!(hints.is_empty());
            None
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let mut config = (**ClientTls::self_signed().unwrap().config()).clone();
    config.client_auth_cert_resolver = Arc::new(Picky);
    let client = ClientTls::custom(Arc::new(config), ServerName::try_from("localhost").unwrap());
    assert_eq!(client.certificate(), None);
}

#[test]
fn the_identity_of_a_server_can_be_replaced_and_the_rest_stays() {
    let authority = Authority::new();
    let (agent, new) = (authority.issue("agent.example"), authority.issue("localhost"));
    let demanding = ServerTls::self_signed().unwrap();
    let demanding = demanding.require_client_certificates(authority.roots()).unwrap();
    let demanding = demanding.alpn(["one"]).unwrap();
    let client = ClientTls::self_signed().unwrap().pinned(new.fingerprint()).unwrap();
    let with = client.clone().client_certificate(agent).alpn(["one"]).unwrap();
    for server in [demanding.clone(), ServerTls::custom(Arc::clone(demanding.config()))] {
        let before = server.clone();
        let server = server.identity(new.clone());
        assert_eq!(server.fingerprint(), Some(new.fingerprint()));
        let outcome = shake(&with, &server);
        outcome.expect_established();
        assert_eq!(outcome.server.alpn_protocol(), Some(&b"one"[..]));
        assert!(!shake(&client, &server).established());
        // The settings from which it was made are as they were.
        assert!(!shake(&with, &before).established());
    }
}

#[test]
fn only_the_author_can_vouch_for_a_custom_configuration() {
    let (client, server) = (custom_client(), custom_server());
    assert!(!client.authenticates_server() && !server.authenticates_clients());
    let (client, server) =
        (client.assume_authenticated().unwrap(), server.assume_authenticated().unwrap());
    assert!(client.authenticates_server() && server.authenticates_clients());
    // Said twice, it is as true.
    let server = server.assume_authenticated().unwrap();
    let error = server.pinned_clients([Fingerprint::from([0; 32])]).unwrap_err();
    assert_eq!(error, TlsError::CustomServerConfig);
    client.assume_authenticated().unwrap();

    let anyone = ClientTls::self_signed().unwrap().assume_authenticated().unwrap_err();
    let everybody = ServerTls::self_signed().unwrap().assume_authenticated().unwrap_err();
    for error in [anyone, everybody] {
        assert_eq!(error, TlsError::NotCustom);
        assert_says(&error, &["custom", "pin the peer, or verify its chain"]);
    }
}

#[test]
fn the_facts_have_the_whole_chain_and_the_key_of_the_peer() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &authority.0).unwrap().der().clone();
    let chain = [leaf, authority.0.der().clone()];
    let identity = Identity::from_der(chain.clone(), key.into()).unwrap();
    let server = ServerTls::new(identity.clone()).unwrap();
    let client = ClientTls::verified("localhost", authority.roots()).unwrap();
    let outcome = shake(&client, &server);
    outcome.expect_established();

    let facts = TlsFacts::of(&Connection::Client(outcome.client));
    assert_eq!(facts.peer_chain, chain);
    assert_eq!(facts.peer_certificate, Some(identity.fingerprint()));
    assert_eq!(facts.peer_key(), Some(identity.key_fingerprint()));
    // So has an end that presents a chain from a custom configuration.
    assert_eq!(with_certificate(&identity).certificate(), Some(identity.fingerprint()));
    // The client has presented nothing.
    let facts = TlsFacts::of(&Connection::Server(outcome.server));
    assert!(facts.peer_chain.is_empty());
    assert_eq!((facts.peer_certificate, facts.peer_key()), (None, None));
}
