//! Mode 2: chain, host and dates.

use super::*;

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
fn mode_2_accepts_a_fresh_certificate_of_a_server_by_each_of_its_names() {
    let named = ServerTls::self_signed_for(["tunnel.example", "192.0.2.7"]).unwrap();
    let usual = ServerTls::self_signed().unwrap();
    for (server, names) in [(named, &["tunnel.example", "192.0.2.7"][..]), (usual, &["localhost"])]
    {
        let outcome = shake(&ClientTls::self_signed().unwrap(), &server);
        let mut roots = RootCertStore::empty();
        roots.add(outcome.client.peer_certificates().unwrap()[0].clone()).unwrap();
        for name in names {
            let client = ClientTls::verified(name, roots.clone()).unwrap();
            shake(&client, &server).expect_established();
        }
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
    // An authority with the same subject and another key: only the signature differs.
    let client = ClientTls::verified("server.example", Authority::new().roots()).unwrap();
    let outcome = shake(&client, &server);
    assert!(matches!(
        outcome.client_error(),
        Error::InvalidCertificate(CertificateError::BadSignature | CertificateError::UnknownIssuer)
    ));
}

#[test]
fn mode_2_refuses_an_issuer_that_is_not_among_the_roots() {
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
    let key = KeyPair::generate().unwrap();
    let (key_pem, der) = (key.serialize_pem(), pair().0);
    let request = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let other = key_pem.replace("PRIVATE KEY", "SOMETHING");
    for (garbage, fault, says) in [
        (&b""[..], PemFault::Missing, "there is no such section"),
        (b"garbage", PemFault::Missing, "that this is the right file"),
        (&[0xFF, 0, 0x30, 0x82], PemFault::Missing, "there is no such section"),
        (other.as_bytes(), PemFault::Missing, "there is no such section"),
        (key_pem.as_bytes(), PemFault::OnlyKey, "there is only a private key"),
        (request.as_bytes(), PemFault::Request, "let an authority sign it"),
        (&der, PemFault::Der, "openssl x509 -inform der"),
    ] {
        let error = ClientTls::verified_pem("localhost", garbage).unwrap_err();
        let length = garbage.len();
        let expected = "root certificates";
        assert_eq!(error, TlsError::Pem { expected, length, line: None, fault });
        assert_says(&error, &[expected, &format!("{length} bytes"), says]);
    }
}

#[test]
fn damaged_pem_is_an_error_with_the_line_of_its_section() {
    let good = Identity::self_signed(["localhost"]).unwrap().certificate_pem();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let before = format!("# the first one\n{key}{good}");
    let expected = before.lines().count() + 1;
    for bad in [
        good.replace("-----END", "----END"),
        good.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE---"),
        good.replace("\nMII", "\nM!I"),
        good.replace("\nMII", "\nM!I").replace('\n', "\r\n"),
    ] {
        for text in [format!("{before}{bad}"), format!("{before}{bad}{good}")] {
            let error = roots_from_pem(text.as_bytes()).unwrap_err();
            let TlsError::Pem { line, .. } = error else { panic!("{error:?}") };
            assert_eq!(line, Some(expected), "{text}");
            assert_says(&error, &[&format!("the section that begins in line {expected}: ")]);
        }
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
