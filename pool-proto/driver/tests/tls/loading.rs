//! Identities and roots in files of any origin, and saved identities.

use std::fs;

use super::files::{Directory, write_private};
use super::*;

/// A chain and its key, as certbot leaves them.
struct Issued {
    fullchain: String,
    key: String,
}

fn issued() -> Issued {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &authority.0).unwrap().pem();
    Issued { fullchain: leaf + &authority.0.pem(), key: key.serialize_pem() }
}

/// Writes the two files, and returns their paths.
fn written(directory: &Directory, issued: &Issued) -> [std::path::PathBuf; 2] {
    let paths = ["fullchain.pem", "privkey.pem"].map(|name| directory.0.join(name));
    fs::write(&paths[0], &issued.fullchain).unwrap();
    write_private(&paths[1], &issued.key);
    paths
}

#[test]
fn a_chain_and_its_key_are_loaded_from_two_files_or_one() {
    let directory = Directory::new("two-files");
    let issued = issued();
    let [chain, key] = written(&directory, &issued);
    let identity = Identity::from_files(&chain, &key).unwrap();
    assert_eq!(identity.chain().len(), 2);
    assert_eq!(identity.certificate_pem(), issued.fullchain.replace("\r\n", "\n"));
    let both = directory.0.join("both.pem");
    write_private(&both, &(issued.fullchain + &issued.key));
    assert_eq!(Identity::from_files(&both, &both).unwrap().chain(), identity.chain());
    assert_eq!(roots_from_file(&chain).unwrap().len(), 2);
}

#[test]
fn an_identity_in_files_uses_the_provider_that_is_given() {
    let directory = Directory::new("provider");
    let [chain, key] = written(&directory, &issued());
    let own = Arc::new((*provider()).clone());
    let identity = Identity::from_files_with_provider(&chain, &key, Arc::clone(&own)).unwrap();
    let server = ServerTls::new(identity).unwrap();
    assert!(Arc::ptr_eq(server.config().crypto_provider(), &own));
}

/// Every fault, and the file that it names.
#[test]
fn a_file_that_cannot_be_loaded_is_named_with_its_fault() {
    let directory = Directory::new("faults");
    let [chain, key] = written(&directory, &issued());
    let other = issued();
    let text = fs::read_to_string(&chain).unwrap();
    let lines = text.lines().count();

    let error = Identity::from_files(&key, &key).unwrap_err();
    assert_says(&error, &["privkey.pem", "a certificate chain", "only a private key"]);
    let error = Identity::from_files(&chain, &chain).unwrap_err();
    // The file of a chain is for everybody to read.
    #[cfg(unix)]
    assert!(matches!(error, TlsError::KeyExposed { .. }), "{error}");
    assert_says(&error, &["fullchain.pem"]);

    fs::write(&chain, format!("{text}{}", text.replace("\nMII", "\nM!I"))).unwrap();
    let line = format!("line {}", lines + 1);
    let error = Identity::from_files(&chain, &key).unwrap_err();
    assert_says(&error, &["fullchain.pem", &line, "not Base64"]);
    let error = roots_from_file(&chain).unwrap_err();
    assert_says(&error, &["fullchain.pem", &line, "root certificates"]);

    // In the middle of a renewal.
    fs::write(&chain, &other.fullchain).unwrap();
    let error = Identity::from_files(&chain, &key).unwrap_err();
    let TlsError::Content { error: mismatch, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**mismatch, TlsError::KeyMismatch { .. }), "{error}");
    assert_says(&error, &["privkey.pem", "does not belong"]);
    write_private(&key, &other.key);
    Identity::from_files(&chain, &key).unwrap();

    let missing = directory.0.join("missing.pem");
    for error in [
        Identity::from_files(&missing, &key).unwrap_err(),
        Identity::from_files(&chain, &missing).unwrap_err(),
        roots_from_file(&missing).unwrap_err(),
    ] {
        assert!(matches!(error, TlsError::File { action: "read", .. }), "{error:?}");
        assert_says(&error, &["cannot read", "missing.pem"]);
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_all_users_may_access_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = Directory::new("exposed-key");
    let [chain, key] = written(&directory, &issued());
    for mode in [0o644, 0o602, 0o601] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let error = Identity::from_files(&chain, &key).unwrap_err();
        assert_eq!(error, TlsError::KeyExposed { path: key.clone(), mode });
        assert_says(&error, &["privkey.pem", &format!("mode {mode:04o}"), "chmod 640"]);
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    Identity::from_files(&chain, &key).unwrap();
}

#[test]
fn a_saved_identity_replaces_the_former_one_and_is_private() {
    let directory = Directory::new("saved");
    let path = directory.0.join("agent.pem");
    // A file that was there, with rights that are too wide.
    fs::write(&path, "something else").unwrap();
    for _ in 0..2 {
        let pem = Identity::generate_pem(["agent.example"]).unwrap();
        pem.save(&path).unwrap();
        let loaded = Identity::from_files(&path, &path).unwrap();
        assert_eq!(loaded.fingerprint(), pem.identity().unwrap().fingerprint());
        let kept = Identity::load_or_create(&path, ["agent.example"]).unwrap();
        assert_eq!(kept.fingerprint(), loaded.fingerprint());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        }
        // No draft is left.
        assert_eq!(directory.names(), ["agent.pem"]);
    }
    let pem = Identity::generate_pem(["agent.example"]).unwrap();
    let error = pem.save(directory.0.join("missing").join("agent.pem")).unwrap_err();
    assert!(matches!(error, TlsError::File { action: "write", .. }), "{error:?}");
    assert_says(&error, &["cannot write", "existing directory"]);
}
