//! Drives a client's and a server's machine in one event loop: one thread, one `mio::Poll`, many
//! connections at the same time, over non-blocking sockets on loopback, without an adapter or an
//! executor. The loop waits in one place, until a socket is ready or a deadline has come. (`by_hand.rs`
//! does one thing after the other, over blocking sockets.)
//!
//! `cargo run -p pool-proto --example event_loop`

mod end;
mod talk;

use std::error::Error;
use std::io::ErrorKind;
use std::sync::LazyLock;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll};
use pool_proto::{
    Accepting, Client, ClientConfig, Dialing, Event, Instant, Server, ServerConfig, Stock,
};

use crate::end::{End, Side};
use crate::talk::LENGTH;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Returns the time by a monotonic clock. The machine never reads a clock; its driver does.
#[expect(clippy::disallowed_methods, reason = "the one clock of this driver")]
fn now() -> Instant {
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::EPOCH + START.elapsed()
}

/// The time at which the example gives up, so that a bug cannot make it hang.
const LIMIT: Instant = Instant::from_nanos(10_000_000_000);

/// The name of the listener's events. Names of connections count from zero.
const LISTENER: mio::Token = mio::Token(usize::MAX);

/// The maximum of the client's capacity, and of its connections.
const MOST: u32 = 4;

/// The number of requests. The first is made before there is a connection, the others together.
const REQUESTS: u32 = 7;

/// The event that the example waits for.
#[derive(Debug)]
enum Scene {
    /// The first request is over.
    First,
    /// The client has all connections allowed.
    Full,
    /// All requests are over, and both ends have the same connections.
    Busy,
    /// The connections that the server has cleaned away are replaced.
    Cleaned {
        connections: u32,
    },
    /// The server has noticed that the client has closed.
    Closing,
    Over,
}

struct Loop {
    client: End<Dialing>,
    server: End<Accepting>,
    listener: Option<TcpListener>,
    scene: Scene,
    peak: u32,
}

/// Returns secret bytes, from which a machine derives ids, jitter and hash keys: it has no randomness of
/// its own.
fn entropy() -> Outcome<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn main() -> Outcome {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;

    let client = ClientConfig::builder().capacity(2..=MOST).max_connections(MOST).build()?;
    let client = client.or_entropy(entropy()?);
    // Connections that were put back rest for a moment, so there are deadlines to wait for.
    let server = ServerConfig::builder().reuse_delay(Duration::from_millis(20)).build()?;
    let server = server.or_entropy(entropy()?);
    let (client, server) = (Client::new(&client, now()), Server::new(&server, now()));
    let mut all = Loop {
        client: End::new(Side::Client, client, poll.registry().try_clone()?, address),
        server: End::new(Side::Server, server, poll.registry().try_clone()?, address),
        listener: Some(listener),
        scene: Scene::First,
        peak: 0,
    };
    println!("-- request 0: no client has connected yet, so the server waits");
    all.acquire(0)?;
    // The machine asked for the first dials when it was created.
    all.client.carry_out()?;

    let mut events = Events::with_capacity(64);
    while !matches!(all.scene, Scene::Over) {
        if now() >= LIMIT {
            return Err(all.stuck().into());
        }
        let due = [all.client.machine.poll_timeout(), all.server.machine.poll_timeout()];
        let due = due.into_iter().flatten().fold(LIMIT, Instant::min);
        match poll.poll(&mut events, Some(due.since(now()))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            // An interruption brings no events, but a deadline may have come.
            Err(_) | Ok(()) => {}
        }
        for event in &events {
            match Side::of(event.token()) {
                _ if event.token() == LISTENER => all.accept()?,
                (Side::Client, slot) => all.client.ready(slot, event)?,
                (Side::Server, slot) => all.server.ready(slot, event)?,
            }
        }
        all.client.handle_timeout()?;
        all.server.handle_timeout()?;
        all.proceed()?;
    }
    all.verify()
}

