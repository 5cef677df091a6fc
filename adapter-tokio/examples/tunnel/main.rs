//! A tunnel in two terminals: `tunnel server` stands on a public host, `tunnel agent` behind NAT, and
//! visitors of the server reach a service beside the agent. `README.md` in this folder has the commands.
//!
//! The agent's pool dials the server and keeps connections ready. The server acquires one for each
//! visitor, and the agent accepts what the server has begun to use. So there is no control channel.
//! Every connection carries one visitor, and is closed afterwards.

mod agent;
mod config;
mod keys;
mod relay;
mod server;
mod signals;
mod web;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Runtime;
use tracing::error;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// A tunnel to a service behind NAT
#[derive(Parser)]
#[command(name = "tunnel")]
enum Command {
    /// Makes identities, and a file of settings for each end
    Keys {
        /// The folder for the files; those that are there stay
        folder: PathBuf,
        /// The names of the agents
        #[arg(default_value = "agent")]
        agents: Vec<String>,
    },
    /// Runs the public end: serves visitors through the agents that connect
    Server { settings: PathBuf },
    /// Runs the end behind NAT: connects to the server, and to the service for each visitor
    Agent { settings: PathBuf },
}

pub(crate) fn main() -> ExitCode {
    let command = Command::parse();
    // At this level, the pools tell when their peer fails and recovers, and how to mend it.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            error!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome {
    let runtime = Runtime::new()?;
    match command {
        Command::Keys { folder, agents } => keys::make(&folder, &agents),
        Command::Server { settings } => runtime.block_on(server::run(&settings)),
        Command::Agent { settings } => runtime.block_on(agent::run(&settings)),
    }
}
