//! An identity that lasts: as text to keep, and in a file.

use core::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::vec::Vec;
use std::{boxed::Box, format};

use super::files::unable;
use super::{Identity, TlsError, pem, self_signed};
use crate::platform::mode_of;
use crate::platform::new_files::{only_for_owner, sync_directory};

/// A private key and its self-signed certificate as PEM text, from
/// [`Identity::generate_pem`].
///
/// [`Debug`](fmt::Debug) does not show it, and there is no [`Display`](fmt::Display), so that the key
/// gets into a log only on purpose.
pub struct IdentityPem(String);

impl IdentityPem {
    /// Returns the text: a section `PRIVATE KEY` (PKCS#8, unencrypted) and a section `CERTIFICATE`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the identity of this text.
    ///
    /// # Errors
    ///
    /// Those of [`Identity::from_pem`]; no text of [`Identity::generate_pem`] is known to cause one.
    pub fn identity(&self) -> Result<Identity, TlsError> {
        Identity::from_pem(self.0.as_bytes(), self.0.as_bytes())
    }

    /// Writes the text to the file `path`, in place of an existing one: at once and in whole, so that a
    /// reader sees the old identity or the new one. On Unix the file has the mode 0600, on Windows the
    /// rights of its directory. [`Identity::from_files`] and [`Identity::load_or_create`] load it.
    ///
    /// For the rollover of an identity: let the other end pin the new one as well, save it, and hand it to
    /// `set_tls` of the pool. This function does file I/O.
    ///
    /// # Errors
    ///
    /// [`TlsError::File`] if the file cannot be written; an existing file is unchanged then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), TlsError> {
        let path = path.as_ref();
        replace(path, &self.0).map_err(|error| unable(path, "write", &error))
    }
}

impl fmt::Debug for IdentityPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityPem").finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes a fresh key and certificate, as [`self_signed`](Self::self_signed) does, in the form of
    /// text to keep: in a vault, in a file of your own. [`load_or_create`](Self::load_or_create) keeps
    /// it in a file for you.
    ///
    /// The key can be had at this moment only. An [`Identity`] does not give it away, so code that is
    /// handed one cannot leak it.
    ///
    /// ```
    /// use pool_driver::tls::{Identity, TlsError};
    ///
    /// # fn main() -> Result<(), TlsError> {
    /// let pem = Identity::generate_pem(["agent.example"])?;
    /// // … keep `pem.as_str()`, and at each start:
    /// let identity = Identity::from_pem(pem.as_str().as_bytes(), pem.as_str().as_bytes())?;
    /// println!("let the other end pin {}", identity.fingerprint());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`self_signed`](Self::self_signed).
    pub fn generate_pem(
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<IdentityPem, TlsError> {
        let (certificate, key) = self_signed::generate(names)?;
        let mut text = String::new();
        pem::push_section(&mut text, "PRIVATE KEY", key.secret_der());
        pem::push_section(&mut text, "CERTIFICATE", &certificate);
        Ok(IdentityPem(text))
    }

    /// Loads the identity in the file `path`. If the file does not exist, makes a fresh self-signed
    /// identity for `names` first, and writes it there.
    ///
    /// The identity lasts as long as the file, so that the other end can pin its
    /// [`fingerprint`](Self::fingerprint). `names` count only when the file is made.
    ///
    /// The file has the form of [`generate_pem`](Self::generate_pem): key and certificate in one file
    /// cannot get apart, and appear at once or not at all. On Unix its mode is 0600, and a file that all
    /// users may access is refused; on Windows it inherits the rights of its directory. An existing file
    /// is never changed. If several processes make it at the same time, one succeeds, and the others load
    /// its file. `openssl x509 -noout -fingerprint -sha256 -in FILE` prints the fingerprint.
    ///
    /// Files of another origin, a certificate by an authority for example, are loaded by
    /// [`from_files`](Self::from_files).
    ///
    /// This function does file I/O: call it at the start of a program.
    ///
    /// ```
    /// use pool_driver::tls::{Identity, TlsError};
    ///
    /// # fn main() -> Result<(), TlsError> {
    /// # let directory = std::env::temp_dir().join(format!("pool-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory).unwrap();
    /// # let path = directory.join("server.pem");
    /// let identity = Identity::load_or_create(&path, ["tunnel.example"])?;
    /// println!("let the other end pin {}", identity.fingerprint());
    /// # let again = Identity::load_or_create(&path, ["tunnel.example"])?;
    /// # assert_eq!(again.fingerprint(), identity.fingerprint());
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TlsError::IdentityFile`] if the file can be neither read nor made,
    /// [`TlsError::IdentityExposed`] if all users may access it, [`TlsError::IdentityContent`] if it
    /// holds something else, and those of [`self_signed`](Self::self_signed).
    pub fn load_or_create(
        path: impl AsRef<Path>,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, TlsError> {
        let path = path.as_ref();
        match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return load(path, opened),
        }
        let fresh = Self::generate_pem(names)?;
        match create(path, fresh.as_str()) {
            // Another process was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => created.map_err(|error| refused(path, "create", &error))?,
        }
        load(path, File::open(path))
    }
}

fn refused(path: &Path, action: &'static str, error: &io::Error) -> TlsError {
    TlsError::IdentityFile { path: path.to_owned(), action, reason: error.to_string() }
}

fn load(path: &Path, opened: io::Result<File>) -> Result<Identity, TlsError> {
    let unreadable = |error| refused(path, "read", &error);
    let mut file = opened.map_err(unreadable)?;
    let mode = mode_of(&file).map_err(unreadable)?;
    // A group may share a key on purpose, as a container's volumes do. All users of a machine may not.
    if mode & 0o007 != 0 {
        return Err(TlsError::IdentityExposed { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(unreadable)?;
    Identity::from_pem(&text, &text).map_err(|error| TlsError::IdentityContent {
        path: path.to_owned(),
        error: Box::new(error),
    })
}

/// Makes a file with this content, which appears at once and in whole, and never replaces another.
fn create(path: &Path, content: &str) -> io::Result<()> {
    let draft = Draft::new(path, content)?;
    // A link, because a rename would replace a file that another process has made meanwhile.
    fs::hard_link(&draft.0, path)?;
    drop(draft);
    sync_directory(path)
}

/// Makes a file with this content, which takes the place of another at once and in whole.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    let draft = Draft::new(path, content)?;
    fs::rename(&draft.0, path)?;
    drop(draft);
    sync_directory(path)
}

/// A file under a name of its own until it is complete.
struct Draft(PathBuf);

impl Draft {
    /// Writes a draft of the file `path`, which only the user of this process may access.
    fn new(path: &Path, content: &str) -> io::Result<Self> {
        let name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_string_lossy();
        let draft = Self(path.with_file_name(format!(".{name}.{:016x}", fastrand::u64(..))));
        let mut options = OpenOptions::new();
        let mut file = only_for_owner(options.write(true).create_new(true)).open(&draft.0)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Fails if the file could not be made in the first place, or has its final name.
        let _ = fs::remove_file(&self.0);
    }
}
