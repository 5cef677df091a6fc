//! The failure of a TLS connection, with its remedy.

use core::error::Error;
use core::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::{AlertDescription, InvalidMessage, Side};

use super::own::Own;
use super::remedy::{self, is_about_certificates};

/// A [`rustls::Error`], which is its source, and the remedy for a failure that settings can fix.
///
/// rustls tells the failure, but not the setting: the same alert answers a certificate that the peer
/// does not pin and one whose issuer the peer does not know.
#[derive(Debug)]
pub(super) struct TlsFailure {
    error: rustls::Error,
    /// The role of this end.
    side: Side,
    own: Arc<Own>,
}

impl TlsFailure {
    pub(super) fn new(error: rustls::Error, side: Side, own: Arc<Own>) -> Self {
        Self { error, side, own }
    }

    pub(super) fn into_io(self, kind: ErrorKind) -> io::Error {
        io::Error::new(kind, self)
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)?;
        remedy::write(f, &self.error, self.side, &self.own)
    }
}

impl Error for TlsFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// Whether a TLS connection failed because of TLS, and not because of the socket.
pub(crate) fn is_tls_failure(error: &io::Error) -> bool {
    by_rustls(error).is_some()
}

/// Whether a TLS connection failed because the peer rejects the certificate of this end.
pub(crate) fn is_rejection(error: &io::Error) -> bool {
    by_rustls(error).is_some_and(|error| match error {
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => true,
        rustls::Error::AlertReceived(alert) => is_about_certificates(*alert),
        _ => false,
    })
}

/// Whether a TLS connection failed because the peer's bytes are not a TLS record.
pub(crate) fn is_foreign_protocol(error: &io::Error) -> bool {
    let foreign = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
    by_rustls(error).is_some_and(|error| *error == foreign)
}

fn by_rustls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<TlsFailure>().map(|failure| &failure.error)
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use rustls::PeerIncompatible;

    use super::*;

    fn failed(error: rustls::Error) -> io::Error {
        TlsFailure::new(error, Side::Client, Arc::default()).into_io(ErrorKind::InvalidData)
    }

    #[test]
    fn an_alert_tells_what_the_peer_rejects() {
        for (alert, remedy, rejects) in [
            (AlertDescription::CertificateRequired, "has presented none", true),
            (AlertDescription::CertificateRevoked, "it was revoked", true),
            (AlertDescription::CertificateExpired, "it has expired", true),
            (AlertDescription::UnsupportedCertificate, "its purpose may be wrong", true),
            (AlertDescription::UnknownCA, "the peer rejects this end's certificate", true),
            (AlertDescription::InternalError, "", false),
        ] {
            let error = failed(rustls::Error::AlertReceived(alert));
            assert!(error.to_string().contains(remedy), "{error}");
            assert_eq!(is_rejection(&error), rejects, "{error}");
        }
    }

    #[test]
    fn keys_that_the_other_end_does_not_verify_have_a_remedy() {
        let incompatible = PeerIncompatible::NoSignatureSchemesInCommon;
        let error = failed(rustls::Error::PeerIncompatible(incompatible));
        assert!(error.to_string().contains("use ECDSA P-256"), "{error}");
    }
}
