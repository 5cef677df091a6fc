//! The texts of TLS settings: fingerprints, pins, modes, PEM.

use pool_driver::tls::{
    Fingerprint, Identity, KeyFingerprint, PemFault, Pin, TlsError, TlsMode, roots_from_pem,
};

use super::choices::Choices;

/// The bytes: a text, which may be any of these.
///
/// Fails if a fingerprint, a pin or a mode is read otherwise than by an obvious parser, or if the contents of
/// PEM are lost when they are written and read again.
pub fn tls_text(bytes: &[u8]) {
    let bytes = Choices::new(bytes).rest();
    let text = String::from_utf8_lossy(bytes);
    check_fingerprint(&text);
    check_pin(&text);
    check_mode(&text);
    check_pem(bytes);
}

fn check_fingerprint(text: &str) {
    let parsed = text.parse::<Fingerprint>();
    assert_eq!(parsed.as_ref().ok(), plain_fingerprint(text).as_ref(), "{text:?}");
    match parsed {
        Ok(fingerprint) => {
            let written = fingerprint.to_string();
            assert_eq!(written.parse(), Ok(fingerprint));
            assert_eq!(written.replace(':', ""), text.replace(':', "").to_lowercase());
        }
        Err(TlsError::FingerprintCharacter { found, position }) => {
            assert_eq!(text.chars().nth(position), Some(found), "{text:?}");
        }
        Err(TlsError::FingerprintLength { digits }) => {
            let digit = |found: &char| found.is_ascii_hexdigit();
            assert_eq!(text.chars().filter(digit).count(), digits, "{text:?}");
        }
        Err(error) => panic!("{text:?}: {error:?}"),
    }
}

/// 32 pairs of digits, with colons between all of them or none.
fn plain_fingerprint(text: &str) -> Option<Fingerprint> {
    let characters: Vec<char> = text.chars().collect();
    let pairs: Vec<String> = match text.contains(':') {
        true => text.split(':').map(str::to_owned).collect(),
        false => characters.chunks(2).map(|pair| pair.iter().collect()).collect(),
    };
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|pair| {
            let digits = pair.len() == 2 && pair.chars().all(|digit| digit.is_ascii_hexdigit());
            digits.then(|| u8::from_str_radix(pair, 16).unwrap())
        })
        .collect();
    Some(Fingerprint::from(<[u8; 32]>::try_from(bytes?).ok()?))
}

/// Each pin has one text, except that a fingerprint of a certificate may be written in several ways.
fn check_pin(text: &str) {
    match text.parse() {
        Ok(Pin::Key(key)) => assert_eq!(key.to_string(), text),
        Ok(Pin::Certificate(certificate)) => assert_eq!(text.parse(), Ok(certificate)),
        Err(error) => {
            assert!(
                text.parse::<Fingerprint>().is_err() && text.parse::<KeyFingerprint>().is_err()
            );
            assert!(error.to_string().len() < 600, "{error}");
        }
    }
}

fn check_mode(text: &str) {
    let mode = match text {
        "0" | "none" => Some(TlsMode::None),
        "1" | "self-signed" => Some(TlsMode::SelfSigned),
        "2" | "verified" => Some(TlsMode::Verified),
        _ => None,
    };
    let parsed = text.parse::<TlsMode>();
    assert_eq!(parsed.as_ref().ok(), mode.as_ref());
    match parsed {
        Ok(mode) => assert_eq!(mode.to_string().parse(), Ok(mode)),
        Err(error) => assert_eq!(error, TlsError::UnknownMode { value: text.to_owned() }),
    }
}

fn check_pem(pem: &[u8]) {
    match Identity::from_pem(pem, pem) {
        Ok(identity) => {
            let written = identity.certificate_pem();
            let key_and_chain = [written.as_bytes(), pem].concat();
            let again = Identity::from_pem(written.as_bytes(), &key_and_chain).unwrap();
            assert_eq!(again.chain(), identity.chain());
            assert_eq!(again.fingerprint(), identity.fingerprint());
            assert_eq!(again.certificate_pem(), written);
        }
        Err(error) => check_blame(pem, &error),
    }
    match roots_from_pem(pem) {
        Ok(roots) => assert!(!roots.is_empty()),
        Err(error) => check_blame(pem, &error),
    }
}

fn check_blame(pem: &[u8], error: &TlsError) {
    if let TlsError::Pem { length, line, fault, .. } = error {
        assert_eq!(*length, pem.len());
        let begins = pem.windows(11).any(|window| window == b"-----BEGIN ");
        assert!(begins || matches!(fault, PemFault::Missing | PemFault::Der), "{error}");
        let lines = pem.split(|byte| *byte == b'\n').count();
        assert!(line.is_none_or(|line| begins && (1..=lines).contains(&line)), "{error}");
    }
    assert!(!error.to_string().is_empty());
}
