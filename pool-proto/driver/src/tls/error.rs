//! Errors of TLS settings.

use std::boxed::Box;
use std::path::PathBuf;
use std::string::String;

use super::{Fingerprint, PemFault, TlsMode};

/// The reason why TLS settings were refused.
///
/// Every message states the expectation, the input and the remedy, and no message contains private
/// key material. Failures of a handshake are not in this list: each is an [`io::Error`](std::io::Error)
/// of the connection, whose source is a [`rustls::Error`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text or number does not name a [`TlsMode`].
    #[error(
        "unknown TLS mode {value:?}: expected 0 or \"none\" (plaintext), 1 or \"self-signed\", \
         2 or \"verified\""
    )]
    UnknownMode {
        /// The input.
        value: String,
    },

    /// The host name is empty.
    #[error(
        "TLS mode 2 checks the name in the server's certificate, but the host name is empty: \
         give the DNS name or the IP address that the certificate was issued for"
    )]
    EmptyHost,

    /// The host is neither a DNS name nor an IP address.
    #[error(
        "{host:?} is neither a DNS name nor an IP address: write it without scheme, port, \
         brackets or spaces, e.g. \"example.com\", \"192.0.2.1\" or \"2001:db8::1\""
    )]
    InvalidHost {
        /// The input.
        host: String,
    },

    /// A self-signed certificate was requested without names.
    #[error(
        "a self-signed certificate was requested without names, and a peer that checks names \
         could never accept it: give at least one, e.g. \"localhost\""
    )]
    NoNames,

    /// The store of root certificates is empty.
    #[error(
        "the {purpose} need at least one root certificate, and the root store is empty, so every \
         peer would be refused: add the certificate of the authority that issued the peer's"
    )]
    EmptyRoots {
        /// The purpose of the roots, in the plural.
        purpose: &'static str,
    },

    /// A root certificate cannot be a trust anchor.
    #[error(
        "root certificate number {number} (counted from 1) is not a usable X.509 certificate \
         ({reason}): replace or remove it"
    )]
    BadRoot {
        /// The position of the certificate in the text, counted from 1.
        number: usize,
        /// The error of rustls.
        reason: rustls::Error,
    },

    /// The operating system has no roots.
    #[cfg(feature = "native-roots")]
    #[error(
        "the system has no root certificates ({reason}): install its package of them (ca-certificates), \
         name a file in the environment variable SSL_CERT_FILE, or take webpki_roots (feature \
         `webpki-roots`) or roots of your own"
    )]
    NativeRoots {
        /// The first error of the look-up.
        reason: String,
    },

    /// The expected item cannot be read from PEM text.
    #[error(
        "expected {expected} in PEM form (RFC 7468) in {length} bytes of input, but {}{fault}",
        at_line(*line)
    )]
    Pem {
        /// The expected item.
        expected: &'static str,
        /// The length of the input in bytes.
        length: usize,
        /// The line of the first section that cannot be read, counted from 1. `None` if each section can
        /// be read, and the expected one is missing.
        line: Option<usize>,
        /// The fault of the text.
        fault: PemFault,
    },

    /// An [`Identity`](super::Identity) was given no certificate.
    #[error(
        "an identity needs at least the certificate of its key, but the certificate chain is \
         empty: give the chain, leaf first"
    )]
    EmptyChain,

    /// The private key does not belong to the certificate.
    #[error(
        "the private key does not belong to the certificate with SHA-256 fingerprint \
         {certificate}: give the key that this certificate was made with, and the leaf certificate \
         first in the chain"
    )]
    KeyMismatch {
        /// The fingerprint of the first certificate of the chain.
        certificate: Fingerprint,
    },

    /// rustls cannot use the certificate or the private key.
    #[error(
        "the private key or the certificate with SHA-256 fingerprint {certificate} cannot be used \
         ({reason}): expected an X.509 v3 certificate and an unencrypted RSA (2048 bits or more), \
         ECDSA P-256, ECDSA P-384 or Ed25519 key"
    )]
    BadIdentity {
        /// The fingerprint of the first certificate of the chain.
        certificate: Fingerprint,
        /// The error of rustls.
        reason: rustls::Error,
    },

    /// A key or a certificate could not be generated.
    #[error(
        "generating a self-signed certificate failed ({reason}): give a certificate and a key of \
         your own instead"
    )]
    Generate {
        /// The message of the generator.
        reason: String,
    },

    /// The file of an identity can be neither read nor made.
    #[error(
        "cannot {action} the identity file {path:?} ({reason}): give a file in an existing directory \
         where this process may read, write and make hard links"
    )]
    IdentityFile {
        /// The path of the file.
        path: PathBuf,
        /// "read" or "create".
        action: &'static str,
        /// The operating system's message.
        reason: String,
    },

    /// A file of certificates or keys cannot be read or written.
    #[error(
        "cannot {action} {path:?} ({reason}): give a file in an existing directory that this process may \
         {action}"
    )]
    File {
        /// The path of the file.
        path: PathBuf,
        /// "read" or "write".
        action: &'static str,
        /// The operating system's message.
        reason: String,
    },

    /// A file of certificates or keys holds something else.
    #[error("{path:?}: {error}")]
    Content {
        /// The path of the file. For an error of a certificate and a key together, that of the key.
        path: PathBuf,
        /// The fault of the content.
        error: Box<TlsError>,
    },

    /// All users of the machine may access a file with a private key.
    #[error(
        "all users may access the private key in {path:?} (mode {mode:04o}): run `chmod 640` on it, or, \
         for a secret that an orchestrator mounts, set its mode there; if a stranger may have read it, \
         replace the key"
    )]
    KeyExposed {
        /// The path of the file.
        path: PathBuf,
        /// The mode of the file.
        mode: u32,
    },

    /// All users of the machine may access the file of an identity.
    #[error(
        "all users may access the private key in {path:?} (mode {mode:04o}): run `chmod 600` on it; \
         if a stranger may have read it, delete it instead, and let the other end pin the identity \
         that is made then"
    )]
    IdentityExposed {
        /// The path of the file.
        path: PathBuf,
        /// The mode of the file.
        mode: u32,
    },

    /// The file of an identity holds something else.
    #[error(
        "the identity file {path:?} is unusable and was left as it is: {error}; restore it from a \
         copy, or delete it, and let the other end pin the identity that is made then"
    )]
    IdentityContent {
        /// The path of the file.
        path: PathBuf,
        /// The fault of the content.
        error: Box<TlsError>,
    },

    /// Pinning was requested without pins.
    #[error(
        "certificate pinning was requested with no fingerprints, so every peer would be refused: \
         give at least one, that of the peer's certificate or of its public key"
    )]
    EmptyPins,

    /// Certificate pinning was requested for a configuration that verifies in another way.
    #[error(
        "certificate pinning belongs to TLS mode \"self-signed\", but this configuration is \
         \"{mode}\" and pinning would replace its verification: start from \
         ClientTls::self_signed(), or omit pinning"
    )]
    PinsNeedSelfSigned {
        /// The mode of the configuration.
        mode: TlsMode,
    },

    /// A fingerprint has the wrong length.
    #[error(
        "a SHA-256 fingerprint has 64 hex digits, this one has {digits}: copy everything that \
         `openssl x509 -noout -fingerprint -sha256` prints after the `=`"
    )]
    FingerprintLength {
        /// The number of hex digits in the text.
        digits: usize,
    },

    /// A fingerprint contains a misplaced character.
    #[error(
        "{found:?} at character {position} (counted from 0) of a fingerprint: expected 64 hex \
         digits, with a colon between every pair or with no colons at all"
    )]
    FingerprintCharacter {
        /// The character.
        found: char,
        /// The position of the character, counted in characters from 0.
        position: usize,
    },

    /// A text is not the fingerprint of a public key.
    #[error(
        "{found:?} is not the SHA-256 fingerprint of a public key: expected `sha256//` and 44 characters \
         of Base64, the last of them `=`, as KeyFingerprint shows it and curl's --pinnedpubkey takes it"
    )]
    KeyFingerprint {
        /// The beginning of the text.
        found: String,
    },

    /// A text is not a pin of either kind.
    #[error(
        "{found:?} is not a pin: expected the SHA-256 fingerprint of a certificate (32 hex pairs, as \
         `openssl x509 -noout -fingerprint -sha256` prints them after the `=`), or that of a public key \
         (`sha256//` and 44 characters of Base64)"
    )]
    UnknownPin {
        /// The beginning of the text.
        found: String,
    },

    /// The bytes are not a certificate whose key can be read.
    #[error(
        "the certificate with SHA-256 fingerprint {certificate} cannot be read ({reason}): expected \
         X.509 v3 in DER"
    )]
    BadCertificate {
        /// The fingerprint of the bytes.
        certificate: Fingerprint,
        /// The error of rustls.
        reason: rustls::Error,
    },

    /// The name of a protocol for ALPN has a wrong length.
    #[error(
        "a protocol for ALPN has {length} bytes: give names of 1 to 255 bytes (RFC 7301, section 3.1), \
         such as \"h2\""
    )]
    Protocol {
        /// The length of the name in bytes.
        length: usize,
    },

    /// Client certificates were required on a custom server configuration.
    #[error(
        "client certificates cannot be required on a custom server configuration, because its \
         verifier cannot be replaced afterwards: set the client certificate verifier when \
         building the rustls::ServerConfig"
    )]
    CustomServerConfig,

    /// A configuration of this module was declared to authenticate its peers.
    #[error(
        "assume_authenticated is for custom configurations, whose checks cannot be seen; this one is \
         not custom: let it pin the peer, or verify its chain"
    )]
    NotCustom,

    /// rustls refused a configuration for another reason.
    #[error(
        "rustls refused the configuration ({0}): give a cryptography provider with cipher suites \
         and key exchange groups of TLS 1.3"
    )]
    Config(rustls::Error),
}

/// The place of a fault, for the middle of a message.
fn at_line(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| {
        std::format!("in the section that begins in line {line}: ")
    })
}
