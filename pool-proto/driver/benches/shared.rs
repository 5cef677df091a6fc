//! A benchmark of the shared machine: the cost that mutex, wakers and leases add to a step.
//!
//! `cargo bench -p pool-driver --bench shared [-- --quick]`
//!
//! It measures an acquire and a put, as a multiple of a pop and a push on a bare
//! `Mutex<VecDeque<u64>>`, in alternating rounds, so that both see the same load. A figure above
//! its target is marked `MISS`; benchmarks do not fail builds. The third pool is recorded: its tape is
//! written to nowhere by a thread of its own.

use std::collections::VecDeque;
use std::error::Error;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::{io, thread};

use pool_driver::Clock;
use pool_driver::shared::{
    Command, Interrupt, Leased, PoolConnection, Revocation, Revoker, SharedMachine,
};
use pool_proto::tape::Recorded;
use pool_proto::{CheckResult, Client, ClientConfig, ConnId, Dialing, Event, Instant};
use pool_testkit::measure::{Spread, nanos, timed};
use rustix::time::ClockId;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The size of a run.
struct Effort {
    rounds: usize,
    cycles: u32,
    /// The target for one acquire and put, in pops and pushes.
    target: f64,
}

const FULL: Effort = Effort { rounds: 201, cycles: 20_000, target: 3.0 };

/// For continuous integration: the same figures with more noise.
const QUICK: Effort = Effort { rounds: 25, ..FULL };

/// For `cargo test --benches`, which calls without `--bench`: checks only that the benchmark runs.
const SMOKE: Effort = Effort { rounds: 2, cycles: 100, target: f64::INFINITY };

fn main() -> Outcome {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let (name, effort) = match (given("--bench"), given("--quick")) {
        (false, false) => ("smoke", SMOKE),
        (_, true) => ("quick", QUICK),
        (true, false) => ("full", FULL),
    };
    println!("pool-driver shared bench, {name}: median (p10-p90) of thread time");
    shared_machines(&effort)
}

/// A connection without any events.
struct Quiet(u64);

impl PoolConnection for Quiet {
    fn open(&mut self) -> bool {
        true
    }

    fn take_opening(&mut self) -> bool {
        true
    }

    fn check(&mut self) -> CheckResult {
        CheckResult::Quiet
    }

    fn drain(&mut self) -> CheckResult {
        CheckResult::Quiet
    }

    fn revoker(&self, revocation: &Revocation) -> Revoker {
        Revoker::new(revocation.clone(), Weak::<Self>::new())
    }
}

impl Interrupt for Quiet {
    fn interrupt(&self) {}
}

/// A clock with a coarse time, as adapters use it.
struct Coarse;

impl Clock for Coarse {
    fn now(&self) -> Instant {
        Instant::from_nanos(nanos(ClockId::Monotonic))
    }

    fn coarse(&self) -> Instant {
        Instant::from_nanos(nanos(ClockId::MonotonicCoarse))
    }
}

/// The same clock without its coarse time.
struct Precise;

impl Clock for Precise {
    fn now(&self) -> Instant {
        Coarse.now()
    }
}

/// Counts the wakes of the driver.
#[derive(Default)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Connections in each pool, and in the bare queue.
const STOCK: u32 = 64;

/// The bytes of the buffer of a tape, as pools have them.
const TAPE: usize = 1 << 20;

fn config() -> Outcome<ClientConfig> {
    // Capacity for one more than the stock: each take dials a replacement, and a put into a full
    // pool would close the connection.
    Ok(ClientConfig::builder().capacity(STOCK..=STOCK + 1).build()?)
}

/// A pool whose driver sleeps, as it does most of the time.
struct Pool {
    shared: Arc<SharedMachine<Quiet, Dialing>>,
    bell: Arc<Bell>,
    waker: Waker,
    answered: u64,
    turns: u64,
}

impl Pool {
    fn new(clock: impl Clock) -> Outcome<Self> {
        let machine = Client::new(&config()?, clock.now());
        Self::of(SharedMachine::new(machine, clock))
    }

    fn recorded(clock: impl Clock) -> Outcome<Self> {
        let (machine, first) = Recorded::client(&config()?, clock.now(), TAPE);
        let shared = SharedMachine::new(machine, clock);
        let writer = Arc::clone(&shared);
        thread::spawn(move || writer.write_tape(first, Box::new(io::sink())));
        Self::of(shared)
    }

