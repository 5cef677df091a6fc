//! The pool of the Go package `github.com/NodePassProject/pool`, as a small model of its own over the
//! same network and arrivals. Its capacity and interval are those of
//! [`Tuning::NodePass`](pool_proto::Tuning::NodePass), which agrees with measurements of the package.
//!
//! The client refills in rounds. A round dials all missing connections at once, *waits for all of
//! these dials*, moves the capacity, and then sleeps for the interval. So a round lasts as long as
//! its slowest dial, and the next one is late by that. Failures cause no backoff. The ends do not
//! watch idle connections: a dead one stays in the stock until it is taken.

use std::collections::VecDeque;

use pool_proto::Tuner;

use crate::load::Arrival;
use crate::measure::Recorder;
use crate::network::{Processor, Reach, reach};
use crate::scenario::{Scenario, Taker};
use crate::schedule::Schedule;
use crate::time::{Nanos, SECOND, from_duration};

/// The time after which a dial is given up.
const DIAL_TIMEOUT: Nanos = 10 * SECOND;

/// An event; the number is that of a connection or of a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Round,
    Failed,
    FirstByte(usize),
    AtServer(usize),
    AtClient(usize),
    Reap(usize),
    OutageBegins,
    Arrive(usize),
    Acquire(usize),
    GiveUp(usize),
    Told(usize),
    AcquireById(usize),
    Finish(usize),
}

/// A connection, in the order of its numbers.
#[derive(Clone, Copy, Default)]
struct Connection {
    /// Whether it counts in the client's stock.
    idle_at_client: bool,
    dead: bool,
}

struct Request {
    arrival: Arrival,
    /// The connection, when it was taken, and whether at once.
    taken: Option<(usize, Nanos, bool)>,
    over: bool,
}

struct Model<'a> {
    scenario: &'a Scenario<'a>,
    schedule: Schedule<What>,
    processor: Processor,
    /// Capacity and interval, by [`Tuning::NodePass`](pool_proto::Tuning::NodePass).
    law: Tuner,
    connections: Vec<Connection>,
    requests: Vec<Request>,
    /// The ready connections at the taking end, and the callers that wait there.
    ready: VecDeque<usize>,
    waiters: VecDeque<usize>,
    idle: u32,
    /// Dials of the round that are not over, and the connections that it has created.
    pending: u32,
    created: u32,
    recorder: Recorder,
}

/// Runs the law through a scenario of one client.
#[must_use]
pub fn run(scenario: &Scenario<'_>, law: Tuner) -> Recorder {
    let request = |arrival: &Arrival| Request { arrival: *arrival, taken: None, over: false };
    let model = Model {
        scenario,
        schedule: Schedule::new(),
        processor: Processor::new(scenario.network.cores),
        law,
        connections: Vec::new(),
        requests: scenario.load.arrivals.iter().map(request).collect(),
        ready: VecDeque::new(),
        waiters: VecDeque::new(),
        idle: 0,
        pending: 0,
        created: 0,
        recorder: Recorder::new(scenario),
    };
    model.run()
}

