//! TLS settings: the certificate that an end presents, and the certificates that it accepts.
//!
//! The builder of a pool takes [`ClientTls`] or [`ServerTls`]. An [`Identity`] is a certificate with
//! its private key, a [`Fingerprint`] identifies a certificate, and [`TlsFacts`] tell how a connection
//! is protected.
//!
//! Every configuration that is built here
//! - speaks TLS 1.3 (RFC 8446) only;
//! - carries its cryptography provider, so it works without a process-wide default;
//! - neither stores nor issues session tickets (RFC 8446, section 4.6.1): a pooled connection is
//!   handshaken once, long before it is needed, and never resumed, so a session store would only
//!   take memory.
//!
//! ```
//! use pool_driver::tls::{ClientTls, Identity, ServerTls, TlsError};
//!
//! # #[cfg(not(feature = "self-signed"))]
//! # fn main() {}
//! # #[cfg(feature = "self-signed")]
//! # fn main() -> Result<(), TlsError> {
//! let identity = Identity::self_signed(["tunnel.example"])?;
//! let server = ServerTls::new(identity.clone())?;
//!
//! // The client either knows the certificate by its fingerprint …
//! let pinned = ClientTls::self_signed()?.pinned(identity.fingerprint())?;
//! // … or trusts it as a root and also checks the name.
//! let pem = identity.certificate_pem();
//! let verified = ClientTls::verified_pem("tunnel.example", pem.as_bytes())?;
//! # let _ = (server, pinned, verified);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `tls` | yes | this module; rustls, without a provider and without TLS 1.2 |
//! | `ring` | yes | constructors that use the provider *ring*; implies `tls` |
//! | `aws-lc-rs` | no | constructors that use the provider aws-lc-rs; implies `tls` |
//! | `self-signed` | yes | fresh certificates, made by rcgen; implies `tls`, needs `ring` or `aws-lc-rs` |
//!
//! Each adapter has the same features and passes them on. Without `tls`, pools use plain TCP, and
//! nothing of rustls, *ring*, aws-lc-rs and rcgen is compiled.
//!
//! # Cryptography providers
//!
//! A constructor without a provider among its arguments uses aws-lc-rs if that feature is on, and
//! *ring* otherwise. (With both features on, aws-lc-rs is the one that somebody has asked for by name:
//! `ring` is on by default.) With neither feature on, these constructors do not exist, because only
//! the build can mend a missing provider, and so a compiler error is better than an error at run time.
//!
//! The constructors whose names end in `_with_provider` take any [`CryptoProvider`], whatever features
//! are on. A [`ServerTls`] uses the provider of its [`Identity`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use pool_driver::rustls::crypto::CryptoProvider;
//! use pool_driver::tls::{ClientTls, Identity, ServerTls, TlsError, roots_from_pem};
//!
//! /// With a provider that is validated for FIPS, say.
//! fn settings(
//!     provider: Arc<CryptoProvider>,
//!     cert_pem: &[u8],
//!     key_pem: &[u8],
//! ) -> Result<(ClientTls, ServerTls), TlsError> {
//!     let roots = roots_from_pem(cert_pem)?;
//!     let client =
//!         ClientTls::verified_with_provider("tunnel.example", roots, Arc::clone(&provider))?;
//!     let identity = Identity::from_pem_with_provider(cert_pem, key_pem, provider)?;
//!     Ok((client, ServerTls::new(identity)?))
//! }
//! ```
//!
//! The provider does all cryptography of a connection. Two things are done outside of it. Fingerprints
//! are computed by the crate sha2, because [`Fingerprint::of`] takes no provider. The key and the
//! signature of a fresh self-signed certificate are made by rcgen, with *ring* or aws-lc-rs.
//!
//! # An application with its own rustls
//!
//! The pool neither reads nor sets rustls' process-wide default provider. Its features may still
//! disturb an application that relies on that default. rustls 0.23 determines a default by itself
//! only if one of rustls' features `ring` and `aws_lc_rs` is on, and the other one is off, in the whole
//! build. With both on, `rustls::ClientConfig::builder()` and `rustls::ServerConfig::builder()` panic
//! ("Could not automatically determine the process-level CryptoProvider") until somebody installs a
//! default. rustls' default features include `aws_lc_rs`, and the pool's default features turn on
//! `ring`, so an application with the default features of both has to do one of the following.
//!
//! 1. Give the pool the provider that rustls already has, so that the build contains one provider:
//!
//!    ```toml
//!    [dependencies]
//!    adapter-tokio = { version = "0.1", default-features = false, features = ["aws-lc-rs", "self-signed"] }
//!    rustls = "0.23"
//!    ```
//!
//! 2. Install a default at the start of `main`. The pool's constructors are not affected by it.
//!
//!    ```
//!    # use pool_driver::rustls;
//!    # #[cfg(feature = "aws-lc-rs")]
//!    rustls::crypto::aws_lc_rs::default_provider()
//!        .install_default()
//!        .expect("no other default was installed");
//!    ```
//!
//! The pool cannot use *ring* without turning on rustls' feature `ring`, which contains the code between
//! the two. Nor does it install a default: the choice belongs to the application, which may make it
//! after the pool is built.
//!
//! [`CryptoProvider`]: rustls::crypto::CryptoProvider

#[cfg(all(feature = "self-signed", not(any(feature = "ring", feature = "aws-lc-rs"))))]
compile_error!(
    "the feature `self-signed` makes keys with ring or aws-lc-rs: turn on the feature `ring` or \
     `aws-lc-rs` as well, or turn `self-signed` off and give an `Identity` of your own"
);

use std::borrow::ToOwned;

use rustls::pki_types::ServerName;

mod client;
mod connection;
mod error;
mod facts;
mod failure;
#[cfg(all(feature = "self-signed", any(feature = "ring", feature = "aws-lc-rs")))]
mod file;
mod fingerprint;
mod identity;
mod mode;
mod pem;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod provider;
#[cfg(all(feature = "self-signed", any(feature = "ring", feature = "aws-lc-rs")))]
mod self_signed;
mod server;
mod verify;

pub use client::ClientTls;
pub use error::TlsError;
pub use facts::TlsFacts;
#[cfg(all(feature = "self-signed", any(feature = "ring", feature = "aws-lc-rs")))]
pub use file::IdentityPem;
pub use fingerprint::Fingerprint;
pub use identity::Identity;
pub use mode::TlsMode;
pub use pem::{PemFault, roots_from_pem};
pub use server::ServerTls;
pub use verify::PinMismatch;

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use provider::provider;

pub(crate) use connection::TlsConnection;
pub(crate) use failure::{is_foreign_protocol, is_tls_failure};

/// Reads a DNS name or an IP address.
fn host_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    if host.is_empty() {
        return Err(TlsError::EmptyHost);
    }
    ServerName::try_from(host.to_owned())
        .map_err(|_| TlsError::InvalidHost { host: host.to_owned() })
}
