//! The failure of a TLS connection, with its remedy.

use core::error::Error;
use core::fmt;
use std::io::{self, ErrorKind};
use std::string::ToString;

use rustls::{AlertDescription, CertificateError, InvalidMessage, Side};

use super::Fingerprint;

/// A [`rustls::Error`], which is its source, and the remedy for a failure that settings can mend.
///
/// rustls tells the failure, but not the setting: the same alert answers a certificate that the peer
/// does not pin and one whose issuer the peer does not know.
#[derive(Debug)]
pub(super) struct TlsFailure {
    error: rustls::Error,
    /// The role of this end.
    side: Side,
    /// The certificate that this end presents.
    own: Option<Fingerprint>,
}

impl TlsFailure {
    pub(super) fn new(error: rustls::Error, side: Side, own: Option<Fingerprint>) -> Self {
        Self { error, side, own }
    }

    pub(super) fn into_io(self, kind: ErrorKind) -> io::Error {
        io::Error::new(kind, self)
    }

    fn own_certificate(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this end's certificate")?;
        self.own.map_or(Ok(()), |own| write!(f, " with SHA-256 fingerprint {own}"))
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)?;
        match &self.error {
            rustls::Error::NoCertificatesPresented => f.write_str(
                "; this end requires a client certificate: give the client one, by \
                 ClientTls::client_certificate",
            ),
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => f.write_str(
                "; the server requires a client certificate, and this end has presented none: give \
                 it one by ClientTls::client_certificate",
            ),
            rustls::Error::AlertReceived(alert) if is_about_certificates(*alert) => {
                f.write_str("; the peer rejects ")?;
                self.own_certificate(f)?;
                f.write_str(match self.side {
                    Side::Client => {
                        ": let the server pin it (ServerTls::pinned_clients), or trust its issuer \
                         (ServerTls::require_client_certificates)"
                    }
                    Side::Server => {
                        ": let the client pin it (ClientTls::pinned), or trust its issuer and a name \
                         that it contains (ClientTls::verified)"
                    }
                })
            }
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => f.write_str(
                "; give the certificate of its authority as a root, or pin the certificate if it is \
                 self-signed",
            ),
            rustls::Error::InvalidCertificate(CertificateError::BadSignature) => f.write_str(
                "; the peer does not hold the key of its certificate, or an authority other than the \
                 roots, but of the same name, has issued it: give the certificate of that authority \
                 as a root, or pin the certificate if it is self-signed",
            ),
            rustls::Error::InvalidCertificate(error) if is_an_authority(error) => f.write_str(
                "; the certificate is marked as that of an authority (basicConstraints CA:TRUE, the \
                 default of `openssl req -x509`), which no end may present where chains are verified: \
                 make it with `-addext basicConstraints=critical,CA:FALSE`, or pin it instead",
            ),
            _ => Ok(()),
        }
    }
}

impl Error for TlsFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// The alerts by which a peer rejects a certificate (RFC 8446, section 6.2). decrypt_error stands for
/// a signature that is wrong, also for that of a root with the same name as the issuer.
fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

/// Whether a leaf is a certificate of an authority. rustls passes this error of webpki on as text.
fn is_an_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity")
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
