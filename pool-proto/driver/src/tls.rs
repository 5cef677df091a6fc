//! TLS configurations for both ends: which certificates are presented and which are accepted.
//!
//! Nothing here does I/O or holds a connection. The result is a [`rustls::ClientConfig`] or a
//! [`rustls::ServerConfig`], which an adapter hands to its own TLS stream.
//!
//! Every configuration built here
//! - speaks TLS 1.3 (RFC 8446) and nothing older;
//! - names its cryptography provider (*ring*), so no process-wide default has to be installed;
//! - neither stores nor issues session tickets (RFC 8446, section 4.6.1): a pooled connection is
//!   handshaken once, long before it is needed, and never resumed, so a session store would only
//!   take memory.
//!
//! ```
//! use pool_driver::tls::{ClientTls, Identity, ServerTls};
//!
//! # fn main() -> Result<(), pool_driver::tls::TlsError> {
//! let identity = Identity::self_signed(["tunnel.example"])?;
//! let server = ServerTls::new(identity.clone())?;
//!
//! // The client either knows the certificate by its fingerprint …
//! let pinned = ClientTls::self_signed()?.pinned(identity.fingerprint())?;
//! // … or trusts it as a root and checks the name, too.
//! let pem = identity.certificate_pem();
//! let verified = ClientTls::verified_pem("tunnel.example", pem.as_bytes())?;
//! # let _ = (server, pinned, verified);
//! # Ok(())
//! # }
//! ```

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
pub use fingerprint::Fingerprint;
pub use identity::Identity;
pub use mode::TlsMode;
pub use pem::{PemFault, roots_from_pem};
pub use server::ServerTls;
pub use verify::PinMismatch;

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use provider::provider;

pub(crate) use connection::{TlsConnection, is_foreign_protocol, is_tls_failure};

fn host_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    if host.is_empty() {
        return Err(TlsError::EmptyHost);
    }
    ServerName::try_from(host.to_owned())
        .map_err(|_| TlsError::InvalidHost { host: host.to_owned() })
}
