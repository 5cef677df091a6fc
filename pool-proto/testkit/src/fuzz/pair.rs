//! A client and a server with a network between them that delays, reorders, resets and forges as
//! the bytes say.
//!
//! Whatever happens: the two ends of a connection have the same id (unless it was forged), whoever
//! takes any connection is not given one that the peer is known to have begun to use, no waiter is
//! answered without a wake, and each end of each connection ends exactly once. From the moment the
//! network works again: everybody who waits is served, and the client's stock is full.

mod net;
mod peer;

use pool_proto::{
    Accepting, Admission, Client, ClientConfig, ConnId, Dialing, Instant, Server, ServerConfig,
    Tuning, WaitReason,
};

use super::choices::Choices;
use crate::harness::{ip, ms};
use net::{CLIENT, Net, Packet, Place, SERVER, Side};
use peer::{Peer, Want};

const MOST_STEPS: usize = 500;

/// How long everything may take to be well again once the network works: longer than all timeouts
/// and waits that are configured here together.
const RECOVERY_ROUNDS: u32 = 400;

struct World {
    net: Net,
    client: Peer<Dialing>,
    server: Peer<Accepting>,
    tuning: Tuning,
}

/// The bytes: both configurations, then step by step what is delivered, done and lost.
pub fn pair_script(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut world = World::new(&mut choices);
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        world.step(&mut choices);
    }
    if !world.client.machine.is_closed() && !world.server.machine.is_closed() {
        world.recover();
    }
    world.close();
}

impl World {
    fn new(choices: &mut Choices<'_>) -> Self {
        let (min, max) = (choices.within(1, 3), choices.within(3, 6));
        let tuning = choices.of([Tuning::Demand, Tuning::NodePass]);
        let client = ClientConfig::builder()
            .capacity(min..=max)
            .max_dials(choices.within(1, 4))
            .max_connections(max + choices.within(0, 6))
            .max_waiters(choices.within(1, 16))
            .tuning(tuning)
            .interval(ms(100)..=ms(400))
            .reuse_delay(choices.of([ms(0), ms(70)]))
            .idle_timeout(choices.of([None, Some(ms(900))]))
            .max_lifetime(choices.of([None, Some(ms(1500))]))
            .claim_timeout(ms(300))
            .backoff(ms(20), ms(300))
            .seed(choices.byte().into())
            .build()
            .unwrap();
        let server = ServerConfig::builder()
            .capacity(max + choices.within(0, 3))
            .max_waiters(choices.within(1, 16))
            .max_handshakes(match tuning {
                // Its rounds would not make up for what is refused.
                Tuning::NodePass => 6,
                _ => choices.within(1, 6),
            })
            .reuse_delay(choices.of([ms(0), ms(70)]))
            .idle_timeout(choices.of([None, Some(ms(900))]))
            .max_lifetime(choices.of([None, Some(ms(1500))]))
            .claim_timeout(ms(300))
            .seed(choices.byte().into())
            .build()
            .unwrap();
        let mut net = Net::default();
        let mut client = Peer::new(Client::new(&client, Instant::EPOCH), CLIENT);
        let server = Peer::new(Server::new(&server, Instant::EPOCH), SERVER);
        client.settle(&mut net);
        Self { net, client, server, tuning }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(32) {
            0..12 => {
                if let Some((link, side)) = choices.pick(&self.net.busy()) {
                    self.deliver(link, side);
                }
            }
            12..14 => self.deliver_id(choices),
            14 => self.disturb(choices),
            15..18 => {
                self.net.now = self.net.now + choices.span();
                // A timeout may be late, and at one end later than at the other.
                if choices.below(4) > 0 {
                    self.client.timeout(&mut self.net);
                }
                if choices.below(4) > 0 {
                    self.server.timeout(&mut self.net);
                }
            }
            _ if choices.flag() => users(&mut self.server, &mut self.net, choices),
            _ => users(&mut self.client, &mut self.net, choices),
        }
    }

    /// The next packet of a connection arrives at one of its ends.
    fn deliver(&mut self, link: usize, side: Side) {
        let Some(packet) = self.net.links[link].inbox[side].pop_front() else { return };
        match side {
            CLIENT => self.client.arrived(&mut self.net, link, packet),
            _ if packet == Packet::Syn => self.accept(link),
            _ => self.server.arrived(&mut self.net, link, packet),
        }
    }

    fn accept(&mut self, link: usize) {
        // Two sources, so that they make room for each other.
        let address = ip(if link.is_multiple_of(3) { "192.0.2.1" } else { "192.0.2.2" });
        let admission = self.server.machine.admit(self.net.now, address);
        self.net.send(link, CLIENT, Packet::Accepted);
        match admission {
            Ok(Admission { token, id }) => {
                self.net.begin(link, SERVER, token, Place::Handshaking, Some(id));
            }
            Err(_) => self.net.send(link, CLIENT, Packet::Eof),
        }
        self.server.settle(&mut self.net);
    }

    /// An id arrives at a user, who takes the connection with it; not always in the order in which
    /// they were sent.
    fn deliver_id(&mut self, choices: &mut Choices<'_>) {
        let side = choices.of([CLIENT, SERVER]);
        let ids = &mut self.net.control[side];
        if ids.is_empty() {
            return;
        }
        let want = Want::Id(ids.remove(choices.below(ids.len().min(256))));
        match side {
            CLIENT => self.client.acquire(&mut self.net, want),
            _ => self.server.acquire(&mut self.net, want),
        }
    }

