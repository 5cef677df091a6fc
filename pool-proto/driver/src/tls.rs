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
//! # Who is at the other end
//!
//! TLS by itself keeps eavesdroppers out. The settings decide who may be at the other end:
//!
//! | at the client | the server is |
//! |---|---|
//! | [`ClientTls::self_signed`] | **anybody** who can redirect the connection |
//! | [`pinned`](ClientTls::pinned), [`pinned_any`](ClientTls::pinned_any) | the holder of the key of a known certificate |
//! | [`verified`](ClientTls::verified) | the holder of a certificate for the host name, by a trusted authority |
//!
//! | at the server | a client is |
//! |---|---|
//! | [`ServerTls::new`], [`ServerTls::self_signed`] | **anybody** who can reach the listener: strangers are handed requests |
//! | [`pinned_clients`](ServerTls::pinned_clients) | the holder of the key of a known certificate |
//! | [`require_client_certificates`](ServerTls::require_client_certificates) | the holder of a certificate by a trusted authority |
//!
//! Pins suit two ends, or a few: each end makes an identity of its own, and is told the fingerprint of
//! the other's. `require_authentication` of the builders refuses the rows in bold.
//!
//! ```
//! use pool_driver::tls::{ClientTls, Identity, ServerTls, TlsError};
//!
//! # #[cfg(not(feature = "self-signed"))]
//! # fn main() {}
//! # #[cfg(feature = "self-signed")]
//! # fn main() -> Result<(), TlsError> {
//! // Made anew at each start. `Identity::load_or_create` makes identities that last.
//! let server = Identity::self_signed(["tunnel.example"])?;
//! let agent = Identity::self_signed(["agent.example"])?;
//!
//! let server_tls = ServerTls::new(server.clone())?.pinned_clients([agent.fingerprint()])?;
//!
//! // The client knows the certificate of the server by its fingerprint …
//! let pinned = ClientTls::self_signed()?.pinned(server.fingerprint())?;
//! // … or trusts it as a root, and also checks the name.
//! let pem = server.certificate_pem();
//! let verified = ClientTls::verified_pem("tunnel.example", pem.as_bytes())?;
//!
//! let client_tls = pinned.client_certificate(agent);
//! # let _ = (server_tls, client_tls, verified);
//! # Ok(())
//! # }
//! ```
//!
//! # One certificate for several clients
//!
//! Clients that need not be told apart may share one identity: copy its file to all of them, and pin the
//! one fingerprint. This takes the place of a shared secret, and is safer than one: the server does not
//! hold the key, and no client can pass for the server.
//!
//! # An authority for many clients
//!
//! With many clients, or with clients that come and go, pins have to be told to the server one by one.
//! An authority of your own is easier: the server trusts the authority, and a new client needs only a
//! certificate by it. (To lock a single client out is harder: nothing here checks revocation. Short
//! lifetimes help.) With OpenSSL 3, the authority, once:
//!
//! ```sh
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
//!   -subj '/CN=agents' -keyout authority-key.pem -out authority.pem
//! ```
//!
//! and each client:
//!
//! ```sh
//! openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=agent-1' \
//!   -addext subjectAltName=DNS:agent-1 -keyout agent-1-key.pem -out agent-1.csr
//! openssl x509 -req -in agent-1.csr -CA authority.pem -CAkey authority-key.pem -days 365 \
//!   -copy_extensions copy -out agent-1.pem
//! ```
//!
//! The server calls [`require_client_certificates`](ServerTls::require_client_certificates) with
//! [`roots_from_pem`] of `authority.pem`. The client gives
//! [`client_certificate`](ClientTls::client_certificate) the [`Identity::from_pem`] of `agent-1.pem` and
//! `agent-1-key.pem`.
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
mod files;
mod fingerprint;
mod identity;
mod mode;
mod own;
mod pem;
mod pem_fault;
mod pin;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod provider;
mod remedy;
#[cfg(any(feature = "native-roots", feature = "webpki-roots"))]
mod roots;
#[cfg(all(feature = "self-signed", any(feature = "ring", feature = "aws-lc-rs")))]
mod self_signed;
mod server;
mod verify;

pub use client::ClientTls;
pub use error::TlsError;
pub use facts::TlsFacts;
#[cfg(all(feature = "self-signed", any(feature = "ring", feature = "aws-lc-rs")))]
pub use file::IdentityPem;
pub use files::roots_from_file;
pub use fingerprint::Fingerprint;
pub use identity::Identity;
pub use mode::TlsMode;
pub use pem::roots_from_pem;
pub use pem_fault::PemFault;
pub use pin::{KeyFingerprint, Pin};
#[cfg(feature = "native-roots")]
pub use roots::native_roots;
#[cfg(feature = "webpki-roots")]
pub use roots::webpki_roots;
pub use server::ServerTls;
pub use verify::PinMismatch;

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use provider::provider;

pub(crate) use connection::TlsConnection;
pub(crate) use failure::{is_foreign_protocol, is_rejection, is_tls_failure};

/// Reads a DNS name or an IP address.
fn host_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    if host.is_empty() {
        return Err(TlsError::EmptyHost);
    }
    ServerName::try_from(host.to_owned())
        .map_err(|_| TlsError::InvalidHost { host: host.to_owned() })
}
