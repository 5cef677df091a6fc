//! Certificates with their keys, and fingerprints.

use super::*;

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

/// A key of these tests as `openssl ecparam -genkey` writes it (SEC 1, RFC 5915).
const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIH2Y/BMUjimSclTPXIksJxXDvxkJ9fSeZnXX02+NgJdAoAoGCCqGSM49
AwEHoUQDQgAEx2BvVP4tTPAhsUA7lyzkL3NtyfyZf2aR9fXsMheluRLTbycIlOEj
xrT+yYAp0vRtqL1KTGEQNrwgsuCUPlQZrA==
-----END EC PRIVATE KEY-----
";

/// The same key as `openssl pkcs8 -topk8` writes it.
const PKCS8: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfZj8ExSOKZJyVM9c
iSwnFcO/GQn19J5mddfTb42Al0ChRANCAATHYG9U/i1M8CGxQDuXLOQvc23J/Jl/
ZpH19ewyF6W5EtNvJwiU4SPGtP7JgCnS9G2ovUpMYRA2vCCy4JQ+VBms
-----END PRIVATE KEY-----
";

#[test]
fn a_key_is_read_in_both_forms_of_openssl() {
    let key = KeyPair::from_pem(PKCS8).unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    for key in [PKCS8, SEC1] {
        let identity = Identity::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
        let pinned = ClientTls::self_signed().unwrap().pinned(identity.key_fingerprint()).unwrap();
        shake(&pinned, &ServerTls::new(identity).unwrap()).expect_established();
    }
}

#[test]
fn certificate_pem_is_what_others_write_whatever_the_length() {
    // The lengths of the name cover every position of the end in a group and a line of Base64.
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
fn bytes_that_are_not_a_certificate_are_refused() {
    let (_, key) = pair();
    let error = Identity::from_der([CertificateDer::from(vec![0; 8])], key.into()).unwrap_err();
    assert!(matches!(error, TlsError::BadIdentity { .. }));
    assert_says(&error, &["cannot be used", "X.509 v3"]);
}

#[test]
fn an_encrypted_or_missing_key_is_refused_with_a_hint() {
    let (certificate, key) = pair_for("localhost");
    let pem = certificate.pem();
    let key_pem = key.serialize_pem();
    let encrypted = key_pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let old = key_pem.replacen("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\n\n", 1);
    for (key_pem, fault, says) in [
        ("", PemFault::Missing, "not encrypted"),
        (&*encrypted, PemFault::Encrypted, "openssl pkey"),
        (&*old, PemFault::Encrypted, "openssl pkey"),
        (&*pem, PemFault::OnlyCertificate, "give the file with the private key"),
    ] {
        let error = Identity::from_pem(pem.as_bytes(), key_pem.as_bytes()).unwrap_err();
        assert!(matches!(error, TlsError::Pem { fault: found, .. } if found == fault), "{error}");
        assert_says(&error, &["a private key", says]);
    }
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        let key_pem = key_pem.replace("PRIVATE KEY", label);
        let error = Identity::from_pem(key_pem.as_bytes(), key_pem.as_bytes()).unwrap_err();
        assert!(matches!(error, TlsError::Pem { fault: PemFault::OnlyKey, .. }), "{error}");
        assert_says(&error, &["a certificate chain", "give the file with the certificate"]);
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
fn every_self_signed_identity_is_different() {
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
    // The private scalar starts at byte 36 of this PKCS#8 structure. Even 4 bytes of it are a leak.
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
