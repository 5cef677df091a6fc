//! The differences between the two roles in these tests.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use pool_driver::shared::Attempt;
use pool_proto::{
    Accepting, Acquirer, Client, ClientConfig, ConnId, Dialing, IdExchange, Instant, Machine, Role,
    Server, ServerConfig,
};

use super::{Fake, Rig, secs};

/// The settings of tests, for both roles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) capacity: u32,
    pub(crate) max_connections: u32,
    pub(crate) max_waiters: u32,
    pub(crate) reuse_delay: Duration,
    pub(crate) max_lifetime: Duration,
    pub(crate) claim_timeout: Duration,
    /// Server.
    pub(crate) acquirer: Acquirer,
    /// Client: whether the peer sends ids.
    pub(crate) ids: bool,
}

impl Plan {
    /// A pool of at most one connection.
    pub(crate) const ONE: Self = Self::of(1);

    /// A pool of at most `capacity` connections.
    pub(crate) const fn of(capacity: u32) -> Self {
        Self {
            capacity,
            max_connections: capacity,
            max_waiters: 1000,
            reuse_delay: Duration::ZERO,
            max_lifetime: secs(3600),
            claim_timeout: secs(30),
            acquirer: Acquirer::Either,
            ids: true,
        }
    }
}

/// An attempt in flight: a dial, or the handshake of an admitted peer.
pub(crate) struct InFlight<R: Side> {
    pub(crate) attempt: Attempt<Fake, R>,
    /// The id of its future connection.
    pub(crate) id: ConnId,
}

/// A role under test.
pub(crate) trait Side: Role {
    const NAME: &'static str;
    /// Whether the peer sends the id.
    const SENDS_ID: bool;

    fn machine(plan: Plan) -> Machine<Fake, Self>;

    /// Begins an attempt; returns `None` if the pool admits or dials none now.
    fn try_begin(rig: &mut Rig<Self>) -> Option<InFlight<Self>>;
}

impl Side for Dialing {
    const NAME: &'static str = "client";
    const SENDS_ID: bool = true;

    fn machine(plan: Plan) -> Machine<Fake, Self> {
        let ids = if plan.ids { IdExchange::default() } else { IdExchange::None };
        let config = ClientConfig::builder()
            .seed(1)
            .ids(ids)
            .capacity(plan.capacity..=plan.capacity)
            .max_connections(plan.max_connections)
            .max_waiters(plan.max_waiters)
            .reuse_delay(plan.reuse_delay)
            .claim_timeout(plan.claim_timeout)
            .max_lifetime(plan.max_lifetime)
            .lifetime_jitter(0.0)
            .build();
        Client::new(&config.unwrap(), Instant::EPOCH)
    }

    /// Takes the oldest dial command.
    fn try_begin(rig: &mut Rig<Self>) -> Option<InFlight<Self>> {
        rig.turn();
        let attempt = rig.dials.pop_front()?;
        Some(InFlight { attempt, id: rig.new_id() })
    }
}

impl Side for Accepting {
    const NAME: &'static str = "server";
    const SENDS_ID: bool = false;

    fn machine(plan: Plan) -> Machine<Fake, Self> {
        let config = ServerConfig::builder()
            .seed(1)
            .acquirer(plan.acquirer)
            .capacity(plan.capacity)
            .max_connections(plan.max_connections)
            .max_waiters(plan.max_waiters)
            .reuse_delay(plan.reuse_delay)
            .claim_timeout(plan.claim_timeout)
            .max_lifetime(plan.max_lifetime)
            .lifetime_jitter(0.0)
            .build();
        Server::new(&config.unwrap(), Instant::EPOCH)
    }

    fn try_begin(rig: &mut Rig<Self>) -> Option<InFlight<Self>> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let token = rig.shared.run(|machine, now| machine.accept(now, address)).ok()?;
        let mut attempt = Attempt::handshake(&rig.shared, token);
        let id = attempt.admit(None).ok()?;
        Some(InFlight { attempt, id })
    }
}
