//! Users at both ends: one acquires any connection and tells its id to the other, and they talk.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
use pool_driver::exports::{ConnId, Revoked};

use crate::ends::Ends;
use crate::engine::{Purpose, Side, Sim};
use crate::network::SocketId;
use crate::stream::PooledStream;

/// The way a visit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Both ends put the connection back, the peer first.
    Put,
    /// The acquirer drops it after the talk; the peer puts it back.
    Drop,
    /// The acquirer closes it in good order; the peer reads the end.
    Close,
    /// The peer drops it, and the acquirer puts it back when it is told, perhaps before the end arrives.
    PeerDrops,
    /// The acquirer drops it without a word.
    Silent,
}

/// A visit: everything that the two users agree on.
#[derive(Clone, Debug)]
struct Visit {
    number: u64,
    by: Side,
    /// The turns: who speaks, and how many bytes.
    turns: Vec<(Side, usize)>,
    ending: Ending,
    /// The peer does not answer before the acquirer has lost its patience.
    dawdles: bool,
    /// Nothing may fail.
    strict: bool,
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server | Side::Stranger => Side::Client,
    }
}

impl Visit {
    fn new(sim: &Sim, number: u64, by: Side, strict: bool) -> Self {
        sim.with(|state| {
            let (rng, most) = (&mut state.rng, state.options.message);
            let count = rng.usize(1..=4);
            // The acquirer speaks first: its peer is told by the first bytes, or by the id.
            let turns = (0..count).map(|turn| {
                let from = if turn % 2 == 0 { by } else { other(by) };
                (from, rng.usize(1..=most))
            });
            let turns = turns.collect();
            let ending = match rng.u32(..if strict { 6 } else { 10 }) {
                0..=3 => Ending::Put,
                4 => Ending::Drop,
                5 | 6 => Ending::Close,
                7 => Ending::PeerDrops,
                _ => Ending::Silent,
            };
            let dawdles = !strict && rng.u32(..12) == 0;
            Self { number, by, turns, ending, dawdles, strict }
        })
    }

    /// Byte number `at` of a turn.
    fn byte(&self, turn: usize, at: usize) -> u8 {
        let mixed =
            (self.number.wrapping_mul(31) + turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ at as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed.to_be_bytes()[1]
    }

    fn bytes(&self, turn: usize, length: usize) -> Vec<u8> {
        (0..length).map(|at| self.byte(turn, at)).collect()
    }
}

/// A user of one side, during a visit.
struct User<'a> {
    sim: &'a Sim,
    visit: &'a Visit,
    side: Side,
}

/// The longest time that a user sleeps during a talk, and a second.
const SLEEPS: Duration = Duration::from_secs(4);

/// The time that a user gives to a talk.
const PATIENCE: Duration = Duration::from_secs(20);

