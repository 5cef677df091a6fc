//! The remedies for failed handshakes.

use core::fmt::{self, Display as _, Write as _};
use std::string::{String, ToString};

use rustls::{AlertDescription, CertificateError, PeerIncompatible, Side};

use super::own::Own;

/// Writes the remedy for a failure that settings can fix; nothing for others.
pub(super) fn write(
    f: &mut fmt::Formatter<'_>,
    error: &rustls::Error,
    side: Side,
    own: &Own,
) -> fmt::Result {
    match error {
        rustls::Error::NoCertificatesPresented => f.write_str(
            "; this end requires a client certificate: give the client one, by \
             ClientTls::client_certificate",
        ),
        rustls::Error::NoApplicationProtocol => no_protocol(f, side, own),
        rustls::Error::InvalidCertificate(error) => {
            f.write_str(certificate(error, side).unwrap_or_default())
        }
        rustls::Error::PeerIncompatible(PeerIncompatible::NoSignatureSchemesInCommon) => {
            f.write_str(UNSUPPORTED_KEY)
        }
        rustls::Error::AlertReceived(alert) => of_alert(f, *alert, side, own),
        _ => Ok(()),
    }
}

/// Stands where neither end can sign in a way that the other one verifies.
const UNSUPPORTED_KEY: &str = "; the key of one end is of a kind that the other one does not verify: \
     use ECDSA P-256, ECDSA P-384, Ed25519, or RSA of 2048 bits or more, at both ends";

/// The remedy for a certificate of the peer that this end rejects.
#[allow(deprecated, reason = "rustls still returns these variants without context in some cases")]
fn certificate(error: &CertificateError, side: Side) -> Option<&'static str> {
    use CertificateError as E;
    Some(match (error, side) {
        (E::Expired | E::ExpiredContext { .. }, _) => {
            "; the peer must renew its certificate and load it (set_tls of a running pool); if it has \
             done so, set the clock of this host, or pin the key of the peer: pins know no dates"
        }
        (E::NotValidYet | E::NotValidYetContext { .. }, _) => {
            "; set the clock of this host, or that of the host which has issued the certificate; \
             otherwise the peer must present another one until then, or pin its key: pins know no \
             dates"
        }
        (E::NotValidForName | E::NotValidForNameContext { .. }, _) => {
            "; give ClientTls::verified a name that the certificate contains, let the server present a \
             certificate with the expected one in its subjectAltName, or pin it: pins know no names"
        }
        (E::UnknownIssuer, _) => {
            "; give the certificate of its authority as a root, or pin the certificate if it is \
             self-signed; an authority between the two must be in the chain that the peer presents \
             (certbot's fullchain.pem, not cert.pem)"
        }
        (E::BadSignature, _) => {
            "; the peer does not hold the key of its certificate, or an authority other than the \
             roots, but of the same name, has issued it: give the certificate of that authority \
             as a root, or pin the certificate if it is self-signed"
        }
        (
            E::UnsupportedSignatureAlgorithm
            | E::UnsupportedSignatureAlgorithmContext { .. }
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
            _,
        ) => {
            "; the certificate or one of its issuers is signed in a way that this end does not accept, \
             such as SHA-1 or a short RSA key: issue it anew with SHA-256 (`openssl … -sha256`) and a \
             key of ECDSA P-256, ECDSA P-384, Ed25519, or RSA of 2048 bits or more"
        }
        (E::InvalidPurpose | E::InvalidPurposeContext { .. }, Side::Client) => {
            "; issue the server's certificate with extendedKeyUsage=serverAuth, or without that extension"
        }
        (E::InvalidPurpose | E::InvalidPurposeContext { .. }, Side::Server) => {
            "; issue the client's certificate with extendedKeyUsage=clientAuth, or without that extension"
        }
        (E::BadEncoding, _) => "; expected X.509 v3 in DER: let the peer make its certificate anew",
        (E::Other(other), _) => return by_webpki(&other.to_string()),
        _ => return None,
    })
}

