//! Fleets: clients with the default backoff that lose their server at the same moment, in virtual time.
//!
//! The server answers a dial after a round trip, and does one handshake after the other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use pool_proto::{Action, Client, ClientConfig, ConnId, Event, Instant, Token};

use super::ms;

/// The one-way time through the network.
const TRIP: Duration = ms(10);

/// The time of the server for one handshake: 1,667 a second, as a pair of pools does with TLS on two
/// cores over loopback.
const HANDSHAKE: Duration = Duration::from_micros(600);

/// The number of ready connections at which a pool counts as full: the default minimum.
const FULL: u32 = 4;

const WINDOW: Duration = ms(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Timer,
    Answered { token: usize, up: bool },
    Established { token: usize },
}

struct Pool {
    machine: Client<u32>,
    /// The tokens of its dials.
    dials: Vec<Token>,
    ready: Vec<Token>,
    served_at: Option<Instant>,
    full_at: Option<Instant>,
}

struct Fleet {
    now: Instant,
    pools: Vec<Pool>,
    queue: BinaryHeap<Reverse<(Instant, u64, usize, What)>>,
    entered: u64,
    /// The server is down from the first to the second.
    down: [Instant; 2],
    /// The end of the last handshake that the server has begun.
    busy_until: Instant,
    dialled_at: Vec<Instant>,
    ids: u32,
}

impl Fleet {
    /// Pools that are full, and lose their server; it returns after `outage`. With `waiters`, a caller
    /// waits at each pool.
    fn new(pools: u64, seed: u64, outage: Duration, waiters: bool) -> Self {
        let start = Instant::EPOCH + ms(5_000);
        let mut fleet = Self {
            now: Instant::EPOCH,
            pools: Vec::new(),
            queue: BinaryHeap::new(),
            entered: 0,
            down: [start, start + outage],
            busy_until: Instant::EPOCH,
            dialled_at: Vec::new(),
            ids: 0,
        };
        for number in 0..pools {
            let config =
                ClientConfig::builder().capacity(FULL..=64).seed(seed * 1_000_000 + number);
            let config = config.build().unwrap();
            let machine = Client::new(&config, fleet.now);
            fleet.pools.push(Pool {
                machine,
                dials: Vec::new(),
                ready: Vec::new(),
                served_at: None,
                full_at: None,
            });
            fleet.carry_out(fleet.pools.len() - 1);
        }
        fleet.run(start, |_| false);
        fleet.now = start;
        assert!(fleet.pools.iter().all(|pool| pool.machine.idle() >= FULL), "full at first");
        fleet.dialled_at.clear();
        for number in 0..fleet.pools.len() {
            let pool = &mut fleet.pools[number];
            (pool.served_at, pool.full_at) = (None, None);
            for token in std::mem::take(&mut pool.ready) {
                pool.machine.handle_event(start, Event::Closed { token });
            }
            if waiters {
                let _ = pool.machine.acquire(start);
            }
            fleet.carry_out(number);
        }
        fleet
    }

    fn at(&mut self, at: Instant, pool: usize, what: What) {
        self.entered += 1;
        self.queue.push(Reverse((at, self.entered, pool, what)));
    }

    /// Lets everything happen until `until`, or until `done`.
    fn run(&mut self, until: Instant, done: impl Fn(&Self) -> bool) {
        while !done(self)
            && let Some(Reverse((at, _, pool, what))) = self.queue.pop()
        {
            if at > until {
                self.at(at, pool, what);
                break;
            }
            self.now = at;
            self.happen(pool, what);
        }
    }

    fn happen(&mut self, number: usize, what: What) {
        let now = self.now;
        let pool = &mut self.pools[number];
        match what {
            What::Timer => {
                if pool.machine.poll_timeout().is_some_and(|due| due <= now) {
                    pool.machine.handle_timeout(now);
                }
            }
            What::Answered { token, up } => {
                let name = pool.dials[token];
                if pool.machine.state_of(name).is_none() {
                } else if up {
                    pool.machine.handle_event(now, Event::Dialed { token: name });
                    self.busy_until = self.busy_until.max(now + TRIP) + HANDSHAKE;
                    self.at(self.busy_until + TRIP, number, What::Established { token });
                } else {
                    pool.machine.handle_event(now, Event::DialFailed { token: name });
                }
            }
            What::Established { token } => {
                self.ids += 1;
                let (token, id) = (pool.dials[token], ConnId::from_bytes(self.ids.to_be_bytes()));
                pool.ready.push(token);
                let event = Event::Established { token, connection: self.ids, id: Some(id) };
                pool.machine.handle_event(now, event);
            }
        }
        self.carry_out(number);
    }

    fn carry_out(&mut self, number: usize) {
        let now = self.now;
        while let Some(action) = self.pools[number].machine.poll_action() {
            let pool = &mut self.pools[number];
            match action {
                Action::Dial { token } => {
                    pool.dials.push(token);
                    let (token, arrives) = (pool.dials.len() - 1, now + TRIP);
                    let up = arrives < self.down[0] || arrives >= self.down[1];
                    self.dialled_at.push(now);
                    self.at(arrives + TRIP, number, What::Answered { token, up });
                }
                Action::Wake { waiter } => {
                    assert!(matches!(
                        pool.machine.collect(now, waiter),
                        pool_proto::Collected::Ready(_)
                    ));
                    pool.served_at = Some(now);
                }
                Action::Close { token, .. } => pool.ready.retain(|other| *other != token),
                other => panic!("{other:?}"),
            }
        }
        let pool = &mut self.pools[number];
        if pool.full_at.is_none() && pool.machine.idle() >= FULL {
            pool.full_at = Some(now);
        }
        if let Some(due) = pool.machine.poll_timeout() {
            self.at(due, number, What::Timer);
        }
    }