impl User<'_> {
    fn failed(&self, rule: &'static str, seen: impl std::fmt::Display) {
        let Self { sim, visit, side } = self;
        sim.with(|state| {
            state.note(format_args!("visit {} at the {side:?}: {seen}", visit.number));
            if visit.strict {
                let seen = format!("visit {} at the {side:?}: {seen}", visit.number);
                state.violated(rule, seen);
            }
        });
    }

    /// A connection has come into the user's hands.
    fn hold(&self, stream: &PooledStream) {
        let (socket, number, side) = (stream.socket(), self.visit.number, self.side);
        self.sim.with(|state| {
            state.note(format_args!("visit {number} at the {side:?}: connection {socket}"));
            let ended = state.net.socket(socket).map(|known| (known.is_at_end(), known.ended_at));
            let is_held = state.hold(socket);
            if is_held {
                state.violated(
                    "a connection has one holder",
                    format_args!("{socket}, visit {number}"),
                );
            }
            if stream.id() == ConnId::ZERO && state.options.control {
                state.violated(
                    "the control connection is had by its id only",
                    format_args!("{socket}"),
                );
            }
            if side == self.visit.by
                && let Some((true, ended_at)) = ended
            {
                let seen = format!("{socket} to visit {number}; it had ended at {ended_at:?}");
                state.violated("no dead connection is handed out", seen);
            }
        });
    }

    /// The connection leaves the user's hands.
    fn release(&self, stream: &PooledStream) {
        self.sim.with(|state| state.release(stream.socket()));
    }

    async fn talk(&self, stream: &mut PooledStream) -> io::Result<()> {
        for (turn, (from, length)) in self.visit.turns.iter().enumerate() {
            if *from == self.side {
                if self.visit.dawdles && self.side != self.visit.by {
                    self.sim.sleep(PATIENCE + Duration::from_secs(5)).await;
                }
                stream.write_all(&self.visit.bytes(turn, *length)).await?;
                stream.flush().await?;
            } else {
                self.listen(stream, turn, *length).await?;
            }
        }
        Ok(())
    }

    async fn listen(
        &self,
        stream: &mut PooledStream,
        turn: usize,
        length: usize,
    ) -> io::Result<()> {
        let (delay, size) = self.sim.with(|state| {
            let late = state.rng.u32(..10) == 0;
            let delay = if late { state.rng.u64(..3_000) } else { 0 };
            (Duration::from_millis(delay), state.rng.usize(1..=8_192))
        });
        if !delay.is_zero() {
            self.sim.sleep(delay).await;
        }
        let mut buffer = vec![0; size];
        let mut at = 0;
        while at < length {
            let room = size.min(length - at);
            let count = stream.read(buffer.get_mut(..room).unwrap_or_default()).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for byte in buffer.iter().take(count) {
                if *byte != self.visit.byte(turn, at) {
                    let seen = format!("visit {}, turn {turn}, byte {at}", self.visit.number);
                    self.sim.violated("bytes arrive as they were sent", seen);
                    return Err(io::ErrorKind::InvalidData.into());
                }
                at += 1;
            }
        }
        Ok(())
    }

    /// Talks, up to the end of the user's patience.
    async fn converse(&self, stream: &mut PooledStream) -> bool {
        let began = self.sim.now();
        match in_time(self.sim, PATIENCE, self.talk(stream)).await {
            Ok(()) => true,
            Err(error) => {
                let (now, flushed) =
                    self.sim.with(|state| (state.now(), state.flushed.get(&self.side).copied()));
                let sleeps = self.visit.dawdles && self.side != self.visit.by;
                if let Some(flushed) = flushed.filter(|flushed| *flushed > began && !sleeps) {
                    let number = self.visit.number;
                    if now.since(flushed) > SLEEPS {
                        let seen = format!("visit {number} has waited since {flushed:?}");
                        self.sim.violated("a flush ends the calls of holders", seen);
                    } else if !error.get_ref().is_some_and(|cause| cause.is::<Revoked>()) {
                        let seen = format!("visit {number} is told: {error}");
                        self.sim.violated("a flush is the reason that holders are told", seen);
                    }
                }
                self.failed(
                    "a talk succeeds without faults",
                    format_args!("the talk failed: {error}"),
                );
                false
            }
        }
    }

    async fn close(&self, stream: &mut PooledStream) {
        if let Err(error) = stream.close().await {
            let seen = format_args!("the close failed: {error}");
            self.failed("a talk succeeds without faults", seen);
        }
    }

    /// Reads to the end, which the peer has announced.
    async fn read_end(&self, stream: &mut PooledStream) {
        let mut rest = [0; 16];
        match in_time(self.sim, PATIENCE, stream.read(&mut rest)).await {
            Ok(0) => {}
            Ok(count) => {
                self.failed("an end is an end", format_args!("{count} bytes behind the talk"));
            }
            Err(error) => self.failed("an end is an end", format_args!("no end: {error}")),
        }
    }
}

