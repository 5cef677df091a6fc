//! Identities that last: as text, and in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::*;

/// A directory of one test.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("agent.pem")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load(path: &Path) -> Result<Identity, TlsError> {
    Identity::load_or_create(path, ["agent.example"])
}

#[test]
fn generated_text_is_an_identity_with_its_key() {
    let pem = Identity::generate_pem(["agent.example"]).unwrap();
    let text = pem.as_str();
    let identity = Identity::from_pem(text.as_bytes(), text.as_bytes()).unwrap();
    assert!(text.ends_with(&identity.certificate_pem()));
    // Others read the key, too.
    KeyPair::from_pem(&text[..text.find("-----BEGIN CERTIFICATE").unwrap()]).unwrap();

    let server = ServerTls::new(identity.clone()).unwrap();
    let server = server.pinned_clients([identity.fingerprint()]).unwrap();
    let client = ClientTls::self_signed().unwrap().pinned(identity.fingerprint()).unwrap();
    shake(&client.client_certificate(identity), &server).expect_established();
}

#[test]
fn debug_output_of_generated_text_shows_nothing_of_it() {
    let pem = Identity::generate_pem(["agent.example"]).unwrap();
    for text in [format!("{pem:?}"), format!("{pem:#?}")] {
        assert!(text.starts_with("IdentityPem") && text.len() < 30, "{text}");
    }
}

#[test]
fn generated_text_needs_good_names() {
    let none: [&str; 0] = [];
    assert_eq!(Identity::generate_pem(none).unwrap_err(), TlsError::NoNames);
    assert_eq!(Identity::generate_pem([""]).unwrap_err(), TlsError::EmptyHost);
}

#[test]
fn an_identity_outlasts_its_process() {
    let directory = Directory::new("outlasts");
    let made = load(&directory.file()).unwrap();
    assert_eq!(directory.names(), ["agent.pem"]);
    let loaded = load(&directory.file()).unwrap();
    assert_eq!(loaded.chain(), made.chain());

    let server = ServerTls::new(made).unwrap();
    let verified =
        ClientTls::verified_pem("agent.example", loaded.certificate_pem().as_bytes()).unwrap();
    shake(&verified, &server).expect_established();
    let pinned = ClientTls::self_signed().unwrap().pinned(loaded.fingerprint()).unwrap();
    shake(&pinned, &server).expect_established();
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_access_the_file_and_others_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = Directory::new("exposed");
    let path = directory.file();
    let made = load(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    for mode in [0o604, 0o644, 0o602, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = load(&path).unwrap_err();
        assert_eq!(error, TlsError::IdentityExposed { path: path.clone(), mode });
        assert_says(&error, &["agent.pem", &format!("mode {mode:04o}"), "chmod 600"]);
    }
    // A group may share a key on purpose.
    for mode in [0o400, 0o440, 0o640] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(load(&path).unwrap().fingerprint(), made.fingerprint());
    }
}

#[test]
fn a_file_with_other_content_is_left_as_it_is() {
    let directory = Directory::new("content");
    let pem = Identity::generate_pem(["agent.example"]).unwrap();
    let text = pem.as_str();
    let certificate = text.find("-----BEGIN CERTIFICATE").unwrap();
    for content in
        ["", "something else", &text[..certificate], &text[certificate..], &text[..text.len() - 30]]
    {
        write_private(&directory.file(), content);
        let error = load(&directory.file()).unwrap_err();
        assert!(matches!(error, TlsError::IdentityContent { .. }), "{error:?}");
        assert_says(&error, &["agent.pem", "left as it is", "PEM", "delete it"]);
        let key = text.lines().nth(1).unwrap();
        assert!(!format!("{error} {error:?}").contains(key), "{error:?}");
        assert_eq!(fs::read_to_string(directory.file()).unwrap(), content);
        assert_eq!(directory.names(), ["agent.pem"]);
    }
}

pub(crate) fn write_private(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn a_file_that_cannot_be_made_or_read_is_an_error_with_its_path() {
    let directory = Directory::new("unable");
    let missing = directory.0.join("missing").join("agent.pem");
    let error = load(&missing).unwrap_err();
    assert!(matches!(error, TlsError::IdentityFile { action: "create", .. }), "{error:?}");
    assert_says(&error, &["cannot create", "missing", "agent.pem", "existing directory"]);
    for path in [directory.0.clone(), directory.0.join(".."), PathBuf::new()] {
        let error = load(&path).unwrap_err();
        assert!(
            matches!(error, TlsError::IdentityFile { .. } | TlsError::IdentityExposed { .. }),
            "{path:?}: {error:?}"
        );
    }
    let none: [&str; 0] = [];
    let error = Identity::load_or_create(directory.file(), none).unwrap_err();
    assert_eq!(error, TlsError::NoNames);
    assert_eq!(directory.names(), [""; 0]);
    // A file is made only if it is absent, not if the lookup fails for another
    // reason.
    load(&directory.file()).unwrap();
    let error = load(&directory.file().join("below.pem")).unwrap_err();
    assert!(matches!(error, TlsError::IdentityFile { action: "read", .. }), "{error:?}");
}

/// The link may point to a place where a stranger waits for the key.
#[cfg(unix)]
#[test]
fn a_dangling_link_is_neither_followed_nor_replaced() {
    let directory = Directory::new("dangling");
    let target = directory.0.join("target.pem");
    std::os::unix::fs::symlink(&target, directory.file()).unwrap();
    let error = load(&directory.file()).unwrap_err();
    assert!(matches!(error, TlsError::IdentityFile { action: "read", .. }), "{error:?}");
    assert_eq!(directory.names(), ["agent.pem"]);
    assert_eq!(fs::read_link(directory.file()).unwrap(), target);
}

#[test]
fn all_that_start_at_once_get_the_same_identity() {
    let directory = Directory::new("race");
    for _ in 0..20 {
        let path = directory.file();
        let made: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| load(&path).unwrap().fingerprint())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|fingerprint| *fingerprint == made[0]), "{made:?}");
        assert_eq!(directory.names(), ["agent.pem"]);
        fs::remove_file(path).unwrap();
    }
}

/// A process that may not write into files meets what a full disk does to others.
#[cfg(unix)]
#[test]
fn a_key_that_cannot_be_written_leaves_no_draft() {
    const FILE: &str = "POOL_TLS_FILE_WITHOUT_ROOM";
    if let Some(file) = std::env::var_os(FILE) {
        let error = load(Path::new(&file)).unwrap_err();
        assert!(matches!(error, TlsError::IdentityFile { .. }), "{error:?}");
        return;
    }
    let directory = Directory::new("no-room");
    let name = "files::a_key_that_cannot_be_written_leaves_no_draft";
    let output = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" --exact \"$1\""])
        .args([std::env::current_exe().unwrap().as_os_str(), name.as_ref()])
        .env(FILE, directory.file())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
    assert_eq!(directory.names(), [""; 0]);
}
