//! A tunnel in two terminals: `tunnel server` stands on a public host, `tunnel agent` behind NAT,
//! and visitors of the server reach a service beside the agent. `README.md` has the commands.
//!
//! The agent's pool dials the server and keeps connections ready. The server acquires one for each
//! visitor, and the agent accepts the connections that the server has begun to use. So the tunnel
//! needs no control channel. Every connection carries one visitor, and is closed afterwards.

mod agent;
mod config;
mod keys;
mod relay;
mod server;
mod signals;
mod web;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use tokio::runtime::Runtime;
use tracing::error;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage:
  tunnel keys FOLDER [AGENT]...  makes identities and settings of a server and of each agent
  tunnel server SETTINGS         runs the public end
  tunnel agent SETTINGS          runs the end behind NAT";

pub(crate) fn main() -> ExitCode {
    // At this level, the pools log failures and recoveries of their peers, with remedies.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let outcome = run();
    if let Err(why) = &outcome {
        error!("{why}");
    }
    ExitCode::from(u8::from(outcome.is_err()))
}

fn run() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["keys", folder] => keys::make(folder.as_ref(), &["agent"]),
        ["keys", folder, agents @ ..] => keys::make(folder.as_ref(), agents),
        ["server", settings] => Runtime::new()?.block_on(server::run(settings.as_ref())),
        ["agent", settings] => Runtime::new()?.block_on(agent::run(settings.as_ref())),
        _ => Err(USAGE.into()),
    }
}
