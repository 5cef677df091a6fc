//! Roots that come with the operating system, or with the program.

use rustls::RootCertStore;

#[cfg(feature = "native-roots")]
use super::TlsError;

/// Loads the roots that the operating system trusts, for [`ClientTls::verified`](super::ClientTls::verified).
///
/// On Unix other than macOS they are the files in which the system keeps them, or those in the
/// environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR`; on macOS the keychain, on Windows the
/// certificate store. Certificates that cannot be roots are skipped. They are loaded at this call: after an
/// update of the system, load them again and call `set_tls` of the pool. This function does file I/O.
///
/// More roots, of an authority of your own, can be added to the store.
///
/// # Errors
///
/// [`TlsError::NativeRoots`] if there are none.
#[cfg(feature = "native-roots")]
pub fn native_roots() -> Result<RootCertStore, TlsError> {
    use std::string::{String, ToString};

    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map_or_else(
            || String::from("there are none in the places where this system keeps them"),
            ToString::to_string,
        );
        return Err(TlsError::NativeRoots { reason });
    }
    Ok(roots)
}

/// Returns the roots of Mozilla, as they were when the crate webpki-roots was released: the same on every
/// machine, also where the system has none, as in a container without files. New roots, and the end of
/// others, come with an update of that crate and a build.
#[cfg(feature = "webpki-roots")]
#[must_use]
pub fn webpki_roots() -> RootCertStore {
    RootCertStore { roots: ::webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}
