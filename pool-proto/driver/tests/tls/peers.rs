//! No resumption, client certificates, configurations of the user's own.

use super::*;

#[test]
fn a_server_sends_no_session_tickets() {
    // This client accepts tickets, so only the server can be the reason for their absence.
    let identity = Identity::self_signed(["localhost"]).unwrap();
    let roots = roots_from_pem(identity.certificate_pem().as_bytes()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
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
        // Without a store, rustls sends no tickets in any case, so the setting is checked directly.
        assert_eq!(server.config().send_tls13_tickets, 0);
    }
}

#[test]
fn a_client_does_not_resume_even_where_the_server_offers_it() {
    let (certificate, key) = pair();
    let config = ServerConfig::builder_with_provider(provider())
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

#[test]
fn the_debug_text_of_a_server_says_which_clients_it_accepts() {
    let server = ServerTls::self_signed().unwrap();
    let issued = server.clone().require_client_certificates(Authority::new().roots()).unwrap();
    let pinned = server.clone().pinned_clients([Fingerprint::from([0; 32])]).unwrap();
    for (server, clients) in
        [(server, "Anyone"), (issued, "Issued"), (pinned, "Pinned"), (custom_server(), "Unknown")]
    {
        let text = format!("{server:?}");
        assert!(text.contains(&format!("clients: {clients}")), "{text}");
    }
}

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
    // The client had completed its handshake before the refusal: its first read fails.
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
    let error = custom_server().require_client_certificates(roots).unwrap_err();
    assert_eq!(error, TlsError::CustomServerConfig);
    assert_says(&error, &["custom server configuration", "rustls::ServerConfig"]);
}

#[test]
fn custom_configurations_are_taken_as_they_are() {
    let client = custom_client();
    assert_eq!(client.mode(), TlsMode::Verified);
    let config = Arc::clone(client.config());
    let named = client.client_certificate(Identity::self_signed(["localhost"]).unwrap());
    // The caller's own configuration is not modified.
    assert!(!Arc::ptr_eq(&config, named.config()));
    assert!(!config.client_auth_cert_resolver.has_certs());
    assert!(named.config().client_auth_cert_resolver.has_certs());
    assert_eq!(custom_server().fingerprint(), None);
}