    /// Lets the outage pass, and the pools fill up again.
    fn recover(mut self) -> Recovery {
        let back = self.down[1];
        let seconds = |at: Option<Instant>| at.expect("in a minute").since(back).as_secs_f64();
        self.run(back + ms(60_000), |fleet| fleet.pools.iter().all(|pool| pool.full_at.is_some()));
        let full = self.pools.iter().map(|pool| seconds(pool.full_at)).fold(0.0, f64::max);
        let served = self.pools.iter().filter_map(|pool| pool.served_at);
        let served = served.map(|at| seconds(Some(at))).fold(0.0, f64::max);
        let (meanwhile, after): (Vec<_>, Vec<_>) =
            self.dialled_at.into_iter().partition(|at| *at < back);
        Recovery { back, served, full, meanwhile, after }
    }
}

/// How a fleet recovered: seconds since the server was back, and the dials.
struct Recovery {
    back: Instant,
    /// The last waiter.
    served: f64,
    /// The last pool.
    full: f64,
    /// In the outage.
    meanwhile: Vec<Instant>,
    after: Vec<Instant>,
}

impl Recovery {
    /// The dials of each window from the server's return on, until all pools are full.
    fn windows(&self) -> Vec<u32> {
        let of = |at: &Instant| at.since(self.back).as_nanos() / WINDOW.as_nanos();
        let mut windows = vec![0; self.after.iter().map(of).max().unwrap_or(0) as usize + 1];
        self.after.iter().for_each(|at| windows[of(at) as usize] += 1);
        windows
    }

    /// The fullest window as a multiple of its even share.
    fn peak(windows: &[u32]) -> f64 {
        let even = f64::from(windows.iter().sum::<u32>()) / windows.len() as f64;
        f64::from(windows.iter().copied().max().unwrap_or(0)) / even
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn whoever_waits_is_served_soon_after_the_server_is_back() {
    let mut worst: f64 = 0.0;
    for outage in [1, 3, 5, 20, 60] {
        for seed in 0..40 {
            let recovery = Fleet::new(1, seed, SECOND * outage, true).recover();
            worst = worst.max(recovery.served);
        }
    }
    println!("one pool with a waiter: served after {worst:.2} s at the latest");
    assert!(worst <= 1.5, "{worst}");
}

/// The figures in the documentation of `ClientConfigBuilder::backoff`.
#[test]
fn a_server_that_is_down_is_dialled_a_thousand_times_an_hour() {
    for (waiters, expected) in [(false, 960), (true, 4800)] {
        let dials = Fleet::new(1, 1, SECOND * 3600, waiters).recover().meanwhile.len();
        println!("a server that is down for an hour, waiters {waiters}: {dials} dials");
        // The dial itself takes its time, too.
        assert!((expected * 95 / 100..expected * 105 / 100).contains(&dials), "{dials}");
    }
}

#[test]
fn a_fleet_with_waiters_is_full_within_three_seconds_and_does_not_stampede() {
    for outage in [3, 20, 60] {
        let recovery = Fleet::new(300, 1, SECOND * outage, true).recover();
        let windows = recovery.windows();
        let peak = Recovery::peak(&windows);
        println!(
            "300 pools with a waiter each, {outage} s: all served after {:.2} s and full after \
             {:.2} s, {} dials in the outage, then {:?}: the most is {peak:.2} × even",
            recovery.served,
            recovery.full,
            recovery.meanwhile.len(),
            windows,
        );
        assert!(recovery.full <= 3.0, "{}", recovery.full);
        assert!(peak <= 2.0, "{windows:?}");
    }
}

#[test]
fn a_fleet_without_waiters_is_full_within_six_seconds_and_does_not_stampede() {
    for outage in [3, 20, 60] {
        let recovery = Fleet::new(300, 1, SECOND * outage, false).recover();
        let peak = Recovery::peak(&recovery.windows());
        println!(
            "300 pools without waiters, {outage} s: all full after {:.2} s, {} dials in the outage; \
             the most is {peak:.2} × even",
            recovery.full,
            recovery.meanwhile.len(),
        );
        assert!(recovery.full <= 6.0, "{}", recovery.full);
    }
}

/// Few pools dial in one window, so chance decides over each. Over many fleets it shows whether the
/// draws are even.
#[test]
fn the_dials_of_many_fleets_are_even() {
    for (waiters, windows) in [(true, 10), (false, 40)] {
        let mut sums = vec![0; windows];
        for seed in 0..10 {
            let recovery = Fleet::new(300, seed, SECOND * 20, waiters).recover();
            for (sum, dials) in sums.iter_mut().zip(recovery.windows()) {
                *sum += dials;
            }
        }
        let peak = Recovery::peak(&sums);
        println!("10 fleets of 300, waiters {waiters}: the most is {peak:.2} × even");
        assert!(peak <= 1.5, "{sums:?}");
    }
}
