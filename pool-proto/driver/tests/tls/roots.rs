//! Roots that come with the system, or with the program.

use super::*;

#[cfg(feature = "webpki-roots")]
#[test]
fn the_roots_of_mozilla_are_many_and_verify() {
    let roots = pool_driver::tls::webpki_roots();
    assert!(roots.len() > 50, "{}", roots.len());
    let client = ClientTls::verified("localhost", roots).unwrap();
    assert!(client.authenticates_server());
    // Nobody of this test is among them.
    let server = ServerTls::self_signed().unwrap();
    let expected = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!(*shake(&client, &server).client_error(), expected);
}

/// The environment can be set only for another process: this test, once more.
#[cfg(all(feature = "native-roots", unix, not(target_os = "macos")))]
#[test]
fn the_roots_of_the_system_are_loaded_and_their_absence_is_an_error() {
    use std::process::Command;
    use std::{env, fs, str};

    use pool_driver::tls::native_roots;

    const CHILD: &str = "POOL_TEST_ROOTS";
    const NAME: &str = "roots::the_roots_of_the_system_are_loaded_and_their_absence_is_an_error";
    match env::var(CHILD).as_deref() {
        Ok("one") => {
            assert_eq!(native_roots().unwrap().len(), 1);
            return;
        }
        Ok(_) => {
            let error = native_roots().unwrap_err();
            assert!(matches!(error, TlsError::NativeRoots { .. }), "{error:?}");
            assert_says(&error, &["ca-certificates", "SSL_CERT_FILE", "webpki_roots"]);
            return;
        }
        Err(_) => {}
    }
    let directory = files::Directory::new("native-roots");
    let path = directory.0.join("roots.pem");
    let root = Identity::self_signed(["localhost"]).unwrap().certificate_pem();
    for (case, content) in [("one", root.as_str()), ("none", "")] {
        fs::write(&path, content).unwrap();
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", NAME]).env(CHILD, case).env_remove("SSL_CERT_DIR");
        let output = child.env("SSL_CERT_FILE", &path).output().unwrap();
        let text = str::from_utf8(&output.stdout).unwrap();
        assert!(output.status.success() && text.contains("1 passed"), "{case}: {text}");
    }
}
