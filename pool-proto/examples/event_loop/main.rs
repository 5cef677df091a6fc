//! A client's and a server's machine in one event loop: one thread, one `mio::Poll`, many
//! connections at the same time, over non-blocking sockets on loopback. No adapter, no executor, no
//! feature. All waiting happens in one place, until a socket is ready or a deadline of a machine has
//! come. (`by_hand.rs` does one thing after the other instead, over blocking sockets.)
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

/// The machine never asks what time it is: its driver says so, by a clock that does not jump.
#[expect(clippy::disallowed_methods, reason = "the one clock of this driver")]
fn now() -> Instant {
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    Instant::EPOCH + START.elapsed()
}

/// When this gives up: what is lost in here is never to be a loop that hangs.
const LIMIT: Instant = Instant::from_nanos(10_000_000_000);

/// The event of the listener; those of connections count from zero.
const LISTENER: mio::Token = mio::Token(usize::MAX);

/// The most ready connections that the client aims at; also the most that it has.
const MOST: u32 = 4;

/// Requests. The first is made before there is any connection, the others at the same time.
const REQUESTS: u32 = 7;

/// What is being waited for.
#[derive(Debug)]
enum Scene {
    /// The first request is over.
    First,
    /// The client has all the connections it may have.
    Full,
    /// All requests are over, and both ends agree on what is left.
    Busy,
    /// What the server has cleaned away is replaced.
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

fn main() -> Outcome {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;

    let client = ClientConfig::builder().capacity(2..=MOST).max_connections(MOST).build()?;
    // What was put back rests for a moment, so there are deadlines to wait for.
    let server = ServerConfig::builder().reuse_delay(Duration::from_millis(20)).build()?;
    let (client, server) = (Client::new(&client, now()), Server::new(&server, now()));
    let mut all = Loop {
        client: End::new(Side::Client, client, poll.registry().try_clone()?, address),
        server: End::new(Side::Server, server, poll.registry().try_clone()?, address),
        listener: Some(listener),
        scene: Scene::First,
        peak: 0,
    };
    println!("-- request 0: nobody has connected yet, so the server waits for its turn");
    all.want(0)?;
    // The first dials have been waiting in the machine since it was made.
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
            // After an interruption there are no events, but a deadline may have come.
            Err(_) | Ok(()) => {}
        }
        for event in &events {
            match Side::of(event.token()) {
                _ if event.token() == LISTENER => all.accept()?,
                (Side::Client, slot) => all.client.ready(slot, event)?,
                (Side::Server, slot) => all.server.ready(slot, event)?,
            }
        }
        all.client.be_on_time()?;
        all.server.be_on_time()?;
        all.go_on()?;
    }
    all.judge()
}

impl Loop {
    /// Edges are told once: accepts until there is nobody left.
    fn accept(&mut self) -> Outcome {
        while let Some(listener) = &self.listener {
            match listener.accept() {
                Ok((stream, peer)) => self.server.admit(stream, peer.ip())?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The server takes any connection for a request.
    fn want(&mut self, request: u32) -> Outcome {
        let answer = self.server.machine.acquire(now());
        self.server.take(request, answer)
    }

    /// Hands connections to the requests that have got one, until nothing more follows from that.
    fn go_on(&mut self) -> Outcome {
        loop {
            // Those that both ends are busy with.
            let (client, server) = (self.client.machine.stats(), self.server.machine.stats());
            self.peak = self.peak.max(client.leased.min(server.leased));
            if let Some((request, lease)) = self.server.taken.pop_front() {
                let id = lease.id;
                println!("server: request {request} goes over {id}, and the client is told so");
                let mut bytes = vec![0; LENGTH];
                fastrand::Rng::with_seed(request.into()).fill(&mut bytes);
                self.server.begin(request, lease, Some(bytes))?;
                // The channel of the user's own, over which ids are told, is a call here.
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

    /// Begins the next scene when its time has come. Nothing waits in here.
    fn next_scene(&mut self) -> Outcome<bool> {
        let (client, server) = (self.client.machine.stats(), self.server.machine.stats());
        let over = self.client.over.min(self.server.over);
        // An end that has not yet noticed the end of a connection counts one more.
        let agreed = client.dialing + client.handshaking == 0 && client.idle == server.idle;
        self.scene = match self.scene {
            Scene::First if over == 1 => {
                println!("-- the client is to have {MOST} ready");
                let stock = self.client.machine.wait_ready(now(), MOST);
                self.client.stocked = stock == Stock::Ready;
                self.client.carry_out()?;
                Scene::Full
            }
            Scene::Full if self.client.stocked && agreed => {
                println!("-- {} requests at once, for {} connections", REQUESTS - 1, client.idle);
                for request in 1..REQUESTS {
                    self.want(request)?;
                }
                Scene::Busy
            }
            Scene::Busy if over == REQUESTS && agreed => {
                println!(
                    "-- the server cleans its pool; the client is to notice, and to dial anew"
                );
                let connections = self.server.machine.clean(now());
                self.server.carry_out()?;
                Scene::Cleaned { connections }
            }
            Scene::Cleaned { connections } if agreed && client.idle >= 2 => {
                check(connections >= 2, "there was something to clean")?;
                println!("-- the client closes; the server is to notice, and closes then");
                self.client.machine.close(now());
                self.client.carry_out()?;
                let noticed = client.totals.peer_closed;
                let dropped = u64::from(self.server.dropped);
                check(noticed == dropped + u64::from(connections), "the client noticed all ends")?;
                Scene::Closing
            }
            Scene::Closing if server.idle == 0 => {
                self.listener = None;
                self.server.tell(Event::AcceptEnded)?;
                self.server.machine.close(now());
                self.server.carry_out()?;
                Scene::Over
            }
            _ => return Ok(false),
        };
        Ok(true)
    }

    /// Checks at the end what this example claims.
    fn judge(&self) -> Outcome {
        println!("-- everything has ended; requests at the same time: {}", self.peak);
        self.client.judge()?;
        self.server.judge()?;
        check(self.peak == MOST, "the requests shared the loop")?;
        check(self.client.queued > 0, "an id was asked for before it had come")?;
        let reused = self.server.machine.stats().totals.reused;
        check(reused > 0, "connections that were put back served again")?;
        check(self.server.deadlines > 0, "deadlines of a machine came")?;
        println!("event_loop: ok");
        Ok(())
    }

    fn stuck(&self) -> String {
        let (client, server) = (&self.client.machine, &self.server.machine);
        format!("stuck in {:?}: client {client:?}, server {server:?}", self.scene)
    }
}

fn check(holds: bool, what: &str) -> Outcome {
    println!("check:  {what}: {holds}");
    holds.then_some(()).ok_or_else(|| what.into())
}
