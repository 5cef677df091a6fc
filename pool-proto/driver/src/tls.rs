//! TLS settings: the certificate that an end presents, and the certificates that it accepts.
//!
//! The builder of a pool takes [`ClientTls`] or [`ServerTls`], and `set_tls` of a pool replaces them [while
//! it runs](#while-the-pool-runs). An [`Identity`] is a certificate with its private key. A [`Pin`] is the
//! [`Fingerprint`] of a certificate or the [`KeyFingerprint`] of a public key. [`TlsFacts`] tell how a
//! connection is protected, with the certificates of the peer.
//!
//! Every configuration that is built here
//! - speaks TLS 1.3 (RFC 8446) only;
//! - carries its cryptography provider, so it works without a process-wide default;
//! - neither stores nor issues session tickets (RFC 8446, section 4.6.1): a pooled connection is
//!   handshaken once, long before it is needed, and never resumed, so a session store would only
//!   take memory.
//!
//! # Authentication
//!
//! TLS by itself keeps eavesdroppers out. The settings decide who may be at the other end:
//!
//! | at the client | the server is |
//! |---|---|
//! | [`ClientTls::self_signed`] | **anybody** who can redirect the connection |
//! | [`pinned`](ClientTls::pinned), [`pinned_any`](ClientTls::pinned_any) | the holder of a known key, or of the key of a known certificate |
//! | [`verified`](ClientTls::verified) | the holder of a certificate for the host name, by a trusted authority |
//!
//! | at the server | a client is |
//! |---|---|
//! | [`ServerTls::new`], [`ServerTls::self_signed`] | **anybody** who can reach the listener: strangers are handed requests |
//! | [`pinned_clients`](ServerTls::pinned_clients) | the holder of a known key, or of the key of a known certificate |
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
//! # Pins
//!
//! A pin of a certificate ends with the certificate; a pin of its public key stays as long as the key, however
//! often the certificate is renewed. Each has one text, which [`Pin`] reads and writes:
//!
//! | pin | text | from |
//! |---|---|---|
//! | [`Fingerprint`] | 32 hex pairs with colons | [`Identity::fingerprint`], or `openssl x509 -noout -fingerprint -sha256 -in certificate.pem` |
//! | [`KeyFingerprint`] | `sha256//` and Base64, as curl's `--pinnedpubkey` | [`Identity::key_fingerprint`], or the command on its page |
//!
//! Each end takes any number of pins of both kinds, so that a rollover needs no moment at which both ends
//! change:
//!
//! 1. The peers of an identity pin the new one as well as the old one, before it is in use.
//! 2. Its holder presents the new one.
//! 3. The peers drop the pin of the old one.
//!
//! Each step is a call of `set_tls`, and no handshake fails in between, if the handshakes that began before
//! one step are over before the next.
//!
//! # Roots
//!
//! | roots | by | feature |
//! |---|---|---|
//! | of your own authority | [`roots_from_file`], [`roots_from_pem`] | – |
//! | of the operating system | `native_roots` | `native-roots` |
//! | of Mozilla, compiled into the program | `webpki_roots` | `webpki-roots` |
//!
//! All of them are a [`RootCertStore`](rustls::RootCertStore), to which others can be added, and all are
//! checked in the same way, with the same errors. The system's roots come from rustls-native-certs. The
//! verifier of the system itself (rustls-platform-verifier) is not used, because on macOS and Windows it may
//! look up revocation on the network in the middle of a handshake, and a handshake must not block: one thread
//! may do all handshakes of a pool. (A [`custom`](ClientTls::custom) configuration can have it.) A server that
//! verifies its clients should trust an authority of its own, and not the public ones, which issue a
//! certificate to everybody.
//!
//! # Files
//!
//! [`Identity::load_or_create`] makes an identity at the first start and keeps it in a file.
//! [`IdentityPem::save`] replaces such a file. [`Identity::from_files`] loads files of another origin: the
//! chain and the key of certbot (`fullchain.pem`, `privkey.pem`), for example. On Unix a key that all users of
//! the machine may access is refused. Each error names the file, and for unreadable PEM also the line, the
//! expected content and the content found.
//!
//! # While the pool runs
//!
//! `set_tls` of a pool takes new settings as a whole, on any thread. Any settings that can be built can be set:
//!
//! ```
//! # #[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
//! # fn main() {}
//! # #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
//! # fn main() {
//! use std::error::Error;
//!
//! use pool_driver::pool_proto::Accepting;
//! use pool_driver::tls::{Identity, ServerTls, TlsError, roots_from_file};
//! use pool_driver::{Pool, Runtime};
//!
//! /// For the builder at the start, and for each renewal.
//! fn load() -> Result<ServerTls, TlsError> {
//!     let directory = "/etc/letsencrypt/live/tunnel.example";
//!     let identity = Identity::from_files(
//!         format!("{directory}/fullchain.pem"),
//!         format!("{directory}/privkey.pem"),
//!     )?;
//!     ServerTls::new(identity)?.require_client_certificates(roots_from_file("/etc/pool/agents.pem")?)
//! }
//!
//! /// Called where SIGHUP arrives, or by a deploy hook of certbot. (The pool of an adapter is called
//! /// `ServerPool`.)
//! fn reload<N: Runtime>(pool: &Pool<N, Accepting>) -> Result<(), Box<dyn Error>> {
//!     // A file that cannot be read returns here, and the settings in force stay.
//!     pool.set_tls(load()?)?;
//!     // Renews the idle connections, if they should not keep the former certificate until they end.
//!     pool.clean();
//!     Ok(())
//! }
//! # let _ = load;
//! # fn unused<N: Runtime>(pool: &Pool<N, Accepting>) { let _ = reload(pool); }
//! # }
//! ```
//!
//! | | after `set_tls` |
//! |---|---|
//! | handshakes that begin | the new settings |
//! | handshakes under way | the settings with which they began; they do not fail |
//! | idle connections | live on, to their `max_lifetime`; `clean` renews those that this end acquires |
//! | connections in use | live on, and go back into the stock when they are put back |
//! | settings that are refused, or cannot be loaded | nothing changes |
//!
//! **Where trust is withdrawn**, as when a client's key was stolen, call `flush` after `set_tls`: it ends all
//! connections, in a handshake, idle or in use, and new ones come with the new settings. `clean` alone leaves
//! those that were in use or in a handshake. To cut off a single peer, drop its streams instead of putting them
//! back ([`TlsFacts::peer_certificate`] tells them apart), and call `clean`.
//!
//! A pool that was built with `require_authentication` refuses settings that accept any peer. A pool on plain
//! TCP cannot change to TLS, nor one with TLS to plain TCP, because both ends would have to do it at the
//! same moment: build another pool, and end the first by `graceful_shutdown`. A full server goes on rejecting
//! peers as it was built to: without client certificates, by the address, before the handshake; with them, by
//! the certificate, afterwards.
//!
//! # ALPN
//!
//! [`ClientTls::alpn`] and [`ServerTls::alpn`] take a list of protocols, and [`TlsFacts::alpn`] has the choice.
//! Two lists without a common protocol fail the handshake. An end without a list takes part in none, so code
//! that relies on a protocol compares the facts.
//!
//! # Configurations of your own
//!
//! [`ClientTls::custom`] and [`ServerTls::custom`] take any configuration of rustls, for CRLs, session
//! tickets or a verifier of your own. Facts, remedies, ALPN, `set_tls` and the identity of a server
//! ([`ServerTls::identity`]) or client ([`ClientTls::client_certificate`]) work as with others. Only the
//! author of the configuration knows its checks, and may state that it authenticates
//! ([`assume_authenticated`](ServerTls::assume_authenticated)). A verifier or a resolver must not block.
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
//! [`roots_from_file`] of `authority.pem`. The client gives
//! [`client_certificate`](ClientTls::client_certificate) the [`Identity::from_files`] of `agent-1.pem` and
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
//! | `native-roots` | no | `native_roots`, by rustls-native-certs; implies `tls` |
//! | `webpki-roots` | no | `webpki_roots`, by webpki-roots (licence CDLA-Permissive-2.0); implies `tls` |
//!
//! Each adapter has the same features and passes them on. Without `tls`, pools use plain TCP, and
//! nothing of rustls, *ring*, aws-lc-rs and rcgen is compiled.
//!
//! # Cryptography providers
//!
//! A constructor without a provider among its arguments uses aws-lc-rs if that feature is on, and
//! *ring* otherwise. (With both features on, aws-lc-rs is the explicit choice: `ring` is on by default.)
//! With neither feature on, these constructors do not exist, because a missing provider can only be fixed
//! in the build, where a compiler error shows it earlier than an error at run time.
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
mod memory;
mod mode;
mod own;
mod pem;
mod pem_fault;
mod pin;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod provider;
mod records;
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
