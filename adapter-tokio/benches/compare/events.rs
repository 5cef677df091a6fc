//! Row 4: an event through the machine, without mutex and sockets, with every timer on.
//!
//! An event is one call that changes the machine: `acquire`, `acquire_by_id`, `put`, `accept`, `admit`,
//! `handle_event`, `handle_timeout`. Its cost includes draining `poll_action`, one `poll_timeout`, and this
//! driver's own work (drawing the ids).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use adapter_tokio::pool_proto::{
    Accepting, Acquired, Action, CheckResult, Client, ClientConfig, ConnId, Dialing, Event,
    IdExchange, IdFormat, Instant, Lease, Machine, Role, Server, ServerConfig, Token,
};
use pool_testkit::measure::timed;

use crate::Outcome;
use crate::mode::Mode;
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::Samples;

/// Numbers of live connections, each with the most nanoseconds that an event may take on average.
const SIZES: [(u32, f64); 3] = [(1_000, 40.0), (100_000, 80.0), (1_000_000, 250.0)];

/// A cycle in the life of a connection, with its events:
#[derive(Clone, Copy)]
enum Cycle {
    /// acquire, put, Checked
    Any,
    /// acquire_by_id of a random connection, put, Checked
    ById,
    /// Client: acquire, Closed, Dialed, Established. Server: acquire, Closed, accept, admit, Established.
    Churn,
    /// 5 of 10 any, 4 by id, 1 churn: "ours" in the table
    Mix,
}

const CYCLES: [(&str, Cycle); 4] =
    [("ours", Cycle::Mix), ("any", Cycle::Any), ("by id", Cycle::ById), ("churn", Cycle::Churn)];

/// The part of the driver that differs by role.
trait Drive: Role {
    /// Replaces a connection that has ended, unless the machine asks for a dial itself.
    fn replace(driver: &mut Driver<Self>) -> Outcome;
}

/// A driver without I/O, which answers every action at once. A connection is its index in `ids`.
struct Driver<R> {
    machine: Machine<u64, R>,
    now: u64,
    random: fastrand::Rng,
    /// The ids of the live connections; `None` for those that have ended.
    ids: Vec<Option<ConnId>>,
    free: Vec<u64>,
    peers: u32,
    events: u64,
}

impl<R: Drive> Driver<R> {
    fn new(machine: Machine<u64, R>) -> Self {
        Self {
            machine,
            now: 0,
            random: fastrand::Rng::with_seed(1),
            ids: Vec::new(),
            free: Vec::new(),
            peers: 0,
            events: 0,
        }
    }

    /// Calls are a microsecond apart, so that timers are armed and re-armed, but hardly any fires.
    fn tick(&mut self) -> Instant {
        self.now += 1_000;
        Instant::from_nanos(self.now)
    }

    fn event(&mut self, event: Event<u64>) {
        let now = self.tick();
        self.machine.handle_event(now, event);
        self.called();
    }

    /// Asks for the next deadline, as after every call.
    fn called(&mut self) {
        self.events += 1;
        let now = Instant::from_nanos(self.now);
        if self.machine.poll_timeout().is_some_and(|due| due <= now) {
            self.machine.handle_timeout(now);
            self.events += 1;
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Check { token, connection, .. } => {
                    let result = CheckResult::Quiet;
                    self.event(Event::Checked { token, connection, result });
                }
                Action::Dial { token } => {
                    self.event(Event::Dialed { token });
                    // An odd multiplier permutes, so no two peers send the same id.
                    self.peers += 1;
                    let id = self.peers.wrapping_mul(0x9e37_79b1).to_be_bytes();
                    self.establish(token, ConnId::from_bytes(id), true);
                }
                Action::Close { connection, .. } => self.forget(connection),
                Action::Abort { .. } | Action::Wake { .. } => {}
            }
        }
    }

    fn establish(&mut self, token: Token, id: ConnId, received: bool) {
        let connection = self.free.pop().unwrap_or(self.ids.len() as u64);
        match self.place(connection) {
            Some(place) => *place = Some(id),
            None => self.ids.push(Some(id)),
        }
        self.event(Event::Established { token, connection, id: received.then_some(id) });
    }

    fn place(&mut self, connection: u64) -> Option<&mut Option<ConnId>> {
        self.ids.get_mut(usize::try_from(connection).ok()?)
    }

    fn forget(&mut self, connection: u64) {
        if let Some(place) = self.place(connection) {
            *place = None;
        }
        self.free.push(connection);
    }

    fn taken(&mut self, answer: Acquired<u64>) -> Outcome<Lease<u64>> {
        self.called();
        self.carry_out();
        match answer {
            Acquired::Ready(lease) => Ok(lease),
            answer => Err(format!("nothing to take: {answer:?}").into()),
        }
    }

    fn take_any(&mut self) -> Outcome<Lease<u64>> {
        let now = self.tick();
        let answer = self.machine.acquire(now);
        self.taken(answer)
    }

    fn take_at_random(&mut self) -> Outcome<Lease<u64>> {
        let id = loop {
            let place = self.random.usize(0..self.ids.len());
            if let Some(Some(id)) = self.ids.get(place) {
                break *id;
            }
        };
        self.take(id)
    }

    fn take(&mut self, id: ConnId) -> Outcome<Lease<u64>> {
        let now = self.tick();
        let answer = self.machine.acquire_by_id(now, id);
        self.taken(answer)
    }

    /// At first, connections lie in memory in the order in which they are acquired. Acquiring each
    /// once in random order ends that, as use does in a pool that has been up for a while. Returns
    /// the ids in another random order.
    fn shuffle(&mut self) -> Outcome<Vec<ConnId>> {
        let mut ids: Vec<ConnId> = self.ids.iter().copied().flatten().collect();
        self.random.shuffle(&mut ids);
        for id in &ids {
            let lease = self.take(*id)?;
            self.put(lease)?;
        }
        self.random.shuffle(&mut ids);
        Ok(ids)
    }

    fn put(&mut self, lease: Lease<u64>) -> Outcome {
        let now = self.tick();
        self.machine.put(now, lease.token, lease.connection)?;
        self.called();
        self.carry_out();
        Ok(())
    }

    fn cycle(&mut self, cycle: Cycle) -> Outcome {
        let cycle = match cycle {
            Cycle::Mix => match self.random.u8(0..10) {
                0..5 => Cycle::Any,
                5..9 => Cycle::ById,
                _ => Cycle::Churn,
            },
            cycle => cycle,
        };
        match cycle {
            Cycle::ById => {
                let lease = self.take_at_random()?;
                self.put(lease)
            }
            Cycle::Churn => {
                let lease = self.take_any()?;
                self.forget(lease.connection);
                self.event(Event::Closed { token: lease.token });
                self.carry_out();
                R::replace(self)
            }
            Cycle::Any | Cycle::Mix => {
                let lease = self.take_any()?;
                self.put(lease)
            }
        }
    }

    /// Measures nanoseconds per event.
    fn measure(&mut self, cycle: Cycle, rounds: usize, cycles: u32) -> Outcome<Vec<f64>> {
        let mut samples = Vec::with_capacity(rounds);
        for round in 0..=rounds {
            self.events = 0;
            let (took, outcome) = timed(|| (0..cycles).try_for_each(|_| self.cycle(cycle)));
            outcome?;
            // The first round warms up.
            if round > 0 {
                samples.push(took / self.events as f64);
            }
        }
        Ok(samples)
    }
}