    fn disturb(&mut self, choices: &mut Choices<'_>) {
        let (first, count) = (self.net.links.len().saturating_sub(32), self.net.links.len());
        let recent: Vec<usize> = (first..count).collect();
        let Some(link) = choices.pick(&recent) else { return };
        match choices.byte() {
            0..80 => self.net.reset(link),
            80..120 => self.net.forge(link, ConnId::from_bytes(choices.array())),
            120..160 => {
                // The id of another connection.
                let other = choices.pick(&recent).and_then(|other| {
                    self.net.links[other].ends[SERVER].as_ref().and_then(|end| end.id)
                });
                self.net.forge(link, other.unwrap_or(ConnId::ZERO));
            }
            160..180 => drop(self.client.machine.flush(self.net.now)),
            180..200 => drop(self.server.machine.flush(self.net.now)),
            200..220 => drop(self.client.machine.clean(self.net.now)),
            220..240 => drop(self.server.machine.clean(self.net.now)),
            254 => self.client.machine.close(self.net.now),
            255 => self.server.machine.close(self.net.now),
            _ => {}
        }
        self.client.settle(&mut self.net);
        self.server.settle(&mut self.net);
    }

    /// The network works, the drivers answer, and the users are content with whatever they get.
    fn recover(&mut self) {
        for round in 0.. {
            self.calm_down();
            if self.is_well() {
                return;
            }
            assert!(
                round < RECOVERY_ROUNDS,
                "not well again: {:?} {:?}; {:?} {:?}",
                self.client.machine.stats(),
                self.client.waiters,
                self.server.machine.stats(),
                self.server.waiters,
            );
            let next = self.net.now + ms(50);
            let client = self.client.machine.poll_timeout().unwrap_or(next);
            let server = self.server.machine.poll_timeout().unwrap_or(next);
            self.net.now = next.min(client).min(server).max(self.net.now);
            self.client.timeout(&mut self.net);
            self.server.timeout(&mut self.net);
        }
    }

    /// Delivers and answers everything, and ends all use, until nothing is left to do.
    fn calm_down(&mut self) {
        self.net.control = Default::default();
        let mut moved = true;
        while moved {
            moved = content(&mut self.client, &mut self.net);
            moved |= content(&mut self.server, &mut self.net);
            for (link, side) in self.net.busy() {
                self.deliver(link, side);
                moved = true;
            }
        }
        self.net.control = Default::default();
    }

    fn is_well(&self) -> bool {
        let in_vain = |waiter: &peer::Waiter| match waiter.want {
            Want::Any => false,
            // An id that was forged, or whose connection was reset before it came.
            Want::Id(_) => self.client.why(waiter) == Some(WaitReason::IdNotSeen),
            // The reference's capacity does not follow demand.
            Want::Stock => self.tuning == Tuning::NodePass,
        };
        let stats = self.client.machine.stats();
        stats.idle >= stats.capacity
            && self.client.waiters.iter().all(in_vain)
            // More may be waited for there than the client keeps.
            && self.server.waiters.iter().all(|waiter| waiter.want == Want::Stock)
    }

    /// Both pools are closed: every end of every connection comes out, once.
    fn close(&mut self) {
        self.client.machine.close(self.net.now);
        self.client.settle(&mut self.net);
        self.server.machine.close(self.net.now);
        self.server.settle(&mut self.net);
        self.calm_down();
        for (number, link) in self.net.links.iter().enumerate() {
            let ended = |end: &net::End| end.place == Place::Ended;
            assert!(link.ends.iter().flatten().all(ended), "{number}: {:?}", link.ends);
        }
        for (stats, deadline) in [
            (self.client.machine.stats(), self.client.machine.poll_timeout()),
            (self.server.machine.stats(), self.server.machine.poll_timeout()),
        ] {
            let live = stats.dialing + stats.handshaking + stats.idle + stats.claimed;
            assert_eq!((live + stats.leased + stats.returning, stats.waiters), (0, 0));
            assert_eq!(deadline, None);
        }
        assert!(self.client.waiters.is_empty() && self.server.waiters.is_empty());
    }
}

/// What the users and the driver of one end do next.
fn users<R: pool_proto::Role>(peer: &mut Peer<R>, net: &mut Net, choices: &mut Choices<'_>) {
    let (checks, leases, waiters) = (peer.checks.len(), peer.leases.len(), peer.waiters.len());
    match choices.below(16) {
        0..4 => peer.acquire(net, Want::Any),
        4 => peer.wait_ready(net, u32::from(choices.byte() % 8)),
        5..7 if waiters > 0 => peer.collect(net, choices.below(waiters.min(256))),
        7 if waiters > 0 => peer.cancel(net, choices.below(waiters.min(256))),
        8..10 if leases > 0 => peer.exchange(net, choices.below(leases.min(256))),
        10..13 if leases > 0 => {
            let lease = choices.below(leases.min(256));
            peer.put(net, lease, choices.flag());
        }
        13 if leases > 0 => peer.release(net, choices.below(leases.min(256))),
        14..16 if checks > 0 => peer.answer(net, choices.below(checks.min(256))),
        _ => {}
    }
}

/// Answers all checks, collects for whoever was woken, closes all leases. Whether there was any.
fn content<R: pool_proto::Role>(peer: &mut Peer<R>, net: &mut Net) -> bool {
    let mut moved = false;
    while !peer.checks.is_empty() {
        peer.answer(net, 0);
        moved = true;
    }
    while let Some(woken) = peer.waiters.iter().position(|waiter| waiter.woken) {
        peer.collect(net, woken);
        moved = true;
    }
    while !peer.leases.is_empty() {
        peer.release(net, 0);
        moved = true;
    }
    moved
}