/// The remedy for an error of webpki that rustls passes on as text.
fn by_webpki(name: &str) -> Option<&'static str> {
    Some(match name {
        "CaUsedAsEndEntity" => {
            "; the certificate is marked as that of an authority (basicConstraints CA:TRUE, the \
             default of `openssl req -x509`), which no end may present where chains are verified: \
             make it with `-addext basicConstraints=critical,CA:FALSE`, or pin it instead"
        }
        "EndEntityUsedAsCa" => {
            "; a certificate of the chain, or a root, is not that of an authority \
             (basicConstraints CA:TRUE is missing), and cannot issue others: give the certificate of the \
             authority as a root"
        }
        "UnsupportedCertVersion" => {
            "; expected X.509 v3 (`openssl x509 -req` without extensions makes v1): make the certificate \
             with `-copy_extensions copy` or `-extfile`, and a subjectAltName in it"
        }
        _ => return None,
    })
}

/// The remedy for an alert of the peer.
fn of_alert(
    f: &mut fmt::Formatter<'_>,
    alert: AlertDescription,
    side: Side,
    own: &Own,
) -> fmt::Result {
    match alert {
        AlertDescription::CertificateRequired => f.write_str(
            "; the server requires a client certificate, and this end has presented none: give \
             it one by ClientTls::client_certificate",
        ),
        AlertDescription::NoApplicationProtocol => no_protocol(f, side, own),
        alert if is_about_certificates(alert) => {
            f.write_str("; the peer rejects this end's certificate")?;
            if let Some(certificate) = own.certificate {
                write!(f, " with SHA-256 fingerprint {certificate}")?;
            }
            f.write_str(": ")?;
            f.write_str(match alert {
                AlertDescription::CertificateExpired => {
                    "it has expired, or is not valid yet, by the clock of the peer: renew it and load \
                     it (set_tls of a running pool), or set the clocks of both hosts; or "
                }
                AlertDescription::UnsupportedCertificate => {
                    "its purpose may be wrong (extendedKeyUsage needs serverAuth at a server, \
                     clientAuth at a client); or "
                }
                AlertDescription::CertificateRevoked => "it was revoked: present another one; or ",
                _ => "",
            })?;
            f.write_str(match side {
                Side::Client => {
                    "let the server pin it (ServerTls::pinned_clients), or trust its issuer \
                     (ServerTls::require_client_certificates)"
                }
                Side::Server => {
                    "let the client pin it (ClientTls::pinned), or trust its issuer and a name \
                     that it contains (ClientTls::verified)"
                }
            })
        }
        _ => Ok(()),
    }
}

/// Both ends have a list of protocols, and no protocol is in both.
fn no_protocol(f: &mut fmt::Formatter<'_>, side: Side, own: &Own) -> fmt::Result {
    let mut listed = String::new();
    for (position, name) in own.protocols.iter().enumerate() {
        listed.push_str(if position == 0 { "" } else { ", " });
        write!(listed, "\"{}\"", name.escape_ascii())?;
    }
    let call = match side {
        Side::Client => "ClientTls::alpn",
        Side::Server => "ServerTls::alpn",
    };
    f.write_str("; both ends name protocols by ALPN, and have none in common: this end has ")?;
    listed.fmt(f)?;
    write!(f, "; give both lists one protocol ({call} here), or leave the list of one end empty")
}

/// The alerts by which a peer rejects a certificate (RFC 8446, section 6.2). decrypt_error stands for
/// a signature that is wrong, also for that of a root with the same name as the issuer.
pub(super) fn is_about_certificates(alert: AlertDescription) -> bool {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_certificate_has_its_remedy() {
        use CertificateError as E;

        let both = [
            (E::Expired, "renew its certificate"),
            (E::NotValidYet, "set the clock"),
            (E::NotValidForName, "subjectAltName"),
            (E::UnknownIssuer, "of its authority as a root"),
            (E::BadSignature, "does not hold the key"),
            (E::BadEncoding, "X.509 v3 in DER"),
        ];
        for (error, remedy) in both {
            for side in [Side::Client, Side::Server] {
                let text = certificate(&error, side).unwrap();
                assert!(text.starts_with("; ") && text.contains(remedy), "{error:?}: {text}");
            }
        }
        for (side, usage) in [(Side::Client, "serverAuth"), (Side::Server, "clientAuth")] {
            assert!(certificate(&E::InvalidPurpose, side).unwrap().contains(usage));
        }
        assert_eq!(certificate(&E::Revoked, Side::Client), None, "nothing that settings mend");
    }
}
