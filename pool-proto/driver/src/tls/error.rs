//! What can be wrong with a TLS configuration.

use std::string::String;

use super::{Fingerprint, PemFault, TlsMode};

/// Why a TLS configuration was refused.
///
/// Every message says what was expected, what came and what to do. None carries private key
/// material. Failures of a handshake are not here: they are [`rustls::Error`]s of the connection.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A [`TlsMode`] which does not exist.
    #[error(
        "unknown TLS mode {value:?}: expected 0 or \"none\" (plaintext), 1 or \"self-signed\", \
         2 or \"verified\""
    )]
    UnknownMode {
        /// What came.
        value: String,
    },

    /// [`ClientTls::verified`](super::ClientTls::verified) without a host name.
    #[error(
        "TLS mode 2 checks the name in the server's certificate, but the host name is empty: \
         give the DNS name or the IP address the certificate was issued for"
    )]
    EmptyHost,

    /// A host name which is neither a DNS name nor an IP address.
    #[error(
        "{host:?} is neither a DNS name nor an IP address: write it without scheme, port, \
         brackets or spaces, e.g. \"example.com\", \"192.0.2.1\" or \"2001:db8::1\""
    )]
    InvalidHost {
        /// What came.
        host: String,
    },

    /// A self-signed certificate for no names at all.
    #[error(
        "a self-signed certificate was asked for with no names, and a peer which checks names \
         could never accept it: give at least one, e.g. \"localhost\""
    )]
    NoNames,

    /// No root certificates to verify a peer against.
    #[error(
        "the {purpose} need at least one root certificate, and the root store is empty, so every \
         peer would be refused: add the certificate of the authority which issued the peer's"
    )]
    EmptyRoots {
        /// What the roots are for, in the plural.
        purpose: &'static str,
    },

    /// A root certificate which cannot serve as a trust anchor.
    #[error(
        "root certificate number {number} (counted from 1) is not a usable X.509 certificate \
         ({reason}): replace or remove it"
    )]
    BadRoot {
        /// Which certificate, counted from 1 in the order given.
        number: usize,
        /// What rustls said.
        reason: rustls::Error,
    },

    /// PEM text from which the expected item cannot be read.
    #[error("expected {expected} in PEM form (RFC 7468) in {length} bytes of input, but {fault}")]
    Pem {
        /// What was looked for.
        expected: &'static str,
        /// The length of the input in bytes.
        length: usize,
        /// What is wrong with it.
        fault: PemFault,
    },

    /// An [`Identity`](super::Identity) without a certificate.
    #[error(
        "an identity needs at least the certificate of its key, but the certificate chain is \
         empty: give the chain, leaf first"
    )]
    EmptyChain,

    /// A private key which does not belong to the certificate.
    #[error(
        "the private key does not belong to the certificate with SHA-256 fingerprint \
         {certificate}: give the key this certificate was made with, and the leaf certificate \
         first in the chain"
    )]
    KeyMismatch {
        /// The fingerprint of the first certificate of the chain.
        certificate: Fingerprint,
    },

    /// A certificate or a private key rustls cannot use.
    #[error(
        "the private key or the certificate with SHA-256 fingerprint {certificate} cannot be used \
         ({reason}): expected an X.509 v3 certificate and an unencrypted RSA (2048 bits or more), \
         ECDSA P-256, ECDSA P-384 or Ed25519 key"
    )]
    BadIdentity {
        /// The fingerprint of the first certificate of the chain.
        certificate: Fingerprint,
        /// What rustls said.
        reason: rustls::Error,
    },

    /// Making a key or a certificate failed.
    #[error(
        "making a self-signed certificate failed ({reason}): give a certificate and a key of your \
         own instead"
    )]
    Generate {
        /// What the generator said.
        reason: String,
    },

    /// Certificate pinning with nothing to compare with.
    #[error(
        "certificate pinning was asked for with no fingerprints, so every server would be \
         refused: give at least one, or leave pinning out to accept any certificate"
    )]
    EmptyPins,

    /// Certificate pinning on a configuration which has its own way of verifying.
    #[error(
        "certificate pinning belongs to TLS mode \"self-signed\", but this configuration is \
         \"{mode}\" and pinning would replace its verification: start from \
         ClientTls::self_signed(), or leave pinning out"
    )]
    PinsNeedSelfSigned {
        /// The mode of the configuration.
        mode: TlsMode,
    },

    /// A fingerprint of the wrong length.
    #[error(
        "a SHA-256 fingerprint has 64 hex digits, this one has {digits}: copy all of what \
         `openssl x509 -noout -fingerprint -sha256` prints after the `=`"
    )]
    FingerprintLength {
        /// How many hex digits came.
        digits: usize,
    },

    /// A fingerprint with a character which does not belong where it stands.
    #[error(
        "{found:?} at character {position} (counted from 0) of a fingerprint: expected 64 hex \
         digits, with a colon between every pair or with no colons at all"
    )]
    FingerprintCharacter {
        /// What came.
        found: char,
        /// Where it stands, in characters counted from 0.
        position: usize,
    },

    /// Client certificates required on a server configuration we did not build.
    #[error(
        "client certificates cannot be required on a custom server configuration, because its \
         verifier cannot be replaced afterwards: set the client certificate verifier when \
         building the rustls::ServerConfig"
    )]
    CustomServerConfig,

    /// rustls refused a configuration for another reason.
    #[error(
        "rustls refused the configuration ({0}): give a cryptography provider with cipher suites \
         and key exchange groups of TLS 1.3"
    )]
    Config(rustls::Error),
}
