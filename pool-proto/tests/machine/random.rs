//! Long random lives of pools: whatever order things happen in, the harness's account agrees with
//! the machine's, and the same seed gives the same life.

use fastrand::Rng;
use pool_proto::{
    Acquired, CheckResult, Collected, ConnId, Dialing, Event, HandshakeFailure, IdExchange, Lease,
    Role, Stock, TakeOrder, Token, Tuning, WaitReason, WaiterId,
};
use pool_testkit::harness::*;

/// How many lives of a thousand steps are lived in each role.
const LIVES: u64 = 200;

/// A pool and what its users hold.
struct Life<R: Role> {
    pool: Harness<R>,
    random: Rng,
    leases: Vec<Lease<u32>>,
    /// Ids that were seen once.
    ids: Vec<ConnId>,
    tokens: Vec<Token>,
    /// Whether the zero id is the control connection's.
    control: bool,
}

impl<R: Role> Life<R> {
    fn new(pool: Harness<R>, seed: u64) -> Self {
        Self {
            pool,
            random: Rng::with_seed(seed),
            leases: Vec::new(),
            ids: vec![id(0)],
            tokens: Vec::new(),
            control: false,
        }
    }

    fn some<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        self.random.choice(from).copied()
    }

    fn lease(&mut self) -> Option<Lease<u32>> {
        let count = self.leases.len();
        (count > 0).then(|| self.leases.swap_remove(self.random.usize(..count)))
    }

    fn keep(&mut self, lease: Lease<u32>) {
        self.ids.push(lease.id);
        self.tokens.push(lease.token);
        self.leases.push(lease);
    }

    fn result(&mut self) -> CheckResult {
        match self.random.u8(..10) {
            0 => CheckResult::Closed,
            1 | 2 => CheckResult::Data,
            _ => CheckResult::Quiet,
        }
    }

    fn acquired(&mut self, answer: Acquired<u32>) {
        if let Acquired::Ready(lease) = answer {
            self.keep(lease);
        }
    }

    fn collect(&mut self, waiter: WaiterId) {
        if let Collected::Ready(lease) = self.pool.collect(waiter) {
            self.keep(lease);
        }
    }

    /// What happens in both roles.
    fn step(&mut self) {
        let ids = self.ids.clone();
        let (waiters, pooled) = (self.pool.waiters(), self.pool.pooled());
        match self.random.u8(..100) {
            0..15 => {
                let answer = self.pool.acquire();
                if let Acquired::Ready(lease) = &answer {
                    assert!(!self.control || lease.id != id(0), "the control connection");
                }
                self.acquired(answer);
            }
            15..20 => {
                let Some(id) = self.some(&ids) else { return };
                let answer = self.pool.acquire_by_id(id);
                self.acquired(answer);
            }
            20..25 => {
                let ready = self.random.u32(0..7);
                let _: Stock = self.pool.wait_ready(ready);
            }
            25..40 => {
                if let Some(waiter) = self.some(&waiters) {
                    self.collect(waiter);
                }
            }
            40..45 => {
                if let Some(waiter) = self.some(&waiters) {
                    self.pool.cancel(waiter);
                    assert_eq!(self.pool.collect(waiter), Collected::Unknown);
                }
            }
            45..60 => {
                let Some(lease) = self.lease() else { return };
                if self.random.bool() {
                    let _ = self.pool.put(lease);
                } else {
                    let result = self.result();
                    let _ = self.pool.put_drained(lease, result);
                }
            }
            60..65 => {
                let Some(lease) = self.lease() else { return };
                let result = self.result();
                self.pool.reject(lease, result);
                if self.random.bool() {
                    let answer = self.pool.acquire_again();
                    self.acquired(answer);
                }
            }
            65..67 => {
                if let Some(lease) = self.lease() {
                    self.pool.release(lease);
                }
            }
            67..75 => {
                if let Some(token) = self.some(&pooled) {
                    self.pool.readable(token);
                }
            }
            75..77 => {
                if let Some(token) = self.some(&pooled) {
                    self.pool.closed(token);
                }
            }
            77..88 => {
                if !self.pool.checks.is_empty() {
                    let result = self.result();
                    self.pool.checked(result);
                }
            }
            88..96 => {
                let millis = self.random.u64(..200);
                if self.random.bool() {
                    self.pool.pass(ms(millis));
                } else {
                    // Late: things happen before the timeout does.
                    self.pool.wait(ms(millis));
                }
            }
            96 => self.pool.timeout(),
            97 if self.random.u8(..4) == 0 => drop(self.pool.flush()),
            98 if self.random.u8(..4) == 0 => drop(self.pool.clean()),
            _ => {
                // Something stale or unknown.
                let tokens = self.tokens.clone();
                if let Some(token) = self.some(&tokens) {
                    self.pool.established(token, None);
                    self.pool.event(Event::Dialed { token });
                }
            }
        }
    }
}