impl Loop {
    /// Accepts until the queue is empty, because an edge is reported only once.
    fn accept(&mut self) -> Outcome {
        while let Some(listener) = &self.listener {
            match listener.accept() {
                Ok((stream, peer)) => self.server.accept(stream, peer.ip())?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Has the server acquire any connection for a request.
    fn acquire(&mut self, request: u32) -> Outcome {
        let answer = self.server.machine.acquire(now());
        self.server.take(request, answer)
    }

    /// Starts the requests that have a connection, and then the next scene, until nothing more
    /// follows.
    fn proceed(&mut self) -> Outcome {
        loop {
            // Connections that both ends have leased.
            let (client, server) = (self.client.machine.stats(), self.server.machine.stats());
            self.peak = self.peak.max(client.leased.min(server.leased));
            if let Some((request, lease)) = self.server.taken.pop_front() {
                let id = lease.id;
                println!("server: request {request} goes over {id}; the client is told the id");
                let mut bytes = vec![0; LENGTH];
                fastrand::Rng::with_seed(request.into()).fill(&mut bytes);
                self.server.begin(request, lease, Some(bytes))?;
                // The user's own channel, over which ids are told, is a call here.
                let answer = self.client.machine.acquire_by_id(now(), id);
                self.client.take(request, answer)?;
            } else if let Some((request, lease)) = self.client.taken.pop_front() {
                println!("client: request {request} has {}", lease.id);
                self.client.begin(request, lease, None)?;
            } else if !self.next_scene()? {
                return Ok(());
            }
        }
    }

    /// Begins the next scene when its time has come. It does not wait.
    fn next_scene(&mut self) -> Outcome<bool> {
        let (client, server) = (self.client.machine.stats(), self.server.machine.stats());
        let over = self.client.over.min(self.server.over);
        // An end that has not yet noticed the close of a connection counts one more.
        let agreed = client.dialing + client.handshaking == 0 && client.idle == server.idle;
        self.scene = match self.scene {
            Scene::First if over == 1 => {
                println!("-- the client waits for {MOST} ready connections");
                let stock = self.client.machine.wait_ready(now(), MOST);
                self.client.stocked = stock == Stock::Ready;
                self.client.carry_out()?;
                Scene::Full
            }
            Scene::Full if self.client.stocked && agreed => {
                println!("-- {} requests at once, for {} connections", REQUESTS - 1, client.idle);
                for request in 1..REQUESTS {
                    self.acquire(request)?;
                }
                Scene::Busy
            }
            Scene::Busy if over == REQUESTS && agreed => {
                println!("-- the server cleans its pool; the client notices, and dials again");
                let connections = self.server.machine.clean(now());
                self.server.carry_out()?;
                Scene::Cleaned { connections }
            }
            Scene::Cleaned { connections } if agreed && client.idle >= 2 => {
                check(connections >= 2, "there were connections to clean")?;
                println!("-- the client closes; the server notices, and closes too");
                self.client.machine.close(now());
                self.client.carry_out()?;
                // Connections that ended in the pool are kept for their ids.
                let noticed = client.totals.peer_closed + u64::from(client.finished);
                let dropped = u64::from(self.server.dropped);
                check(
                    noticed == dropped + u64::from(connections),
                    "the client noticed every close",
                )?;
                Scene::Closing
            }
            Scene::Closing if server.idle == 0 => {
                self.listener = None;
                self.server.handle_event(Event::AcceptEnded)?;
                self.server.machine.close(now());
                self.server.carry_out()?;
                Scene::Over
            }
            _ => return Ok(false),
        };
        Ok(true)
    }

    /// Verifies the claims of this example at its end.
    fn verify(&self) -> Outcome {
        println!("-- everything has ended; requests at the same time: {}", self.peak);
        self.client.verify()?;
        self.server.verify()?;
        check(self.peak == MOST, "the requests shared the loop")?;
        check(self.client.queued > 0, "an id was requested before it had come")?;
        let reused = self.server.machine.stats().totals.reused;
        check(reused > 0, "connections that were put back were acquired again")?;
        check(self.server.deadlines > 0, "deadlines of a machine came")?;
        println!("event_loop: ok");
        Ok(())
    }

    fn stuck(&self) -> String {
        let (client, server) = (&self.client.machine, &self.server.machine);
        format!("stuck in {:?}: client {client:?}, server {server:?}", self.scene)
    }
}

fn check(holds: bool, claim: &str) -> Outcome {
    println!("check:  {claim}: {holds}");
    holds.then_some(()).ok_or_else(|| claim.into())
}