impl Model<'_> {
    fn run(mut self) -> Recorder {
        self.schedule.at(0, What::Round);
        if let Some(outage) = self.scenario.load.outage {
            self.schedule.at(outage.from, What::OutageBegins);
        }
        if let Some(first) = self.requests.first() {
            self.schedule.at(first.arrival.at, What::Arrive(0));
        }
        let end = self.scenario.load.end + 2 * self.scenario.patience + SECOND;
        while let Some(what) = self.schedule.next(end) {
            self.happen(what);
        }
        self.recorder.finish();
        self.recorder
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Round => self.round(),
            What::Failed => self.dial_over(false),
            What::FirstByte(number) => {
                let network = &self.scenario.network;
                let done = self.processor.work(self.schedule.now(), network.handshake_cost);
                self.schedule.at(done + network.to_admission(), What::AtServer(number));
            }
            What::AtServer(number) => {
                self.schedule.after(self.scenario.network.one_way(), What::AtClient(number));
                if let Some(limit) = self.scenario.load.reaper {
                    self.schedule.after(limit, What::Reap(number));
                }
                if self.scenario.taker == Taker::Server {
                    self.offer(number);
                }
            }
            What::AtClient(number) => self.at_client(number),
            What::Reap(number) => {
                if let Some(connection) = self.connections.get_mut(number) {
                    connection.dead |= connection.idle_at_client;
                }
            }
            What::OutageBegins => self.connections.iter_mut().for_each(|all| all.dead = true),
            What::Arrive(request) => self.arrive(request),
            What::Acquire(request) => self.acquire(request),
            What::GiveUp(request) => self.give_up(request),
            What::Told(request) => {
                let done = self.work_of_take();
                self.schedule.at(done, What::AcquireById(request));
            }
            What::AcquireById(request) => self.acquire_by_id(request),
            What::Finish(request) => self.finish(request),
        }
    }

    fn record_stock(&mut self) {
        let now = self.schedule.now();
        self.recorder.stock(now, self.idle, self.law.capacity(), self.pending);
    }

    fn work_of_take(&mut self) -> Nanos {
        self.processor.work(self.schedule.now(), self.scenario.network.take_cost)
    }

    // --- rounds ---------------------------------------------------------------------------------

    fn round(&mut self) {
        self.law.begin_round(self.idle);
        self.pending = self.law.capacity().saturating_sub(self.idle);
        self.created = 0;
        for _ in 0..self.pending {
            self.dial();
        }
        if self.pending == 0 {
            self.end_round();
        }
        self.record_stock();
    }

    fn dial(&mut self) {
        let (now, network) = (self.schedule.now(), &self.scenario.network);
        self.recorder.dial(now);
        match reach(self.scenario.load.outage, network, now) {
            Reach::At(at) if at <= now + DIAL_TIMEOUT => {
                let number = self.connections.len();
                self.connections.push(Connection::default());
                self.schedule.at(at + network.to_processor(), What::FirstByte(number));
            }
            Reach::At(_) => self.schedule.at(now + DIAL_TIMEOUT, What::Failed),
            Reach::RefusedAt(at) => self.schedule.at(at, What::Failed),
        }
    }

    fn at_client(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number) else { return };
        let dead = connection.dead;
        if !dead {
            connection.idle_at_client = true;
            self.idle += 1;
            if self.scenario.taker == Taker::Client {
                self.offer(number);
            }
        }
        self.dial_over(!dead);
    }

    fn dial_over(&mut self, success: bool) {
        self.pending -= 1;
        self.created += u32::from(success);
        if self.pending == 0 {
            self.end_round();
        }
        self.record_stock();
    }

    fn end_round(&mut self) {
        self.law.end_round(self.created);
        self.schedule.after(from_duration(self.law.interval()), What::Round);
    }

    // --- users ----------------------------------------------------------------------------------

    fn arrive(&mut self, request: usize) {
        if let Some(next) = self.requests.get(request + 1) {
            self.schedule.at(next.arrival.at, What::Arrive(request + 1));
        }
        match self.work_of_take() {
            done if done > self.schedule.now() => self.schedule.at(done, What::Acquire(request)),
            _ => self.acquire(request),
        }
    }

    fn acquire(&mut self, request: usize) {
        match self.ready.pop_front() {
            Some(number) => self.taken(request, number, true),
            None => {
                self.waiters.push_back(request);
                self.schedule.after(self.scenario.patience, What::GiveUp(request));
            }
        }
        let waiters = u32::try_from(self.waiters.len()).unwrap_or(u32::MAX);
        self.recorder.queue(self.schedule.now(), waiters);
    }

    fn give_up(&mut self, request: usize) {
        let Some(caller) = self.requests.get_mut(request) else { return };
        if caller.taken.is_none() {
            caller.over = true;
            self.recorder.unserved(caller.arrival.at);
        }
    }

    /// Gives a connection to the first caller that waits, or keeps it.
    fn offer(&mut self, number: usize) {
        while let Some(request) = self.waiters.pop_front() {
            if self.requests.get(request).is_some_and(|request| !request.over) {
                return self.taken(request, number, false);
            }
        }
        self.ready.push_back(number);
    }

    fn taken(&mut self, request: usize, number: usize, at_once: bool) {
        let now = self.schedule.now();
        if let Some(caller) = self.requests.get_mut(request) {
            caller.taken = Some((number, now, at_once));
        }
        if self.scenario.taker == Taker::Client {
            self.leave_stock(number);
        }
        self.schedule.after(self.scenario.network.one_way(), What::Told(request));
    }

    fn leave_stock(&mut self, number: usize) {
        if let Some(connection) = self.connections.get_mut(number) {
            self.idle -= u32::from(std::mem::take(&mut connection.idle_at_client));
        }
        self.record_stock();
    }

    fn acquire_by_id(&mut self, request: usize) {
        let now = self.schedule.now();
        let Some(caller) = self.requests.get(request) else { return };
        let (Some((number, taken, at_once)), arrival) = (caller.taken, caller.arrival) else {
            return;
        };
        if self.scenario.taker == Taker::Server {
            self.leave_stock(number);
        }
        if self.connections.get(number).is_none_or(|connection| connection.dead) {
            return self.recorder.dead(arrival.at);
        }
        self.recorder.served(arrival.at, taken - arrival.at, at_once, now);
        if self.scenario.load.put_back {
            self.schedule.after(arrival.hold, What::Finish(request));
        }
    }

    /// Both ends put the connection back, unless the stock is full.
    fn finish(&mut self, request: usize) {
        let taken = self.requests.get(request).and_then(|request| request.taken);
        let Some((number, ..)) = taken else { return };
        let Some(connection) = self.connections.get_mut(number) else { return };
        if connection.dead || self.idle >= self.law.max_capacity() {
            return;
        }
        connection.idle_at_client = true;
        self.idle += 1;
        self.offer(number);
        self.record_stock();
    }
}

#[cfg(test)]
mod tests;
