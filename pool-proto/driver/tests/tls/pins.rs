//! Pins of certificates and of public keys, at both ends.

use super::*;

/// Two certificates of one key: the second one is a renewal.
fn renewed() -> (Identity, Identity) {
    let key = KeyPair::generate().unwrap();
    let [old, new] = ["localhost", "renewed.example"].map(|name| {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity::from_der([certificate], key).unwrap()
    });
    assert_ne!(old.fingerprint(), new.fingerprint());
    (old, new)
}

fn client(pins: impl IntoIterator<Item = impl Into<Pin>>) -> ClientTls {
    ClientTls::self_signed().unwrap().pinned_any(pins).unwrap()
}

fn server(identity: &Identity) -> ServerTls {
    ServerTls::new(identity.clone()).unwrap()
}

#[test]
fn a_pin_of_the_key_survives_the_renewal_of_the_certificate() {
    let (old, new) = renewed();
    assert_eq!(old.key_fingerprint(), new.key_fingerprint());
    let (by_key, by_certificate) = (client([old.key_fingerprint()]), client([old.fingerprint()]));
    for client in [&by_key, &by_certificate] {
        shake(client, &server(&old)).expect_established();
    }
    shake(&by_key, &server(&new)).expect_established();
    assert!(!shake(&by_certificate, &server(&new)).established());
}

#[test]
fn a_server_pins_the_keys_of_its_clients() {
    let (old, new) = renewed();
    let known = server(&old).pinned_clients([old.key_fingerprint()]).unwrap();
    let client = ClientTls::self_signed().unwrap();
    for identity in [&old, &new] {
        shake(&client.clone().client_certificate(identity.clone()), &known).expect_established();
    }
    let stranger = Identity::self_signed(["localhost"]).unwrap();
    let outcome = shake(&client.client_certificate(stranger.clone()), &known);
    let (pin, found) = (old.key_fingerprint().to_string(), stranger.key_fingerprint().to_string());
    assert_says(outcome.server_error(), &["not pinned", &pin, &found]);
}

#[test]
fn certificates_and_keys_are_pinned_together() {
    let (old, new) = renewed();
    let other = Identity::self_signed(["localhost"]).unwrap();
    let pins = [Pin::from(old.key_fingerprint()), other.fingerprint().into()];
    for identity in [&old, &new, &other] {
        shake(&client(pins), &server(identity)).expect_established();
    }
}

#[test]
fn a_pin_of_a_key_does_not_replace_the_proof_of_it() {
    let (certificate, _) = pair();
    let pin = KeyFingerprint::of(&certificate).unwrap();
    let outcome = shake(&client([pin]), &impostor(certificate));
    let expected = Error::InvalidCertificate(CertificateError::BadSignature);
    assert_eq!(*outcome.client_error(), expected);
}

#[test]
fn a_mismatch_tells_the_pins_and_both_fingerprints_of_the_peer() {
    let (old, _) = renewed();
    let pins = [Pin::Key([0; 32].into()), Pin::Certificate([0; 32].into())];
    let outcome = shake(&client(pins), &server(&old));
    let Error::InvalidCertificate(CertificateError::Other(other)) = outcome.client_error() else {
        panic!("{:?}", outcome.client_error());
    };
    let mismatch = other.source().unwrap().downcast_ref::<PinMismatch>().unwrap();
    assert_eq!(mismatch.expected(), [pins[1], pins[0]]);
    assert_eq!(mismatch.found(), old.fingerprint());
    assert_eq!(mismatch.found_key(), Some(old.key_fingerprint()));
    let parts = [pins[0].to_string(), pins[1].to_string(), old.key_fingerprint().to_string()];
    assert_says(mismatch, &parts.each_ref().map(String::as_str));
}

/// The text is that of `openssl`: of the digest of no bytes, for which the value is well known.
#[test]
fn pins_are_read_and_written_in_one_form_each() {
    let empty = [
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ];
    let key = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    assert_eq!(KeyFingerprint::from(empty).to_string(), key);
    assert_eq!(key.parse(), Ok(KeyFingerprint::from(empty)));
    assert_eq!(key.parse::<KeyFingerprint>().unwrap().as_bytes(), &empty);
    assert_eq!(format!("{:?}", KeyFingerprint::from(empty)), format!("KeyFingerprint({key})"));
    for pin in [Pin::Key(empty.into()), Pin::Certificate(empty.into())] {
        assert_eq!(pin.to_string().parse(), Ok(pin));
    }
    for byte in 0..=u8::MAX {
        let key = KeyFingerprint::from([byte; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
    }
}

#[test]
fn another_text_is_refused_with_the_forms_that_are_known() {
    let right = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    for wrong in [
        "sha256//".to_owned(),
        right.replace('=', ""),
        format!("{right}="),
        // The last digit has two bits that no digest has.
        right.replace("FU=", "FV="),
        right.replace("SuFU=", "SuF=="),
        right.replace('+', "-"),
        right.replace('H', "é"),
        format!("{right} "),
    ] {
        let error = wrong.parse::<Pin>().unwrap_err();
        assert!(matches!(error, TlsError::KeyFingerprint { .. }), "{wrong}: {error:?}");
        assert_says(&error, &["sha256//", "44 characters", "--pinnedpubkey"]);
    }
    for wrong in ["", "sha256/47DEQpj8", "pin-sha256=\"47\"", "SHA256 Fingerprint=E3:B0", "e3 b0"] {
        let error = wrong.parse::<Pin>().unwrap_err();
        assert_eq!(error, TlsError::UnknownPin { found: wrong.to_owned() });
        assert_says(&error, &["openssl x509 -noout -fingerprint -sha256", "sha256//"]);
    }
    let error = "e3:b0".parse::<Pin>().unwrap_err();
    assert_eq!(error, TlsError::FingerprintLength { digits: 4 });
    // A text that is something else by mistake is not copied whole into a log.
    let error = "x".repeat(1000).parse::<Pin>().unwrap_err();
    assert!(error.to_string().len() < 400, "{error}");
}

#[test]
fn bytes_that_are_not_a_certificate_have_no_key() {
    let error = KeyFingerprint::of(&CertificateDer::from(vec![1, 2, 3])).unwrap_err();
    assert!(matches!(error, TlsError::BadCertificate { .. }), "{error:?}");
    assert_says(&error, &["X.509 v3"]);
}

#[cfg(feature = "serde")]
#[test]
fn a_file_has_the_texts_of_pins() {
    use serde::de::value::{Error, StrDeserializer};
    use serde::de::{Deserialize as _, IntoDeserializer as _};

    let read = |text: &str| {
        let from: StrDeserializer<'_, Error> = text.into_deserializer();
        Pin::deserialize(from).map_err(|error| error.to_string())
    };
    let identity = Identity::self_signed(["a"]).unwrap();
    let pin = Pin::from(identity.fingerprint());
    assert_eq!(read(&pin.to_string()), Ok(pin));
    let wrong = "x".parse::<Pin>().unwrap_err().to_string();
    assert_eq!(read("x"), Err(wrong));
}
