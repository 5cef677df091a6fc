//! Identities and roots in files of any origin, such as those of certbot.

use std::borrow::ToOwned as _;
use std::boxed::Box;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::string::ToString as _;
use std::sync::Arc;
use std::vec::Vec;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use super::provider;
use super::{Identity, TlsError, pem, roots_from_pem};
use crate::platform::mode_of;

impl Identity {
    /// Loads a certificate chain and its private key from two files, as certbot leaves them
    /// (`fullchain.pem` and `privkey.pem`), or from one that holds both.
    ///
    /// On Unix, a key that all users may access is refused. To use such a key nevertheless, read the
    /// files and call [`from_pem`](Self::from_pem).
    ///
    /// This function does file I/O. To renew the identity of a pool, load it again and hand it to
    /// `set_tls` of the pool: on a failure, nothing has changed. While the two files are being replaced,
    /// they may not belong together ([`TlsError::KeyMismatch`]): load them again a moment later.
    ///
    /// # Errors
    ///
    /// [`TlsError::File`] if a file cannot be read, [`TlsError::KeyExposed`] if all users may access the
    /// key, and [`TlsError::Content`] with the path and the error of [`from_pem`](Self::from_pem).
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub fn from_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        Self::from_files_with_provider(certificates, key, provider())
    }

    /// Like [`from_files`](Self::from_files), with this provider.
    ///
    /// # Errors
    ///
    /// The errors of [`from_files`](Self::from_files).
    pub fn from_files_with_provider(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let (certificates, path) = (certificates.as_ref(), key.as_ref());
        let chain = pem::certificates(&read(certificates)?, "a certificate chain")
            .map_err(within(certificates))?;
        let key = pem::private_key(&read_private(path)?).map_err(within(path))?;
        Self::from_der_with_provider(chain, key, provider).map_err(within(path))
    }
}

/// Loads every certificate of a PEM file as a trust anchor, as [`roots_from_pem`] does.
///
/// # Errors
///
/// [`TlsError::File`] if the file cannot be read, [`TlsError::Content`] with its path and the error of
/// [`roots_from_pem`].
pub fn roots_from_file(path: impl AsRef<Path>) -> Result<RootCertStore, TlsError> {
    let path = path.as_ref();
    roots_from_pem(&read(path)?).map_err(within(path))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| unable(path, "read", &error))
}

/// Reads a file with a private key. A group may share one on purpose, as a container's volumes do. All
/// users of a machine may not.
fn read_private(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| unable(path, "read", &error);
    let mut file = File::open(path).map_err(unreadable)?;
    let mode = mode_of(&file).map_err(unreadable)?;
    if mode & 0o007 != 0 {
        return Err(TlsError::KeyExposed { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(unreadable)?;
    Ok(text)
}

pub(super) fn unable(path: &Path, action: &'static str, error: &io::Error) -> TlsError {
    TlsError::File { path: path.to_owned(), action, reason: error.to_string() }
}

fn within(path: &Path) -> impl Fn(TlsError) -> TlsError + '_ {
    |error| TlsError::Content { path: path.to_owned(), error: Box::new(error) }
}
