//! After a warm-up, a machine does not allocate, whatever its inputs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use allocation_counter::measure;
use pool_proto::tape::Recorded;
use pool_proto::{
    Acquired, Action, CheckResult, Client, ClientConfig, Collected, ConnId, Event, Instant, Lease,
    Role, Server, ServerConfig, Stock, Token, WaiterId,
};

/// Long enough for every table and queue to have had its largest size: that growth is rare, and not
/// counted here.
const WARM_UP: u32 = 600_000;
const CYCLES: u32 = 100_000;

/// The bytes of the buffer of a tape.
const TAPE: usize = 4096;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A driver that answers everything at once, in memory that it has from the start.
struct Driver<R: Role> {
    pool: Recorded<u32, R>,
    /// The memory of the last block of its tape.
    spare: Vec<u8>,
    now: Instant,
    random: fastrand::Rng,
    dials: Vec<Token>,
    leases: Vec<Lease<u32>>,
    waiters: Vec<WaiterId>,
    woken: u32,
    next_id: u32,
}

impl<R: Role> Driver<R> {
    fn new(pool: impl Into<Recorded<u32, R>>) -> Self {
        Self {
            pool: pool.into(),
            spare: Vec::with_capacity(TAPE),
            now: Instant::EPOCH,
            random: fastrand::Rng::with_seed(1),
            dials: Vec::with_capacity(64),
            leases: Vec::with_capacity(64),
            waiters: Vec::with_capacity(64),
            woken: 0,
            next_id: 0,
        }
    }

    fn event(&mut self, event: Event<u32>) {
        self.pool.handle_event(self.now, event);
    }

    fn drain(&mut self) {
        if self.pool.is_tape_due()
            && let Some(block) = self.pool.take_block(&mut self.spare)
        {
            self.spare = block.seal();
        }
        while let Some(action) = self.pool.poll_action() {
            match action {
                Action::Dial { token } => self.dials.push(token),
                Action::Check { token, connection, .. } => {
                    let result = match self.random.u8(..40) {
                        0 => CheckResult::Data,
                        1 => CheckResult::Closed,
                        _ => CheckResult::Quiet,
                    };
                    self.event(Event::Checked { token, connection, result });
                }
                Action::Wake { .. } => self.woken += 1,
                _ => {}
            }
        }
    }

    fn acquired(&mut self, answer: Acquired<u32>) {
        match answer {
            Acquired::Ready(lease) => self.leases.push(lease),
            Acquired::Queued(waiter) => self.waiters.push(waiter),
            Acquired::Refused(_) => {}
        }
    }

    /// Users of the pool: they take, wait, give up, and give back in three ways.
    fn use_it(&mut self, id: ConnId) {
        let now = self.now;
        let answer = match self.random.u8(..4) {
            0 => self.pool.acquire_by_id(now, id),
            _ => self.pool.acquire(now),
        };
        self.acquired(answer);
        if self.random.u8(..10) == 0
            && let Stock::Queued(waiter) = self.pool.wait_ready(now, 4)
        {
            self.waiters.push(waiter);
        }
        for at in (0..self.waiters.len()).rev() {
            let Some(waiter) = self.waiters.get(at).copied() else {
                continue;
            };
            match self.pool.collect(now, waiter) {
                Collected::Waiting if self.random.u8(..8) > 0 => continue,
                Collected::Waiting => drop(self.pool.cancel(now, waiter)),
                Collected::Ready(lease) => self.leases.push(lease),
                _ => {}
            }
            self.waiters.swap_remove(at);
        }
        while self.leases.len() > self.random.usize(..16) {
            let lease = self.leases.swap_remove(0);
            let (token, connection) = (lease.token, lease.connection);
            match self.random.u8(..10) {
                0 => self.event(Event::Closed { token }),
                1 => self.pool.reject(now, token, connection, CheckResult::Data),
                _ => drop(self.pool.put(now, token, connection)),
            }
            if self.random.u8(..20) == 0 {
                self.event(Event::Readable { token });
            }
            self.drain();
        }
        if self.random.u16(..2000) == 0 {
            self.pool.flush(now);
        }
        if self.random.u16(..500) == 0 {
            self.pool.clean(now);
        }
        self.drain();
    }

    fn tick(&mut self) {
        self.now = self.now + Duration::from_micros(self.random.u64(..2000));
        if self.pool.poll_timeout().is_some_and(|at| at <= self.now) {
            self.pool.handle_timeout(self.now);
        }
        self.drain();
    }
}

fn client_cycle(driver: &mut Driver<pool_proto::Dialing>) {
    driver.tick();
    while driver.dials.len() > driver.random.usize(..4) {
        let token = driver.dials.swap_remove(0);
        if driver.random.u8(..50) == 0 {
            driver.event(Event::DialFailed { token });
        } else {
            driver.next_id += 1;
            let id = Some(ConnId::from_bytes(driver.next_id.to_be_bytes()));
            let connection = driver.next_id;
            driver.event(Event::Dialed { token });
            driver.event(Event::Established { token, connection, id });
        }
        driver.drain();
    }
    // A connection that is ready, or that is still to come.
    let id = driver.next_id + driver.random.u32(..8) - 4.min(driver.next_id);
    driver.use_it(ConnId::from_bytes(id.to_be_bytes()));
}

