//! A server without descriptors, in a process of its own, because there all else would fail too.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::ends::server_config;
use super::prelude::*;
use pool_driver::tls::TlsMode;

/// Tells the child which pair of adapters it is to starve.
const CHILD: &str = "POOL_CONFORMANCE_STARVES";

fn pair(ends: &Ends) -> String {
    format!("{}, {}", ends.client.name(), ends.server.name())
}

/// In the child, and only there, a server runs out of descriptors and tells what happens.
pub(super) fn starves(ends: &Ends) -> bool {
    let Some(wanted) = std::env::var_os(CHILD) else { return false };
    if wanted == *pair(ends) {
        let server = ends.serve(TlsMode::None, server_config());
        println!("address {}", server.address());
        let accept =
            |told: &Option<_>| told.as_deref().is_some_and(|text: &str| text.contains("accept"));
        eventually(|| server.last_failure(), accept);
        println!("starving");
        // The peers leave, and everybody can connect again.
        eventually(|| server.stats(), |stats| stats.idle == 0);
        println!("empty");
        eventually(|| server.stats(), |stats| stats.idle == 1);
        println!("served");
    }
    true
}

/// The child, and what it tells.
pub(super) struct Starving {
    pub(super) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Starving {
    /// Starts this program once more, with so few descriptors.
    pub(super) fn start(ends: &Ends, descriptors: usize) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\"")])
            .arg(std::env::current_exe().unwrap())
            .env(CHILD, pair(ends))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a line that begins like this, and returns the rest of it.
    pub(super) fn says(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.next().unwrap().unwrap();
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Starving {
    fn drop(&mut self) {
        // It has ended by itself, or its scenario has failed.
        drop((self.child.kill(), self.child.wait()));
    }
}
