//! The life of a seed: faults, then none, then the end.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pool_driver::exports::{
    Acquirer, ClientConfig, ClientTls, IdExchange, Identity, KeepAlive, ServerConfig, ServerTls,
};
use pool_driver::{Configured, Pool, PoolBuilder};

use crate::checks::{check, check_end};
use crate::control::control;
use crate::ends::{End, Ends};
use crate::engine::{Purpose, Side, Sim, State, Violation};
use crate::network::SERVER;
use crate::options::Options;
use crate::runtime::Simulated;
use crate::stranger::stranger;
use crate::users::visit;

/// The outcome of a life.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// A hash of all events.
    pub fingerprint: u64,
    /// Visits begun.
    pub visits: u64,
    /// Connections established, at both ends.
    pub established: u64,
    /// The most system calls of a poll.
    pub most_calls: u32,
}

/// The most steps of a life: a bound for a world that does not end.
const STEPS: u64 = 20_000_000;

/// Lives through a seed.
#[must_use]
pub fn live(options: Options, log: bool) -> Outcome {
    // The pauses after failed accepts are drawn from the generator of the thread.
    fastrand::seed(options.seed);
    let sim = Sim::new(options, log);
    let ends = Arc::new(Ends::none());
    let world = Arc::new(World {
        sim: sim.clone(),
        ends: Arc::clone(&ends),
        visits: AtomicU64::new(0),
        established: AtomicU64::new(0),
        over: AtomicBool::new(false),
    });
    let director = Arc::clone(&world);
    sim.spawn(Side::Stranger, Purpose::User, async move { director.direct().await }).detach();
    for step in 0.. {
        if !sim.step() {
            if !world.over.load(Ordering::Relaxed) {
                sim.violated("the world goes on", "everybody waits, and nothing will happen");
            }
            break;
        }
        if sim.is_quiet() {
            check(&sim, &ends);
        }
        if step > STEPS {
            sim.violated("a life ends", format_args!("{STEPS} steps"));
        }
        if sim.violation().is_some() {
            world.explain();
            break;
        }
    }
    // A life that was broken off leaves tasks behind, which hold the world.
    for side in [Side::Client, Side::Server, Side::Stranger] {
        sim.end_all(side, Purpose::User);
        sim.end_all(side, Purpose::Pool);
        ends.set(side, None);
    }
    sim.with(|state| Outcome {
        violation: state.violation(),
        fingerprint: state.fingerprint(),
        visits: world.visits.load(Ordering::Relaxed),
        established: world.established.load(Ordering::Relaxed),
        most_calls: state.most_calls,
    })
}

/// The settings that both roles have, whose builders are of two types.
macro_rules! common {
    ($world:expr, $options:expr, $acquirer:expr, $builder:expr) => {{
        // Of the two ends, the one that acquires closes connections for their age.
        let ends_old = $acquirer != Acquirer::Peer;
        $builder
            .handshake_timeout($options.handshake_timeout)
            .idle_timeout($options.idle_timeout.filter(|_| ends_old))
            .max_lifetime($options.max_lifetime.filter(|_| ends_old))
            .claim_timeout($options.claim_timeout)
            .reuse_delay($options.reuse_delay)
            .opening_byte($options.opening_byte)
            .control_connection($options.control)
            .acquirer($acquirer)
            .seed($world.sim.with(|state| state.rng.u64(..)))
    }};
}

struct World {
    sim: Sim,
    ends: Arc<Ends>,
    visits: AtomicU64,
    established: AtomicU64,
    over: AtomicBool,
}

impl World {
    /// A builder of a pool on the host of a side.
    fn builder<R: Configured>(&self, side: Side) -> PoolBuilder<Simulated, R> {
        let host = Simulated { sim: self.sim.clone(), side };
        Pool::builder().keep_alive(KeepAlive::every(Duration::from_secs(5))).on(host)
    }

    fn options(&self) -> Options {
        self.sim.with(|state| state.options.clone())
    }

    /// Writes the state of the world into the log.
    fn explain(&self) {
        for side in [Side::Client, Side::Server] {
            let stats = self.ends.get(side).map(|end| end.stats());
            self.note(&format!("{side:?}: {stats:?}"));
            self.sim.with(|state| {
                let open: Vec<_> =
                    state.net.open(side).map(|(id, socket)| (id, socket.held)).collect();
                state.note(format_args!("{side:?}: {open:?}"));
            });
        }
    }