fn server_cycle(driver: &mut Driver<pool_proto::Accepting>) {
    driver.tick();
    let source = driver.random.u8(..20).min(driver.random.u8(..20));
    let address: IpAddr = if source.is_multiple_of(2) {
        Ipv4Addr::new(10, 0, 0, source).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, source.into(), 0, 0, 0, 1).into()
    };
    let mut id = ConnId::ZERO;
    if let Ok(token) = driver.pool.accept(driver.now, address)
        && let Ok(admitted) = driver.pool.admit(driver.now, token, None)
    {
        id = admitted;
        driver.dials.push(token);
    }
    while driver.dials.len() > driver.random.usize(..4) {
        let token = driver.dials.swap_remove(0);
        let connection = 0;
        let id = None;
        driver.event(Event::Established { token, connection, id });
    }
    driver.use_it(id);
}

fn allocations<R: Role>(driver: &mut Driver<R>, cycle: fn(&mut Driver<R>)) -> u64 {
    for _ in 0..WARM_UP {
        cycle(driver);
    }
    let allocated = measure(|| {
        for _ in 0..CYCLES {
            cycle(driver);
        }
    });
    allocated.count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new(1)))).count_total, 1);
}

#[test]
fn a_client_in_its_steady_state_allocates_nothing() {
    let config = ClientConfig::builder()
        .capacity(4..=8)
        .max_waiters(60)
        .max_connections(8)
        .idle_timeout(ms(50))
        .max_lifetime(ms(200))
        .reuse_delay(ms(2))
        .claim_timeout(ms(20))
        .backoff(ms(1), ms(5))
        .seed(1)
        .build()
        .unwrap();
    let mut driver = Driver::new(Client::new(&config, Instant::EPOCH));
    assert_eq!(allocations(&mut driver, client_cycle), 0);
    let totals = driver.pool.stats().totals;
    assert!(totals.leases > 50_000 && totals.reused > 1000, "{totals:?}");
    assert!(totals.dials > 10_000 && totals.put > 10_000, "{totals:?}");
    assert!(totals.served_after_waiting > 1000, "{totals:?}");
    assert!(totals.expired > 100 && totals.unclaimed > 10, "{totals:?}");
    assert!(driver.woken > 1000);
}

#[test]
fn a_recorded_client_in_its_steady_state_allocates_nothing() {
    let config = ClientConfig::builder().capacity(4..=8).max_waiters(60).max_connections(8);
    let config = config.idle_timeout(ms(50)).claim_timeout(ms(20)).seed(1).build().unwrap();
    let (client, first) = Recorded::client(&config, Instant::EPOCH, TAPE);
    drop(first.seal());
    let mut driver = Driver::new(client);
    assert_eq!(allocations(&mut driver, client_cycle), 0);
    let inputs = driver.pool.taped();
    assert!(inputs > Some(u64::from(CYCLES)), "{inputs:?}");
}

#[test]
fn a_server_in_its_steady_state_allocates_nothing() {
    let config = ServerConfig::builder()
        .capacity(8)
        .max_waiters(60)
        .max_connections(40)
        .max_handshakes(4)
        .max_per_source(6)
        .idle_timeout(ms(10))
        .max_lifetime(ms(20))
        .reuse_delay(ms(2))
        .claim_timeout(ms(20))
        .seed(1)
        .build()
        .unwrap();
    let mut driver = Driver::new(Server::new(&config, Instant::EPOCH));
    assert_eq!(allocations(&mut driver, server_cycle), 0);
    let totals = driver.pool.stats().totals;
    assert!(totals.leases > 50_000 && totals.reused > 1000, "{totals:?}");
    assert!(totals.admitted > 50_000 && totals.evicted > 100, "{totals:?}");
    assert!(totals.served_after_waiting > 1000, "{totals:?}");
    assert!(totals.expired > 100 && totals.unclaimed > 10, "{totals:?}");
}

/// Peers that come once and never again, each from an address of its own.
fn visitors_cycle(driver: &mut Driver<pool_proto::Accepting>) {
    driver.tick();
    driver.next_id += 1;
    let [_, a, b, c] = driver.next_id.to_be_bytes();
    let Ok(token) = driver.pool.accept(driver.now, Ipv4Addr::new(10, a, b, c).into()) else {
        return;
    };
    let certificate = Some([a ^ b ^ c; 32]);
    driver.pool.admit(driver.now, token, certificate).unwrap();
    let (connection, id) = (0, None);
    driver.event(Event::Established { token, connection, id });
    driver.event(Event::Closed { token });
    driver.drain();
}

#[test]
fn a_server_does_not_remember_all_sources_that_have_left() {
    const FIRST: u32 = 50_000;
    let config = ServerConfig::builder().capacity(8).seed(1).build().unwrap();
    let mut driver = Driver::new(Server::new(&config, Instant::EPOCH));
    // Far more than it remembers: the table of these has grown for the last time.
    for _ in 0..FIRST {
        visitors_cycle(&mut driver);
    }
    // A hundred times as many, so that each table has to grow.
    let allocated = measure(|| {
        for _ in 0..CYCLES {
            visitors_cycle(&mut driver);
        }
    });
    assert_eq!(allocated.count_total, 0);
    assert_eq!(driver.pool.stats().totals.admitted, u64::from(FIRST + CYCLES));
}