/// From here on everything goes well: who waits for any connection must get one.
fn served(mut life: Life<Dialing>, ids: IdExchange, tuning: Tuning) -> ClientHarness {
    life.pool.auto = Some(CheckResult::Quiet);
    while !life.pool.checks.is_empty() {
        life.pool.checked(CheckResult::Quiet);
    }
    for round in 0.. {
        while let Some(lease) = life.leases.pop() {
            life.pool.release(lease);
        }
        for token in life.pool.dialing() {
            life.pool.dialed(token);
        }
        for token in life.pool.handshaking() {
            let fresh = id(1000 + u32::try_from(life.pool.log.len()).unwrap());
            let given = (ids != IdExchange::None).then_some(fresh);
            life.pool.established(token, given);
        }
        life.pool.pass(ms(50));
        for waiter in life.pool.waiters() {
            life.collect(waiter);
        }
        let waiting = life.pool.waiters().into_iter();
        let mut reasons = waiting.filter_map(|waiter| life.pool.machine.why(waiter));
        // An id may never come, and the reference's capacity does not follow demand.
        let in_vain = |why| match why {
            WaitReason::IdNotSeen => true,
            WaitReason::Stock { .. } => tuning == Tuning::NodePass,
            _ => false,
        };
        if reasons.all(in_vain) {
            break;
        }
        assert!(round < 200, "{:?}", life.pool.stats());
    }
    life.pool
}

fn client_life(seed: u64, steps: u32) -> ClientHarness {
    let mut random = Rng::with_seed(seed);
    let (min, max) = (random.u32(1..4), random.u32(4..7));
    let (max_dials, max_connections) = (random.u32(1..5), random.u32(6..16));
    let ids = *random.choice(&[IdExchange::default(), IdExchange::None]).unwrap();
    let tuning = *random.choice(&[Tuning::Demand, Tuning::NodePass]).unwrap();
    // Its ids are made at random here, and may come to zero.
    let control = ids != IdExchange::None && random.bool();
    let pool = ClientHarness::client(min, max, |config| {
        config
            .ids(ids)
            .max_dials(max_dials)
            .max_connections(max_connections)
            .max_waiters(random.u32(1..9))
            .tuning(tuning)
            .take_order(*random.choice(&[TakeOrder::OldestFirst, TakeOrder::NewestFirst]).unwrap())
            .reuse_delay(ms(random.u64(..2) * 70))
            .idle_timeout(random.bool().then_some(ms(900)))
            .max_lifetime(random.bool().then_some(ms(1500)))
            .claim_timeout(ms(300))
            .control_connection(control)
            .backoff(ms(20), ms(300))
            .seed(seed)
    });
    let mut life = Life::new(pool, seed);
    life.pool.max_dials = max_dials;
    life.control = control;
    for _ in 0..steps {
        let (dialing, handshaking) = (life.pool.dialing(), life.pool.handshaking());
        match life.random.u8(..100) {
            0..20 => {
                if let Some(token) = life.some(&dialing) {
                    life.pool.dialed(token);
                }
            }
            20..40 => {
                if let Some(token) = life.some(&handshaking) {
                    let fresh = id(life.random.u32(..40));
                    life.ids.push(fresh);
                    life.tokens.push(token);
                    let named = ids != IdExchange::None && life.random.u8(..20) > 0;
                    let given = named.then_some(fresh);
                    life.pool.established(token, given);
                }
            }
            40..42 => {
                if let Some(token) = life.some(&dialing) {
                    life.pool.dial_failed(token);
                }
            }
            42..44 => {
                if let Some(token) = life.some(&handshaking) {
                    life.pool.handshake_failed(token, HandshakeFailure::Tls);
                }
            }
            _ => life.step(),
        }
    }
    served(life, ids, tuning)
}

fn server_life(seed: u64, steps: u32) -> ServerHarness {
    let mut random = Rng::with_seed(seed);
    let (capacity, max_connections) = (random.u32(1..7), random.u32(7..14));
    let max_per_source = random.bool().then_some(random.u32(2..6));
    let control = random.bool();
    let mut pool = ServerHarness::server(capacity, |config| {
        config
            .max_connections(max_connections)
            .max_handshakes(random.u32(1..5))
            .max_per_source(max_per_source)
            .reuse_delay(ms(random.u64(..2) * 70))
            .idle_timeout(random.bool().then_some(ms(900)))
            .max_lifetime(random.bool().then_some(ms(1500)))
            .claim_timeout(ms(300))
            .control_connection(control)
            .seed(seed)
    });
    pool.max_per_source = max_per_source.map(|limit| limit as usize);
    let mut life = Life::new(pool, seed);
    life.control = control;
    for step in 0..steps {
        let handshaking = life.pool.handshaking();
        match life.random.u8(..100) {
            0..25 => {
                let source = life.random.u8(..4).min(life.random.u8(..4));
                if let Ok(admission) = life.pool.admit(&format!("10.0.0.{source}")) {
                    life.ids.push(admission.id);
                    life.tokens.push(admission.token);
                }
            }
            25..45 => {
                if let Some(token) = life.some(&handshaking) {
                    life.pool.established(token, None);
                }
            }
            45..47 => {
                if let Some(token) = life.some(&handshaking) {
                    life.pool.handshake_failed(token, HandshakeFailure::Id);
                }
            }
            47 if step > steps / 10 * 9 => life.pool.event(Event::AcceptEnded),
            _ => life.step(),
        }
    }
    life.pool
}

#[test]
fn a_client_keeps_its_books_whatever_happens() {
    for seed in 0..LIVES {
        client_life(seed, 1000);
    }
}

#[test]
fn a_server_keeps_its_books_whatever_happens() {
    for seed in 0..LIVES {
        server_life(seed, 1000);
    }
}

#[test]
fn the_same_seed_and_inputs_give_the_same_actions() {
    for seed in 0..5 {
        let (first, second) = (client_life(seed, 1000), client_life(seed, 1000));
        assert!(first.log.len() > 50);
        assert_eq!(first.log, second.log);
        assert_eq!(first.now, second.now);
        assert_eq!(server_life(seed, 1000).log, server_life(seed, 1000).log);
    }
}
