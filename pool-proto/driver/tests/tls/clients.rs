//! Servers that pin the certificates of their clients.

use rustls::client::ResolvesClientCert;
use rustls::{CertificateError, SignatureScheme};

use super::*;

fn pinning(pins: impl IntoIterator<Item = Fingerprint>) -> ServerTls {
    ServerTls::self_signed().unwrap().pinned_clients(pins).unwrap()
}

fn client_of(identity: &Identity) -> ClientTls {
    ClientTls::self_signed().unwrap().client_certificate(identity.clone())
}

fn agent() -> Identity {
    Identity::self_signed(["agent.example"]).unwrap()
}

#[track_caller]
fn mismatch(error: &Error) -> PinMismatch {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        panic!("{error:?}");
    };
    other.source().unwrap().downcast_ref::<PinMismatch>().unwrap().clone()
}

#[test]
fn a_pinned_client_is_accepted_in_every_mode() {
    let agent = agent();
    let authority = Authority::new();
    let server = ServerTls::new(authority.issue("server.example"))
        .unwrap()
        .pinned_clients([agent.fingerprint()])
        .unwrap();
    let pin = server.fingerprint().unwrap();
    for client in [
        client_of(&agent),
        client_of(&agent).pinned(pin).unwrap(),
        ClientTls::self_signed().unwrap().pinned(pin).unwrap().client_certificate(agent.clone()),
        ClientTls::verified("server.example", authority.roots())
            .unwrap()
            .client_certificate(agent.clone()),
    ] {
        assert_eq!(client.certificate(), Some(agent.fingerprint()));
        let outcome = shake(&client, &server);
        outcome.expect_established();
        assert_eq!(outcome.server.peer_certificates(), Some(agent.chain()));
    }
}

#[test]
fn each_of_several_pinned_clients_is_accepted() {
    let agents = [agent(), agent(), agent()];
    let server = pinning(agents.iter().map(Identity::fingerprint));
    for agent in &agents {
        shake(&client_of(agent), &server).expect_established();
    }
}

#[test]
fn a_client_that_is_not_pinned_is_refused_with_both_fingerprints() {
    let (known, stranger) = (agent(), agent());
    let outcome = shake(&client_of(&stranger), &pinning([known.fingerprint()]));
    let error = outcome.server_error();
    let found = mismatch(error);
    assert_eq!(found.expected(), [Pin::from(known.fingerprint())]);
    assert_eq!(found.found(), stranger.fingerprint());
    let expected = format!("expected SHA-256 fingerprint {}", known.fingerprint());
    let found = format!("found {}", stranger.fingerprint());
    assert_says(error, &["the client's certificate", &expected, &found, "pin the found one"]);
    assert_eq!(*outcome.client_error(), Error::AlertReceived(AlertDescription::CertificateUnknown));
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let outcome = shake(&ClientTls::self_signed().unwrap(), &pinning([agent().fingerprint()]));
    assert_eq!(*outcome.server_error(), Error::NoCertificatesPresented);
    assert_eq!(
        *outcome.client_error(),
        Error::AlertReceived(AlertDescription::CertificateRequired)
    );
}

/// Presents a certificate whose key it does not hold.
#[derive(Debug)]
struct Stolen(Arc<CertifiedKey>);

impl ResolvesClientCert for Stolen {
    fn resolve(&self, _hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A certificate is public: anybody may have seen it, and present it.
#[test]
fn a_pinned_certificate_without_its_key_is_refused() {
    let agent = agent();
    let other_key: PrivateKeyDer<'static> = KeyPair::generate().unwrap().into();
    let key = provider().key_provider.load_private_key(other_key).unwrap();
    let client = ClientTls::self_signed().unwrap();
    let mut config = (**client.config()).clone();
    let stolen = CertifiedKey::new(agent.chain().to_vec(), key);
    config.client_auth_cert_resolver = Arc::new(Stolen(Arc::new(stolen)));
    let server = pinning([agent.fingerprint()]);
    let outcome = shake_configs(&Arc::new(config), client.server_name(), server.config());
    assert_eq!(*outcome.server_error(), Error::InvalidCertificate(CertificateError::BadSignature));
    assert!(outcome.server.is_handshaking());
}

#[test]
fn only_the_clients_own_certificate_counts_for_a_pin() {
    let authority = Authority::new();
    let (_, key) = pair();
    let params = CertificateParams::new(["agent.example".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &authority.0).unwrap().der().clone();
    let issuer = authority.0.der().clone();
    let identity = Identity::from_der([leaf, issuer.clone()], key.into()).unwrap();
    let outcome = shake(&client_of(&identity), &pinning([Fingerprint::of(&issuer)]));
    assert_eq!(mismatch(outcome.server_error()).found(), identity.fingerprint());
}

/// The fingerprint is the whole check.
#[test]
fn a_pinned_certificate_may_be_expired_or_that_of_an_authority() {
    let authority = Authority::new();
    let expired = authority.issue_with("agent.example", |params| {
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let marked = authority.issue_with("agent.example", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    for identity in [expired, marked] {
        shake(&client_of(&identity), &pinning([identity.fingerprint()])).expect_established();
    }
}

#[test]
fn the_text_of_a_mismatch_lists_few_of_many_pins() {
    let pins = (1..=100).map(|byte| Fingerprint::from([byte; 32]));
    let outcome = shake(&client_of(&agent()), &pinning(pins));
    let error = outcome.server_error();
    assert_eq!(mismatch(error).expected().len(), 100);
    assert_says(error, &[" or one of 96 more, found "]);
    assert!(error.to_string().len() < 1000, "{error}");
}

#[test]
fn the_last_choice_of_clients_counts() {
    let authority = Authority::new();
    let (pinned, issued) = (agent(), authority.issue("agent.example"));
    let by_pin = pinning([issued.fingerprint()]).pinned_clients([pinned.fingerprint()]).unwrap();
    let by_pin = by_pin.require_client_certificates(authority.roots()).unwrap();
    let by_pin = by_pin.pinned_clients([pinned.fingerprint()]).unwrap();
    shake(&client_of(&pinned), &by_pin).expect_established();
    assert!(!shake(&client_of(&issued), &by_pin).established());

    let by_root = by_pin.require_client_certificates(authority.roots()).unwrap();
    shake(&client_of(&issued), &by_root).expect_established();
    assert!(!shake(&client_of(&pinned), &by_root).established());
}

#[test]
fn pinning_clients_keeps_the_servers_own_certificate_and_stores_no_session() {
    let server = ServerTls::self_signed().unwrap();
    let fingerprint = server.fingerprint();
    let server = server.pinned_clients([agent().fingerprint()]).unwrap();
    assert_eq!(server.fingerprint(), fingerprint);
    assert_eq!(server.config().send_tls13_tickets, 0);
    assert!(!server.config().session_storage.can_cache());
}

#[test]
fn no_pins_and_a_custom_configuration_are_errors() {
    let error =
        ServerTls::self_signed().unwrap().pinned_clients(std::iter::empty::<Pin>()).unwrap_err();
    assert_eq!(error, TlsError::EmptyPins);
    let error = custom_server().pinned_clients([agent().fingerprint()]).unwrap_err();
    assert_eq!(error, TlsError::CustomServerConfig);
}
