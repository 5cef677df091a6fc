//! A run: a load, the network, and which end takes.

use std::fmt;
use std::str::FromStr;

use crate::load::Load;
use crate::network::Network;
use crate::time::{Nanos, SECOND};

/// The end whose users take *any* connection. They tell its id to the other end, which takes it by the
/// id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// The end that dials.
    Client,
    /// The end that accepts.
    Server,
}

impl fmt::Display for Taker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

impl FromStr for Taker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            _ => Err(format!("{text:?} is not an end; expected client or server")),
        }
    }
}

/// A run.
#[derive(Clone, Copy, Debug)]
pub struct Scenario<'a> {
    /// The arrivals.
    pub load: &'a Load,
    /// The network.
    pub network: Network,
    /// The end that takes any connection.
    pub taker: Taker,
    /// How long a caller waits for a connection.
    pub patience: Nanos,
    /// The share of the run that is not counted at its begin, from 0 up to 1.
    pub warm_up: f64,
    /// The number of clients at the one server, which share the demand evenly.
    pub clients: u32,
    /// Whether the machines are told which end [acquires](pool_proto::Acquirer). Without, both are
    /// left at `Either`.
    pub assigned: bool,
    /// Whether the course of the run is recorded, for a picture.
    pub traced: bool,
}

impl<'a> Scenario<'a> {
    /// Returns a run with the defaults: one client, a patience of 10 s, and a fifth of the run not
    /// counted.
    #[must_use]
    pub const fn new(load: &'a Load, network: Network, taker: Taker) -> Self {
        Self {
            load,
            network,
            taker,
            patience: 10 * SECOND,
            warm_up: 0.2,
            clients: 1,
            assigned: false,
            traced: false,
        }
    }
}