/// Waits for `call`, and fails with [`TimedOut`](io::ErrorKind::TimedOut) if it takes longer.
pub(crate) async fn in_time<T>(
    sim: &Sim,
    time: Duration,
    call: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    sim.within(time, call).await.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

/// A user of `by` acquires a connection, tells the other end, and talks.
pub async fn visit(sim: Sim, ends: Arc<Ends>, number: u64, by: Side, strict: bool) {
    let Some(end) = ends.get(by) else { return };
    let visit = Visit::new(&sim, number, by, strict);
    let user = User { sim: &sim, visit: &visit, side: by };
    let (timeout, cancelled) = sim.with(|state| {
        let trip = state.options.trip;
        let cancelled =
            (!strict && state.rng.u32(..8) == 0).then(|| trip.mul_f64(3.0 * state.rng.f64()));
        (Duration::from_millis(if strict { 30_000 } else { state.rng.u64(..10_000) }), cancelled)
    });
    let began = sim.now();
    let acquired = match cancelled {
        Some(after) => sim.within(after, end.acquire(timeout)).await,
        None => Some(end.acquire(timeout).await),
    };
    let took = sim.now().since(began);
    if took > timeout + Duration::from_millis(100) {
        sim.violated("an acquire ends at its deadline", format_args!("{took:?}, not {timeout:?}"));
    }
    let mut stream = match acquired {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => return user.failed("users are served without faults", error),
        None => return,
    };
    user.hold(&stream);
    let peers = peer_of(&sim, stream.socket());
    let (tell, told) = async_channel::bounded(1);
    if visit.ending != Ending::Silent {
        let mate = mate(sim.clone(), ends, visit.clone(), stream.id(), peers, tell);
        sim.spawn(other(by), Purpose::User, mate).detach();
    }
    let went_well = visit.ending != Ending::Silent && user.converse(&mut stream).await;
    match visit.ending {
        Ending::Put | Ending::PeerDrops if went_well => {
            let put = sim.within(PATIENCE, told.recv()).await;
            user.release(&stream);
            if put.is_some_and(|told| told.is_ok()) {
                end.put(stream);
            }
        }
        Ending::Close if went_well => {
            user.close(&mut stream).await;
            user.read_end(&mut stream).await;
            user.release(&stream);
        }
        _ => user.release(&stream),
    }
}

fn peer_of(sim: &Sim, socket: SocketId) -> Option<SocketId> {
    sim.with(|state| state.net.socket(socket).map(|socket| socket.peer))
}

/// The user of the other end: it is told the id.
async fn mate(
    sim: Sim,
    ends: Arc<Ends>,
    visit: Visit,
    id: ConnId,
    socket: Option<SocketId>,
    tell: async_channel::Sender<()>,
) {
    let side = other(visit.by);
    let user = User { sim: &sim, visit: &visit, side };
    let trip = control_trip(&sim);
    sim.sleep(trip).await;
    let Some(end) = ends.get(side) else { return };
    let mut stream = match end.acquire_by_id(id, Duration::from_secs(10)).await {
        Ok(stream) => stream,
        Err(error) => return user.failed("users are served without faults", error),
    };
    user.hold(&stream);
    if Some(stream.socket()) != socket {
        let seen = format!("{}, not {socket:?}, for {id}", stream.socket());
        sim.violated("an id names one connection", seen);
    }
    let went_well = user.converse(&mut stream).await;
    match visit.ending {
        Ending::Put | Ending::Drop | Ending::PeerDrops if went_well => {
            user.release(&stream);
            if visit.ending == Ending::PeerDrops {
                drop(stream);
            } else {
                end.put(stream);
            }
            let trip = control_trip(&sim);
            sim.sleep(trip).await;
            // Nobody listens when the acquirer has given up.
            let _ = tell.send(()).await;
        }
        Ending::Close if went_well => {
            user.read_end(&mut stream).await;
            user.close(&mut stream).await;
            user.release(&stream);
        }
        _ => user.release(&stream),
    }
}

/// A trip through the control channel of the users.
fn control_trip(sim: &Sim) -> Duration {
    sim.with(|state| {
        let trip = state.options.trip;
        trip + state.options.jitter.mul_f64(state.rng.f64())
    })
}
