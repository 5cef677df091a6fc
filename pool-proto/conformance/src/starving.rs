//! A server that runs out of descriptors, in a child process: in this process, all other scenarios
//! would run out of them too.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::ends::server_config;
use super::log;
use super::prelude::*;
use pool_driver::tls::TlsMode;

/// The variable that tells the child process which pair of adapters to run.
const CHILD: &str = "POOL_CONFORMANCE_STARVES";

fn pair(ends: &Ends) -> String {
    format!("{}, {}", ends.client.name(), ends.server.name())
}

/// Runs the server in the child process, where it reports its progress on standard output; returns
/// whether this process is a child.
pub(super) fn starves(ends: &Ends) -> bool {
    let Some(wanted) = std::env::var_os(CHILD) else { return false };
    if wanted == *pair(ends) {
        log::begin();
        let server = ends.serve(TlsMode::None, server_config());
        let told = || {
            let lines = log::of(server.address(), "server").into_iter();
            lines.filter(|line| line.message == "accepting again").collect::<Vec<_>>()
        };
        println!("address {}", server.address());
        let accept = |failure: &Option<_>| {
            failure.as_deref().is_some_and(|text: &str| text.contains("accept"))
        };
        eventually(|| server.last_failure(), accept);
        assert!(told().is_empty(), "{:#?}", told());
        println!("starving");
        // The peers leave, and new ones can connect again.
        eventually(|| server.stats(), |stats| stats.idle == 0);
        println!("empty");
        eventually(|| server.stats(), |stats| stats.idle == 1);
        let [again, ..] = &told()[..] else { panic!("“accepting again” was not told") };
        assert!(again.number("failures") > 0, "{again:?}");
        println!("served");
    }
    true
}

/// The child process, and the lines that it prints.
pub(super) struct Starving {
    pub(super) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Starving {
    /// Starts this program again, limited to `descriptors` descriptors.
    ///
    /// Only an exclusive scenario may call this: from its fork to its exec, the child holds all
    /// descriptors of this process, and keeps alive the sockets that other scenarios close
    /// meanwhile.
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

    /// Waits for a line that begins with `word`, and returns the rest of it.
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
        // Both fail if the child has already exited; it is still running if its scenario has
        // failed.
        drop((self.child.kill(), self.child.wait()));
    }
}