impl Drive for Dialing {
    fn replace(_driver: &mut Driver<Self>) -> Outcome {
        Ok(())
    }
}

/// The number of addresses from which peers come, in turn.
const SOURCES: u32 = 50;

impl Drive for Accepting {
    fn replace(driver: &mut Driver<Self>) -> Outcome {
        driver.peers += 1;
        let address = Ipv4Addr::from_bits(0x0a00_0000 | (driver.peers % SOURCES));
        let now = driver.tick();
        let token = driver.machine.accept(now, IpAddr::V4(address))?;
        driver.called();
        let id = driver.machine.admit(now, token, None)?;
        driver.called();
        driver.establish(token, id, false);
        driver.carry_out();
        Ok(())
    }
}

const IDLE: Duration = Duration::from_secs(300);
const LIFETIME: Duration = Duration::from_secs(3600);

fn client_config(capacity: u32) -> Outcome<ClientConfig> {
    let config = ClientConfig::builder()
        .ids(IdExchange::Wire(IdFormat::Hex8))
        // The maximum is one above the number of connections: a leased connection is replaced at
        // once, and would otherwise be put back into a full pool.
        .capacity(capacity..=capacity + 1)
        .max_connections(capacity + 100)
        .idle_timeout(IDLE)
        .max_lifetime(LIFETIME)
        .build()?;
    Ok(config)
}

fn filled_client(live: u32) -> Outcome<Driver<Dialing>> {
    let mut driver = Driver::new(Client::new(&client_config(live)?, Instant::EPOCH));
    driver.carry_out();
    Ok(driver)
}

fn filled_server(live: u32) -> Outcome<Driver<Accepting>> {
    let config = ServerConfig::builder()
        .capacity(live + 100)
        .max_connections(live + 100)
        .idle_timeout(IDLE)
        .max_lifetime(LIFETIME)
        .build()?;
    let mut driver = Driver::new(Server::new(&config, Instant::EPOCH));
    (0..live).try_for_each(|_| Accepting::replace(&mut driver))?;
    Ok(driver)
}

pub(crate) fn row(mode: Mode, report: &mut Report) -> Outcome {
    for (live, most) in SIZES.into_iter().take(mode.pick(1, 2, 3, 3)) {
        machine("client", filled_client(live)?, live, most, mode, report)?;
        machine("server", filled_server(live)?, live, most, mode, report)?;
    }
    Ok(())
}

fn machine<R: Drive>(
    role: &str,
    mut driver: Driver<R>,
    live: u32,
    most: f64,
    mode: Mode,
    report: &mut Report,
) -> Outcome {
    driver.shuffle()?;
    if driver.machine.idle() < live {
        return Err(format!("{live} wanted, but {:?}", driver.machine.stats()).into());
    }
    let (rounds, cycles) = (mode.pick(2, 9, 15, 41), mode.pick(100, 5_000, 15_000, 50_000));
    let mut samples = Vec::new();
    for (name, cycle) in CYCLES {
        samples.push(Samples { name: name.into(), values: driver.measure(cycle, rounds, cycles)? });
    }
    let counted = allocation_counter::measure(|| {
        // The outcome was checked in the rounds above.
        let _ = (0..cycles).try_for_each(|_| driver.cycle(Cycle::Mix));
    });
    samples.push(Samples { name: ALLOCATIONS.into(), values: vec![counted.count_total as f64] });
    report.row(&Row {
        number: "4",
        what: format!("an event, {live} connections, {role}"),
        unit: "ns",
        samples,
        goals: vec![
            Goal::figure(Limit::AtMost(most)),
            Goal::figure(Limit::AtMost(0.0)).of(ALLOCATIONS),
        ],
    });
    Ok(())
}

const ALLOCATIONS: &str = "allocations";
