//! The network between the ends: transports whose segments are delayed, held up, lost or cut off.

use std::collections::VecDeque;
use std::time::Duration;

use pool_proto::{Event, HandshakeFailure, IdReader, Token};

use crate::setup::Side;
use crate::violation::Verdict;
use crate::world::faults::Fault;
use crate::world::{What, World};

/// The stage of an end of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Client: nothing has come back yet.
    Connecting,
    /// Client: it has sent its hello.
    AwaitServerHello,
    /// Client: it has finished, and reads the id.
    AwaitId,
    /// Server.
    AwaitHello,
    /// Server.
    AwaitFinished,
    /// Server: the id is on its way out.
    SendingId,
    /// In the machine's hands, or being looked at for it.
    Pooled,
    /// In the hands of this part of a conversation.
    Leased(u32),
    /// Closed by its owner.
    Closed,
    /// Its host has forgotten it, or it is a stranger's.
    Gone,
}

/// An end of a transport. The machine knows it by its number, as the connection.
pub(crate) struct Endpoint {
    pub(crate) stage: Stage,
    pub(crate) token: Option<Token>,
    /// Arrived and not read.
    pub(crate) inbox: VecDeque<u8>,
    pub(crate) reader: Option<IdReader>,
    /// The peer has closed, or the transport has failed.
    pub(crate) ended: bool,
    /// Whether the machine is to be told of the next arrival.
    pub(crate) watched: bool,
}

pub(crate) struct Transport {
    /// The last arrival towards each side: one direction keeps its order.
    last: [u64; 2],
    /// Towards each side: data that is sent disappears.
    pub(crate) cut: [bool; 2],
    /// Gap between single bytes of the id, where it trickles.
    pub(crate) trickle: Option<Duration>,
    pub(crate) outbox: VecDeque<u8>,
    /// Its ids differ, or both ends have taken it at once: no conversation on it can work.
    pub(crate) spoiled: bool,
    /// The server's sources: the client's host, or strangers'.
    pub(crate) source: u16,
    /// The conversation that has it, by side.
    pub(crate) used_by: [Option<u32>; 2],
    /// By side: whether somebody there has ever acquired it without being told its id.
    pub(crate) acquired: [bool; 2],
    /// No handshake of it will ever be answered.
    pub(crate) endless: bool,
}

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Segment {
    /// The server's host has accepted.
    Accepted,
    /// The server's host has refused.
    Refused,
    Bytes([u8; 16], u8),
    /// The end of the stream, or a reset.
    End,
}

/// The source of the one honest client.
pub(crate) const HOME: u16 = 1;

pub(crate) const fn transport_of(endpoint: u32) -> usize {
    endpoint as usize / 2
}

pub(crate) const fn side_of(endpoint: u32) -> Side {
    if endpoint.is_multiple_of(2) { Side::Client } else { Side::Server }
}

pub(crate) const fn endpoint_of(transport: usize, side: Side) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "no run has a billion transports")]
    let number = transport as u32;
    number * 2 + side as u32
}

impl World {
    /// A new transport, with a client at its one end.
    pub(crate) fn new_transport(
        &mut self,
        source: u16,
        stage: Stage,
        token: Option<Token>,
    ) -> usize {
        let trickles = self.strikes(Fault::Trickle);
        let trickle = trickles.then(|| Duration::from_millis(self.random.u64(1..400)));
        self.transports.push(Transport {
            last: [0; 2],
            cut: [false; 2],
            trickle,
            outbox: VecDeque::new(),
            spoiled: false,
            source,
            used_by: [None; 2],
            acquired: [false; 2],
            endless: false,
        });
        let endpoint = |stage, token| Endpoint {
            stage,
            token,
            inbox: VecDeque::new(),
            reader: None,
            ended: false,
            watched: false,
        };
        self.endpoints.push(endpoint(stage, token));
        self.endpoints.push(endpoint(Stage::Gone, None));
        self.transports.len() - 1
    }

    pub(crate) fn endpoint(&mut self, endpoint: u32) -> &mut Endpoint {
        &mut self.endpoints[endpoint as usize]
    }

    /// How long something takes from one host to the other, now.
    pub(crate) fn travel(&mut self, to: Side) -> u64 {
        let jitter = nanos(self.options.jitter);
        let mut delay = nanos(self.options.delay) + self.random.u64(0..=jitter);
        if !self.faulty {
            return delay;
        }
        if self.strikes(Fault::Delay) {
            delay += self.random.u64(0..3_000_000_000);
        }
        if self.strikes(Fault::Loss) {
            // Sent again after a timeout, which doubles (RFC 6298: 1 s at first, 200 ms in Linux).
            delay += 200_000_000 << self.random.u32(0..5);
        }
        if self.strikes(Fault::Reorder) {
            // Long enough to be overtaken by segments that are sent later on other transports.
            delay += nanos(self.options.delay) + jitter;
        }
        let open = self.partition[to as usize];
        if open > self.now {
            delay += open - self.now;
        }
        delay
    }

