//! Modes by name and number; mode 1 and its pins.

use super::*;

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
fn a_pin_does_not_replace_the_proof_of_the_key() {
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
fn a_certificate_that_is_not_pinned_is_refused_with_both_fingerprints() {
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
    assert_eq!((mismatch.expected(), mismatch.found()), (&[Pin::from(pin)][..], found));
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
fn an_empty_list_of_pins_is_an_error() {
    let error =
        ClientTls::self_signed().unwrap().pinned_any(std::iter::empty::<Pin>()).unwrap_err();
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
