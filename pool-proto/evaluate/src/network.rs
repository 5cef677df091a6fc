//! The network and the processor between the ends: when a dial gets how far.
//!
//! A connection costs 3.5 round trips from the dial to the id at the client (TCP, TLS 1.3, the id and
//! a margin of half a round trip for scheduling), and a share of a processor:
//!
//! ```text
//! round trips    0      ½        1       1½ ── processor ──        3          3½
//! client         dial            dialed                                       established
//! server                accept           first byte                admitted
//! ```
//!
//! Without TLS it costs one round trip: the server admits as soon as it has accepted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::{MILLISECOND, Nanos, SECOND};

/// The time after which an end notices that the network drops everything on a connection.
pub const KEEP_ALIVE: Nanos = 4 * SECOND;

/// The time after which a TCP sends the first packet of a connection again; it doubles with each
/// repetition (RFC 6298).
const RETRANSMIT: Nanos = SECOND;

/// Delays and costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// A round trip.
    pub rtt: Nanos,
    /// Whether connections do TLS.
    pub tls: bool,
    /// The processors that all handshakes and takes share.
    pub cores: u32,
    /// The processor time of a handshake, of both ends together.
    pub handshake_cost: Nanos,
    /// The processor time of a take, at each end; zero if it takes none.
    pub take_cost: Nanos,
}

impl Network {
    /// Returns a network with TLS, two processors and half a millisecond of them a handshake.
    #[must_use]
    pub const fn new(rtt: Nanos) -> Self {
        Self { rtt, tls: true, cores: 2, handshake_cost: MILLISECOND / 2, take_cost: 0 }
    }

    /// Returns the round trip at which a dial takes this [`lead`](Self::lead).
    #[must_use]
    pub const fn rtt_of(&self, lead: Nanos) -> Nanos {
        let half_trips = if self.tls { 7 } else { 2 };
        lead.saturating_sub(self.handshake_cost) * 2 / half_trips
    }

    /// Returns the time of one way.
    #[must_use]
    pub const fn one_way(&self) -> Nanos {
        self.rtt / 2
    }

    /// Returns the time from the dial until the server's processor begins the handshake.
    #[must_use]
    pub const fn to_processor(&self) -> Nanos {
        if self.tls { self.rtt + self.rtt / 2 } else { self.rtt / 2 }
    }

    /// Returns the time from the end of the processor's work until the server admits the connection.
    #[must_use]
    pub const fn to_admission(&self) -> Nanos {
        if self.tls { self.rtt + self.rtt / 2 } else { 0 }
    }

    /// Returns the time from the dial to the established connection at the client, if a processor is
    /// free.
    #[must_use]
    pub const fn lead(&self) -> Nanos {
        self.to_processor() + self.handshake_cost + self.to_admission() + self.one_way()
    }
}

/// The processors, which do their work in the order in which it comes.
pub(crate) struct Processor {
    /// When each is free.
    free: BinaryHeap<Reverse<Nanos>>,
}

impl Processor {
    pub(crate) fn new(cores: u32) -> Self {
        Self { free: (0..cores.max(1)).map(|_| Reverse(0)).collect() }
    }

    /// Takes in work that comes now, and returns when it is done.
    pub(crate) fn work(&mut self, now: Nanos, cost: Nanos) -> Nanos {
        if cost == 0 {
            return now;
        }
        let begins = self.free.pop().map_or(now, |Reverse(free)| free.max(now));
        let done = begins.saturating_add(cost);
        self.free.push(Reverse(done));
        done
    }
}

/// A time in which no dial succeeds. All connections end at its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Its begin.
    pub from: Nanos,
    /// Its end.
    pub until: Nanos,
    /// The fate of packets.
    pub kind: OutageKind,
}

/// The fate of packets in an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageKind {
    /// They are refused: dials fail after a round trip, and connections end at once.
    Refuse,
    /// They are dropped: dials hang, and connections are found dead after the [`KEEP_ALIVE`].
    Drop,
}

/// The fate of the first packet of a dial.
pub(crate) enum Reach {
    /// It sets out, for the last time, at this time.
    At(Nanos),
    /// The refusal is back at this time.
    RefusedAt(Nanos),
}

impl Outage {
    /// Whether it is under way.
    pub(crate) const fn is_on(&self, now: Nanos) -> bool {
        self.from <= now && now < self.until
    }
}

/// Returns what becomes of a dial that is begun now. In an outage that drops, TCP repeats its first
/// packet until one gets through.
pub(crate) fn reach(outage: Option<Outage>, network: &Network, now: Nanos) -> Reach {
    let Some(outage) = outage.filter(|outage| outage.is_on(now)) else {
        return Reach::At(now);
    };
    if outage.kind == OutageKind::Refuse {
        return Reach::RefusedAt(now + network.rtt);
    }
    let (mut at, mut gap) = (now, RETRANSMIT);
    while outage.is_on(at) {
        at += gap;
        gap *= 2;
    }
    Reach::At(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_time_tells_the_round_trip() {
        for tls in [true, false] {
            let network = Network { tls, ..Network::new(30 * MILLISECOND) };
            assert_eq!(network.rtt_of(network.lead()), network.rtt);
            assert_eq!(network.rtt_of(0), 0);
        }
    }

    #[test]
    fn work_waits_for_a_free_core() {
        let mut processor = Processor::new(2);
        let done: Vec<Nanos> = (0..5).map(|_| processor.work(100, 10)).collect();
        assert_eq!(done, [110, 110, 120, 120, 130]);
        assert_eq!(processor.work(1000, 10), 1010);
        assert_eq!(processor.work(1000, 0), 1000);
    }

    #[test]
    fn a_dropped_dial_is_repeated_after_1_3_and_7_seconds() {
        let outage = Outage { from: 0, until: 5 * SECOND, kind: OutageKind::Drop };
        let at = |now| match reach(Some(outage), &Network::new(0), now) {
            Reach::At(at) => at,
            Reach::RefusedAt(_) => 0,
        };
        assert_eq!(at(SECOND / 2), SECOND / 2 + 7 * SECOND);
        assert_eq!(at(2 * SECOND), 5 * SECOND);
        assert_eq!(at(6 * SECOND), 6 * SECOND);
    }
}