    /// Sends towards the other end of `from`.
    pub(crate) fn send(&mut self, from: u32, segment: Segment) {
        let to = side_of(from).other();
        let delay = self.travel(to);
        let (now, number) = (self.now, transport_of(from));
        let transport = &mut self.transports[number];
        if transport.cut[to as usize] {
            return;
        }
        let arrival = (now + delay).max(transport.last[to as usize]);
        transport.last[to as usize] = arrival;
        self.at(arrival, What::Arrive(endpoint_of(number, to), segment));
    }

    pub(crate) fn send_bytes(&mut self, from: u32, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = rest.len().min(16);
            let len = if most > 1 && self.random.u8(..4) == 0 {
                self.random.usize(1..most)
            } else {
                most
            };
            let (now, later) = rest.split_at(len);
            let mut segment = [0; 16];
            segment[..len].copy_from_slice(now);
            #[expect(clippy::cast_possible_truncation, reason = "16 at the most")]
            self.send(from, Segment::Bytes(segment, len as u8));
            rest = later;
        }
    }

    /// Something has come.
    pub(crate) fn arrive(&mut self, at: u32, segment: Segment) -> Verdict {
        let side = side_of(at);
        let end = self.endpoint(at);
        match (end.stage, segment) {
            // A host that knows nothing of it says so.
            (Stage::Closed, Segment::Bytes(..) | Segment::Accepted) => {
                self.send(at, Segment::End);
                return Ok(());
            }
            (Stage::Gone, Segment::Bytes(..) | Segment::Accepted) => {
                // Strangers have hosts of their own, and say nothing.
                let home = self.transports[transport_of(at)].source == HOME;
                if home && self.up[side as usize] {
                    self.send(at, Segment::End);
                }
                return Ok(());
            }
            (Stage::Closed | Stage::Gone, _) => return Ok(()),
            (_, Segment::Accepted) => return self.accepted(at),
            (_, Segment::Refused) => {
                end.stage = Stage::Closed;
                let Some(token) = end.token else { return Ok(()) };
                return self.event(side, Event::DialFailed { token });
            }
            (_, Segment::Bytes(bytes, len)) => end.inbox.extend(&bytes[..len.into()]),
            (_, Segment::End) => end.ended = true,
        }
        if self.endpoint(at).stage == Stage::AwaitId && self.strikes(Fault::Coalesce) {
            let pause = self.random.u64(..200_000_000);
            self.at(self.now + pause, What::Proceed(at));
            return Ok(());
        }
        self.proceed(at)
    }

    /// Processes the bytes that have arrived, as far as the stage allows.
    pub(crate) fn proceed(&mut self, at: u32) -> Verdict {
        match self.endpoint(at).stage {
            Stage::Pooled => self.announce(at),
            Stage::Leased(part) => self.converse(part),
            Stage::Closed | Stage::Gone => Ok(()),
            _ => self.shake_hands(at),
        }
    }

    /// Tells the machine that something has arrived, once.
    pub(crate) fn announce(&mut self, at: u32) -> Verdict {
        let end = self.endpoint(at);
        let Some(token) = end.token.filter(|_| end.watched) else { return Ok(()) };
        end.watched = false;
        if self.strikes(Fault::LateReadable) {
            let late = self.random.u64(..1_000_000_000);
            self.at(self.now + late, What::Announce(at, token));
            return Ok(());
        }
        self.event(side_of(at), Event::Readable { token })
    }

    /// The news of an arrival, after a while.
    pub(crate) fn announce_late(&mut self, at: u32, token: Token) -> Verdict {
        let side = side_of(at);
        // Not after its end: such news are tested for themselves.
        if self.up[side as usize] && self.end(side).state(token).is_some() {
            return self.event(side, Event::Readable { token });
        }
        Ok(())
    }

    /// The owner closes an end.
    pub(crate) fn close_endpoint(&mut self, at: u32) {
        let end = self.endpoint(at);
        if matches!(end.stage, Stage::Closed | Stage::Gone) {
            return;
        }
        let was_open = end.stage != Stage::Connecting;
        end.stage = Stage::Closed;
        (end.inbox, end.reader) = (VecDeque::new(), None);
        if was_open {
            self.send(at, Segment::End);
        }
    }

    /// A handshake has come to nothing on this end.
    pub(crate) fn handshake_failed(&mut self, at: u32, failure: HandshakeFailure) -> Verdict {
        self.close_endpoint(at);
        let Some(token) = self.endpoint(at).token else { return Ok(()) };
        self.event(side_of(at), Event::HandshakeFailed { token, failure })
    }

    /// A transport is reset: both ends learn of it.
    pub(crate) fn reset(&mut self, transport: usize) {
        for side in Side::BOTH {
            let end = endpoint_of(transport, side);
            self.at(self.now, What::Arrive(end, Segment::End));
        }
        self.transports[transport].cut = [true; 2];
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