    fn of(shared: Arc<SharedMachine<Quiet, Dialing>>) -> Outcome<Self> {
        let bell = Arc::new(Bell::default());
        let mut pool =
            Self { shared, waker: Waker::from(Arc::clone(&bell)), bell, answered: 0, turns: 0 };
        pool.drive();
        // The first take makes the pool dial the spare connection; later ones do not dial.
        let leased = pool.take()?;
        pool.drive();
        leased.put(&pool.shared)?;
        pool.drive();
        pool.turns = 0;
        Ok(pool)
    }

    /// Runs the driver until it sleeps.
    fn drive(&mut self) {
        let mut context = Context::from_waker(&self.waker);
        let mut commands = Vec::new();
        loop {
            self.turns += 1;
            self.shared.turn(&mut commands);
            for command in commands.drain(..) {
                if let Command::Dial { token } = command {
                    let name = u32::try_from(token.slot()).unwrap_or_default().to_be_bytes();
                    self.shared.event(Event::Dialed { token });
                    self.shared.event(Event::Established {
                        token,
                        connection: Quiet(token.slot() as u64),
                        id: Some(ConnId::from_bytes(name)),
                    });
                }
            }
            if self.shared.poll_work(&mut context).is_pending() {
                return;
            }
        }
    }

    fn take(&self) -> Outcome<Leased<Quiet>> {
        let mut acquire = self.shared.acquire();
        match Pin::new(&mut acquire).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(leased) => Ok(leased?),
            Poll::Pending => Err("the pool is empty".into()),
        }
    }

    /// Acquires and puts once, and runs the driver if that has woken it.
    fn cycle(&mut self) -> Outcome {
        let leased = self.take()?;
        black_box(leased.get().0);
        leased.put(&self.shared)?;
        let rung = self.bell.0.load(Ordering::Relaxed);
        if rung != self.answered {
            self.answered = rung;
            self.drive();
        }
        Ok(())
    }

    fn round(&mut self, cycles: u32) -> Outcome<f64> {
        let (took, outcome) = timed(|| (0..cycles).try_for_each(|_| self.cycle()));
        outcome.map(|()| took / f64::from(cycles))
    }
}

fn bare_round(queue: &Mutex<VecDeque<u64>>, cycles: u32) -> f64 {
    let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
    let (took, ()) = timed(|| {
        for _ in 0..cycles {
            let item = black_box(lock().pop_front());
            lock().extend(item);
        }
    });
    took / f64::from(cycles)
}

fn shared_machines(effort: &Effort) -> Outcome {
    let queue = Mutex::new((0..u64::from(STOCK)).collect::<VecDeque<u64>>());
    let mut pools = [Pool::new(Coarse)?, Pool::new(Precise)?, Pool::recorded(Coarse)?];
    let mut bare_took = Vec::new();
    let mut pools_took = [const { Vec::new() }; 3];
    let mut ratios = [const { Vec::new() }; 3];
    for round in 0..=effort.rounds {
        for ((pool, took), ratios) in pools.iter_mut().zip(&mut pools_took).zip(&mut ratios) {
            let bare = bare_round(&queue, effort.cycles);
            let pooled = pool.round(effort.cycles)?;
            // The first round warms up.
            if round > 0 {
                bare_took.push(bare);
                took.push(pooled);
                ratios.push(pooled / bare);
            }
        }
    }
    println!(
        "\nshared machine, acquire + put, {} rounds; target {} x with the coarse clock",
        effort.rounds, effort.target
    );
    println!("{:<16}{:>24}{:>24}", "", "ns", "x bare");
    println!("{:<16}{:>24}", "bare queue", Spread::of(bare_took).show());
    let names = ["coarse clock", "precise clock", "coarse, recorded"];
    for (((name, pool), took), ratios) in names.iter().zip(&pools).zip(pools_took).zip(ratios) {
        let ratios = Spread::of(ratios);
        println!(
            "{name:<16}{:>24}{:>24}  {}; driver turns: {}",
            Spread::of(took).show(),
            ratios.show(),
            ratios.verdict(effort.target),
            pool.turns
        );
    }
    let recording = pools.each_ref().map(|pool| pool.shared.recording());
    println!("the recording: {:?}", recording.into_iter().flatten().collect::<Vec<_>>());
    Ok(())
}
