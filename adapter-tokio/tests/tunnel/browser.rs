//! The pages of the tunnel, as a browser shows them.

use std::env;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// The program, and the package of Debian.
const BROWSER: &str = "chromium";

/// The longest time of a page, with the first start of a browser on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether a test that needs a browser is skipped. Where `CI=true`, it fails instead.
pub(crate) fn is_missing() -> bool {
    let is_ci = env::var("CI").is_ok_and(|ci| ci == "true");
    let path = env::var_os("PATH").unwrap_or_default();
    !is_ci && !env::split_paths(&path).any(|folder| folder.join(BROWSER).is_file())
}

/// Returns the document that the browser has made of a page. The browser's files are in `folder`.
#[track_caller]
pub(crate) fn document(address: &str, folder: &Path) -> String {
    let profile = format!("--user-data-dir={}", folder.display());
    let mut command = Command::new(BROWSER);
    // The sandbox does not work for root, whom containers have. The page is the test's own.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", address]);
    command.arg(profile).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut browser = command.spawn().unwrap_or_else(|error| {
        panic!(
            "{BROWSER} cannot be started: {error}; install it (Debian: `apt-get install {BROWSER}`)"
        )
    });
    let mut output = browser.stdout.take().unwrap();
    let (sender, document) = channel();
    thread::spawn(move || {
        let mut document = String::new();
        // Fails if the test has ended.
        let _ = sender.send(output.read_to_string(&mut document).map(|_| document));
    });
    let document = document.recv_timeout(LIMIT);
    if document.is_err() {
        // The browser has processes of its own, which are in its group.
        let group = format!("-{}", browser.id());
        Command::new("kill").args(["-s", "KILL", "--", &group]).status().unwrap();
    }
    let status = browser.wait().unwrap();
    let document = document.unwrap_or_else(|_| panic!("{BROWSER} shows no page in {LIMIT:?}"));
    assert!(status.success(), "{BROWSER}: {status}");
    document.unwrap()
}
