//! A scenario in a process of its own, because of its effects on the process.

use std::io;
use std::process::{Command, Output, Stdio};

use super::ends::Ends;

/// The variable that tells the child process which pair of adapters to run.
const CHILD: &str = "POOL_CONFORMANCE_CHILD";

fn pair(ends: &Ends) -> String {
    format!("{}, {}", ends.client.name(), ends.server.name())
}

/// Returns whether this process is a child whose scenario runs on another pair of adapters.
pub(super) fn is_for_another_pair(ends: &Ends) -> bool {
    std::env::var_os(CHILD).is_some_and(|wanted| wanted != *pair(ends))
}

/// Returns whether this process is the child of a scenario.
pub(super) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs `command`, a call of this program, with the arguments that run the scenario `name`
/// (`topic::behaviour`) on this pair of adapters.
///
/// Only an exclusive scenario may call this: from its fork to its exec, the child holds all
/// descriptors of this process, and keeps alive the sockets that other scenarios close meanwhile.
pub(super) fn run_again(command: &mut Command, ends: &Ends, name: &str) -> io::Result<Output> {
    command
        .args(["--exact", name, "--test-threads", "1"])
        .env(CHILD, pair(ends))
        .stdin(Stdio::null())
        .output()
}

/// Runs `act` in a process of its own, which runs the scenario `name` again.
///
/// Only an exclusive scenario may call this, as for [`run_again`].
#[track_caller]
pub(super) fn in_own_process(ends: &Ends, name: &str, act: impl FnOnce()) {
    if is_child() {
        return act();
    }
    let output = run_again(&mut Command::new(std::env::current_exe().unwrap()), ends, name);
    passed(name, &output.unwrap());
}

/// Checks that the scenario `name` has passed in a child process, and prints its measurements.
#[track_caller]
pub(super) fn passed(name: &str, output: &Output) {
    let (printed, complained) = (text(&output.stdout), text(&output.stderr));
    // A name that is not the scenario's would pass with 0 scenarios.
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{name} did not pass in its own process ({}):\n{printed}\n{complained}",
        output.status
    );
    for (_, measured) in printed.lines().filter_map(|line| line.split_once("measured: ")) {
        println!("measured: {measured}");
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