    /// Draws a time.
    fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.sim.with(|state| state.rng.u64(from..=to)))
    }

    fn draw(&self, below: u32) -> u32 {
        self.sim.with(|state| state.rng.u32(..below))
    }

    fn note(&self, line: &str) {
        self.sim.with(|state| state.note(format_args!("{line}")));
    }

    async fn direct(&self) {
        let options = self.options();
        self.note(&format!("{options:?}"));
        for side in [Side::Server, Side::Client] {
            self.begin(side);
            self.begin_control(side);
        }
        self.faults(&options).await;
        self.calm(&options).await;
        self.finish().await;
        self.over.store(true, Ordering::Relaxed);
    }

    /// Builds the pool of a side.
    fn begin(&self, side: Side) {
        let built = match side {
            Side::Client => self.client(),
            Side::Server | Side::Stranger => self.server(),
        };
        match built {
            Ok(end) => self.ends.set(side, Some(end)),
            Err(error) => self.sim.violated("a pool can be built", error),
        }
    }

    /// Starts the user who keeps the control connection.
    fn begin_control(&self, side: Side) {
        if self.options().control {
            let control = control(self.sim.clone(), Arc::clone(&self.ends), side);
            self.sim.spawn(side, Purpose::User, control).detach();
        }
    }

    fn client(&self) -> Result<End, Box<dyn Error>> {
        let options = self.options();
        let [acquirer, _] = options.acquirer;
        let (least, most) = options.capacity;
        let config = ClientConfig::builder()
            .capacity(least..=most)
            .tuning(options.tuning)
            .ids(IdExchange::Wire(options.format))
            .max_dials(options.max_dials)
            .dial_timeout(options.dial_timeout);
        let config = common!(self, options, acquirer, config).build()?;
        let mut builder = self.builder(Side::Client).config(config);
        if options.tls {
            let (identity, pin) = identity()?;
            let tls = ClientTls::self_signed()?.pinned(pin)?.client_certificate(identity);
            builder = builder.tls(tls).require_authentication();
        }
        Ok(End::Client(builder.connect("server.test:9000")?))
    }

    fn server(&self) -> Result<End, Box<dyn Error>> {
        let options = self.options();
        let [_, acquirer] = options.acquirer;
        let config = ServerConfig::builder()
            .capacity(options.server_capacity)
            .id_format(options.format)
            .first_byte_timeout(options.handshake_timeout / 2);
        let config = common!(self, options, acquirer, config).build()?;
        let mut builder = self.builder(Side::Server).config(config);
        if options.tls {
            let (identity, pin) = identity()?;
            let tls = ServerTls::new(identity)?.pinned_clients([pin])?;
            builder = builder.tls(tls).require_authentication();
        }
        Ok(End::Server(builder.bind_addr(SERVER)?))
    }

    fn visit(&self, strict: bool) {
        let number = self.visits.fetch_add(1, Ordering::Relaxed);
        let [client, server] = self.options().acquirer;
        let by = match (client, server) {
            (Acquirer::ThisEnd, _) => Side::Client,
            (_, Acquirer::ThisEnd) => Side::Server,
            _ if self.draw(2) == 0 => Side::Client,
            _ => Side::Server,
        };
        let visit = visit(self.sim.clone(), Arc::clone(&self.ends), number, by, strict);
        self.sim.spawn(by, Purpose::User, visit).detach();
    }

    /// Users come while everything fails that can.
    async fn faults(&self, options: &Options) {
        let end = self.sim.now() + options.faults;
        while self.sim.now() < end {
            if self.draw(4) == 0 {
                self.mishap().await;
            }
            if options.strangers && options.tls && self.draw(3) == 0 {
                // Now and then a crowd.
                let strangers = if self.draw(12) == 0 { 100 } else { 1 };
                for _ in 0..strangers {
                    let stranger = stranger(self.sim.clone());
                    self.sim.spawn(Side::Stranger, Purpose::User, stranger).detach();
                }
            }
            // Now and then many at once.
            let users = if self.draw(20) == 0 { 12 } else { 1 };
            for _ in 0..users {
                self.visit(false);
            }
            let pause = options.pause.mul_f64(2.0 * self.sim.with(|state| state.rng.f64()));
            self.sim.sleep(pause).await;
        }
    }

    async fn mishap(&self) {
        let side = if self.draw(2) == 0 { Side::Client } else { Side::Server };
        let Some(end) = self.ends.get(side) else { return };
        match self.draw(24) {
            0..=7 => self.sim.with(State::break_one),
            8 => {
                self.note("the path is cut");
                self.sim.with(|state| state.cut(true));
                let time = self.millis(10, 9_000);
                self.sim.sleep(time).await;
                self.note("the path is mended");
                self.sim.with(|state| state.cut(false));
            }
            9..=11 => {
                let limit = self.sim.with(|state| {
                    let limit = state.rng.usize(..12);
                    state.limit(side, Some(limit));
                    limit
                });
                self.note(&format!("the {side:?} has {limit} descriptors"));
                let time = self.millis(10, 5_000);
                self.sim.sleep(time).await;
                self.sim.with(|state| state.limit(side, None));
            }
            12 | 13 => {
                self.note(&format!("the {side:?} flushes"));
                end.flush();
                self.sim.with(|state| {
                    let now = state.now();
                    state.flushed.insert(side, now)
                });
            }
            14 | 15 => {
                self.note(&format!("the {side:?} cleans"));
                end.clean();
            }
            16 | 17 => {
                if let End::Client(pool) = &end {
                    let most = 2 + self.draw(12);
                    self.note(&format!("the client aims at up to {most}"));
                    // Below the limit of connections, so it is never refused.
                    if let Err(error) = pool.set_capacity((1..=most).into()) {
                        self.sim.violated("a capacity within the limits is taken", error);
                    }
                }
            }
            18 => {
                if let End::Client(pool) = &end {
                    pool.dial_now();
                }
            }
            19 | 20 => self.crash(side).await,
            21 => self.restart(side, end).await,
            _ => {
                self.note("many leave at once");
                for _ in 0..4 {
                    self.sim.with(State::break_one);
                }
            }
        }
    }

    /// A process dies, or its host, and comes back.
    async fn crash(&self, side: Side) {
        let power = self.draw(2) == 0;
        self.note(&format!("the {side:?} crashes{}", if power { " with its host" } else { "" }));
        if power {
            self.sim.with(|state| state.vanish(side));
        }
        self.sim.end_all(side, Purpose::User);
        self.sim.end_all(side, Purpose::Pool);
        self.ends.set(side, None);
        check_end(&self.sim, side);
        let time = self.millis(0, 4_000);
        self.sim.sleep(time).await;
        self.begin(side);
        self.begin_control(side);
    }

    /// A pool shuts down gracefully, and a new one takes its place.
    async fn restart(&self, side: Side, end: End) {
        self.note(&format!("the {side:?} restarts"));
        let timeout = self.millis(0, 4_000);
        end.graceful_shutdown(timeout);
        let began = self.sim.now();
        end.closed().await;
        let took = self.sim.now().since(began);
        if took > timeout + Duration::from_millis(200) {
            let seen = format!("{took:?}, not {timeout:?}");
            self.sim.violated("a graceful shutdown ends at its deadline", seen);
        }
        // The network keeps its listeners.
        let failure = end.last_failure().filter(|failure| failure.contains("listener"));
        if let Some(failure) = failure {
            self.sim.violated("a listener whose port is freed has not failed", failure);
        }
        check_end(&self.sim, side);
        self.begin(side);
    }

    /// No more faults: the pools recover, and every user is served.
    async fn calm(&self, options: &Options) {
        self.note("no more faults");
        self.sim.with(|state| {
            state.faults = false;
            state.limit(Side::Client, None);
            state.limit(Side::Server, None);
        });
        // Dead peers are noticed, visits under way end, claims time out, the backoff ends.
        self.sim.sleep(Duration::from_secs(60)).await;
        if self.draw(3) == 0
            && let Some(end) = self.ends.get(Side::Client)
        {
            // A new pool knows nothing of the addresses.
            self.restart(Side::Client, end).await;
            self.sim.sleep(Duration::from_secs(5)).await;
        }
        let sides = match options.acquirer {
            [Acquirer::ThisEnd, _] => [Some(Side::Client), None],
            [_, Acquirer::ThisEnd] => [Some(Side::Server), None],
            _ => [Some(Side::Client), Some(Side::Server)],
        };
        for side in sides.into_iter().flatten() {
            let Some(end) = self.ends.get(side) else { continue };
            if let Err(error) = end.wait_ready(1, Duration::from_secs(30)).await {
                let seen = format!("{side:?}: {error}");
                self.sim.violated("there is stock without faults", seen);
            }
        }
        let before = self.failed_dials();
        for _ in 0..12 {
            self.visit(true);
            let pause = options.pause.mul_f64(2.0 * self.sim.with(|state| state.rng.f64()));
            self.sim.sleep(pause).await;
        }
        self.sim.sleep(Duration::from_secs(70)).await;
        if options.control {
            let heard = self.sim.with(|state| {
                let now = state.now();
                [Side::Client, Side::Server].map(|side| {
                    state
                        .heard
                        .get(&side)
                        .is_some_and(|at| now.since(*at) < Duration::from_secs(20))
                })
            });
            if heard != [true; 2] {
                let seen = format!("heard at the client and at the server: {heard:?}");
                self.sim.violated("the control connection is there without faults", seen);
            }
        }
        let failed = self.failed_dials();
        if failed != before {
            let seen = format!("{failed:?} failures and timeouts, and {before:?} before");
            self.sim.violated("a dial reaches the address that answers", seen);
        }
    }

    /// Dials that have failed, and that took too long.
    fn failed_dials(&self) -> Option<[u64; 2]> {
        let totals = self.ends.get(Side::Client)?.stats().totals;
        Some([totals.dial_failures, totals.dial_timeouts])
    }

    /// Both pools end, in any manner; then nothing of them is left.
    async fn finish(&self) {
        self.note("the end");
        for side in [Side::Client, Side::Server] {
            self.sim.end_all(side, Purpose::User);
        }
        let sides = if self.draw(2) == 0 {
            [Side::Client, Side::Server]
        } else {
            [Side::Server, Side::Client]
        };
        let mut machines = Vec::new();
        for side in sides {
            let Some(end) = self.ends.get(side) else { continue };
            self.established.fetch_add(end.stats().totals.established, Ordering::Relaxed);
            match &end {
                End::Client(pool) => {
                    let machine = Arc::downgrade(pool.shared());
                    machines
                        .push(Box::new(move || machine.strong_count())
                            as Box<dyn Fn() -> usize + Send>);
                }
                End::Server(pool) => {
                    let machine = Arc::downgrade(pool.shared());
                    machines.push(Box::new(move || machine.strong_count()));
                }
            }
            let manner = self.draw(3);
            self.note(&format!("the {side:?} ends by manner {manner}"));
            match manner {
                0 => end.close(),
                1 => end.graceful_shutdown(Duration::from_secs(1)),
                _ => {}
            }
            let closed = end.clone();
            self.ends.set(side, None);
            drop(end);
            if closed.is_closed() || self.draw(2) == 0 {
                closed.close();
                closed.closed().await;
                check_end(&self.sim, side);
            }
            drop(closed);
            // A graceful shutdown goes on without a handle.
            self.sim.sleep(Duration::from_secs(2)).await;
        }
        self.sim.sleep(Duration::from_secs(5)).await;
        for machine in machines {
            if machine() > 0 {
                self.sim.violated("nothing of a pool is left", "its machine is still there");
            }
        }
        for side in [Side::Client, Side::Server] {
            check_end(&self.sim, side);
            let held = self.sim.with(|state| state.net.open(side).count());
            if held > 0 {
                self.sim.violated("nothing of a pool is left", format_args!("{held} descriptors"));
            }
        }
    }
}

/// The certificate of both ends. A key of Ed25519 makes signatures of one length.
fn identity()
-> Result<(Identity, pool_driver::exports::Fingerprint), pool_driver::exports::TlsError> {
    let (certificate, key) = (include_bytes!("certificate.pem"), include_bytes!("key.pem"));
    let identity = Identity::from_pem(certificate, key)?;
    let pin = identity.fingerprint();
    Ok((identity, pin))
}
