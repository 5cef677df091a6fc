//! Measures: a recorder of what happens in runs, and the figures that follow from it.

use crate::load::Load;
use crate::scenario::Scenario;
use crate::time::{Nanos, from_seconds, millis, seconds};

/// Records what happens in a run. The records of several runs can be merged.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// The time that is counted.
    from: Nanos,
    until: Nanos,
    patience: Nanos,
    /// The end of the outage.
    outage: Option<(Nanos, Nanos)>,
    /// The waits of all callers that were counted; a caller that was not served counts with its patience.
    waits: Vec<Nanos>,
    /// The times from the arrival until both ends have the connection.
    both: Vec<Nanos>,
    at_once: u64,
    unserved: u64,
    dead: u64,
    dials: u64,
    idle: Gauge,
    capacity: Gauge,
    in_flight: Gauge,
    longest_queue: u32,
    recoveries: Vec<Recovery>,
    trace: Option<Trace>,
}

/// An outage, and the time after it.
#[derive(Clone, Copy, Debug, Default)]
struct Recovery {
    dials: u64,
    /// The mean stock before the outage.
    idle_before: f64,
    first_served: Option<Nanos>,
    full: Option<Nanos>,
}

/// The course of a run, for a picture.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The end of the run.
    pub end: Nanos,
    /// The arrivals.
    pub arrivals: Vec<Nanos>,
    /// The time, the idle stock from then on, and the capacity.
    pub stock: Vec<(Nanos, u32, u32)>,
    /// The arrivals that were not served at once, and their waits.
    pub waits: Vec<(Nanos, Nanos)>,
}

impl Trace {
    fn of(load: &Load) -> Self {
        let arrivals = load.arrivals.iter().map(|arrival| arrival.at).collect();
        Self { end: load.end, arrivals, ..Self::default() }
    }
}

/// A number over time.
#[derive(Clone, Copy, Debug, Default)]
struct Gauge {
    value: u32,
    since: Nanos,
    /// Value seconds, and their squares.
    area: f64,
    squares: f64,
    span: f64,
    max: u32,
    /// The seconds at the largest value.
    at_max: f64,
}

impl Gauge {
    fn set(&mut self, now: Nanos, value: u32, (from, until): (Nanos, Nanos)) {
        let (begin, end) = (self.since.max(from), now.min(until));
        if begin < end {
            let (held, span) = (f64::from(self.value), seconds(end - begin));
            self.area += held * span;
            self.squares += held * held * span;
            self.span += span;
            self.reach(self.value, span);
        }
        self.value = value;
        self.since = now;
    }

    /// Takes in the seconds that it was at a large value.
    fn reach(&mut self, value: u32, span: f64) {
        if value > self.max {
            (self.max, self.at_max) = (value, 0.0);
        }
        if value == self.max {
            self.at_max += span;
        }
    }

    fn mean(&self) -> f64 {
        ratio(self.area, self.span)
    }

    fn deviation(&self) -> f64 {
        (ratio(self.squares, self.span) - self.mean().powi(2)).max(0.0).sqrt()
    }

    fn merge(&mut self, other: &Self) {
        self.area += other.area;
        self.squares += other.squares;
        self.span += other.span;
        self.reach(other.max, other.at_max);
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵³")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Recorder {
    /// Creates the recorder of a run.
    #[must_use]
    pub fn new(scenario: &Scenario<'_>) -> Self {
        let until = scenario.load.end;
        let outage = scenario.load.outage.map(|outage| (outage.from, outage.until));
        Self {
            from: from_seconds(seconds(until) * scenario.warm_up),
            until,
            patience: scenario.patience,
            outage,
            waits: Vec::new(),
            both: Vec::new(),
            at_once: 0,
            unserved: 0,
            dead: 0,
            dials: 0,
            idle: Gauge::default(),
            capacity: Gauge::default(),
            in_flight: Gauge::default(),
            longest_queue: 0,
            recoveries: outage.map(|_| Recovery::default()).into_iter().collect(),
            trace: scenario.traced.then(|| Trace::of(scenario.load)),
        }
    }

    /// Records a caller that came at `at` and was served after `wait`; both ends had the connection at
    /// `both`.
    pub fn served(&mut self, at: Nanos, wait: Nanos, at_once: bool, both: Nanos) {
        let time = at.saturating_add(wait);
        if let (Some((_, end)), Some(recovery)) = (self.outage, self.recoveries.first_mut())
            && let Some(after) = time.checked_sub(end)
        {
            let first = recovery.first_served.get_or_insert(after);
            *first = after.min(*first);
        }
        if !at_once {
            self.waited(at, wait);
        }
        if at >= self.from {
            self.waits.push(wait);
            self.both.push(both.saturating_sub(at));
            self.at_once += u64::from(at_once);
        }
    }

    /// Records a caller that came at `at` and was not served within its patience.
    pub fn unserved(&mut self, at: Nanos) {
        self.waited(at, self.patience);
        if at >= self.from {
            self.waits.push(self.patience);
            self.unserved += 1;
        }
    }

    /// Records a caller that came at `at` and was served with a connection that the other end had
    /// closed, or that had failed. It counts as one that was not served.
    pub fn dead(&mut self, at: Nanos) {
        self.unserved(at);
        self.dead += u64::from(at >= self.from);
    }

    fn waited(&mut self, at: Nanos, wait: Nanos) {
        if let Some(trace) = &mut self.trace {
            trace.waits.push((at, wait));
        }
    }

    /// Records a dial.
    pub fn dial(&mut self, now: Nanos) {
        self.dials += u64::from((self.from..self.until).contains(&now));
        if let (Some((from, until)), Some(recovery)) = (self.outage, self.recoveries.first_mut()) {
            recovery.dials += u64::from((from..until).contains(&now));
        }
    }

    /// Records the number of waiters.
    pub fn queue(&mut self, now: Nanos, waiters: u32) {
        if now >= self.from {
            self.longest_queue = self.longest_queue.max(waiters);
        }
    }

    /// Records the idle stock, the capacity, and the number of dials and handshakes under way.
    pub fn stock(&mut self, now: Nanos, idle: u32, capacity: u32, in_flight: u32) {
        let window = (self.from, self.until);
        self.recover(now, idle);
        if let Some(trace) = &mut self.trace
            && trace.stock.last().is_none_or(|&(_, i, c)| (i, c) != (idle, capacity))
        {
            trace.stock.push((now, idle, capacity));
        }
        self.idle.set(now, idle, window);
        self.capacity.set(now, capacity, window);
        self.in_flight.set(now, in_flight, window);
    }

    /// The stock has recovered when it is for the first time as large as it was on average before.
    fn recover(&mut self, now: Nanos, idle: u32) {
        let (Some((from, until)), Some(recovery)) = (self.outage, self.recoveries.first_mut())
        else {
            return;
        };
        if now < from {
            recovery.idle_before = self.idle.mean();
        }
        if let Some(after) = now.checked_sub(until)
            && f64::from(idle) >= recovery.idle_before
        {
            recovery.full.get_or_insert(after);
        }
    }

    /// Ends the run.
    pub fn finish(&mut self) {
        let until = self.until;
        self.stock(until, self.idle.value, self.capacity.value, self.in_flight.value);
    }

    /// Adds the records of another run.
    pub fn merge(&mut self, other: Self) {
        self.waits.extend(other.waits);
        self.both.extend(other.both);
        self.at_once += other.at_once;
        self.unserved += other.unserved;
        self.dead += other.dead;
        self.dials += other.dials;
        self.idle.merge(&other.idle);
        self.capacity.merge(&other.capacity);
        self.in_flight.merge(&other.in_flight);
        self.longest_queue = self.longest_queue.max(other.longest_queue);
        self.recoveries.extend(other.recoveries);
    }

    /// Takes out the course of the run, if it was recorded.
    pub fn take_trace(&mut self) -> Option<Trace> {
        self.trace.take()
    }

    /// Returns the figures.
    #[must_use]
    pub fn measures(mut self) -> Measures {
        self.waits.sort_unstable();
        self.both.sort_unstable();
        let requests = self.waits.len() as u64;
        let served = requests - self.unserved;
        Measures {
            requests,
            at_once: if requests == 0 { 1.0 } else { float(self.at_once) / float(requests) },
            p50: quantile(&self.waits, 500),
            p99: quantile(&self.waits, 990),
            p999: quantile(&self.waits, 999),
            max: quantile(&self.waits, 1000),
            both_p99: quantile(&self.both, 990),
            unserved: self.unserved,
            dead: self.dead,
            idle: self.idle.mean(),
            dials_per_served: ratio(float(self.dials), float(served)),
            capacity: self.capacity.mean(),
            capacity_deviation: self.capacity.deviation(),
            capacity_max: self.capacity.max,
            capacity_at_max: ratio(self.capacity.at_max, self.capacity.span),
            in_flight_max: self.in_flight.max,
            in_flight_at_max: ratio(self.in_flight.at_max, self.in_flight.span),
            longest_queue: self.longest_queue,
            outage: OutageMeasures::of(&self.recoveries),
        }
    }
}

/// The wait in milliseconds that so many of a thousand waits, in order, do not exceed.
pub(crate) fn quantile(waits: &[Nanos], thousandths: usize) -> f64 {
    let rank = (waits.len() * thousandths).div_ceil(1000);
    waits.get(rank.saturating_sub(1)).map_or(0.0, |wait| millis(*wait))
}

/// The figures of a cell: of one contender in one or more runs. Waits are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measures {
    /// The callers that were counted.
    pub requests: u64,
    /// The share that was served at once, from 0 to 1.
    pub at_once: f64,
    /// The median of the waits. Callers that were not served count with their patience.
    pub p50: f64,
    /// The wait that 99 % do not exceed.
    pub p99: f64,
    /// The wait that 99.9 % do not exceed.
    pub p999: f64,
    /// The longest wait.
    pub max: f64,
    /// The time from the arrival until both ends have the connection, which 99 % do not exceed.
    pub both_p99: f64,
    /// The callers that were not served within their patience.
    pub unserved: u64,
    /// The unserved callers that got a dead connection.
    pub dead: u64,
    /// The mean of the idle stock at the client.
    pub idle: f64,
    /// Dials per caller that was served.
    pub dials_per_served: f64,
    /// The mean of the capacity.
    pub capacity: f64,
    /// The standard deviation of the capacity over time.
    pub capacity_deviation: f64,
    /// The largest capacity.
    pub capacity_max: u32,
    /// The part of the time that it was that large, from 0 to 1.
    pub capacity_at_max: f64,
    /// The most dials and handshakes at a time.
    pub in_flight_max: u32,
    /// The part of the time that there were so many, from 0 to 1.
    pub in_flight_at_max: f64,
    /// The most waiters at a time.
    pub longest_queue: u32,
    /// The outage, if there was one.
    pub outage: Option<OutageMeasures>,
}

/// The figures of an outage, on average over the runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutageMeasures {
    /// The dials that were begun in it.
    pub dials: f64,
    /// The milliseconds from its end to the first caller that was served; infinite if a run had none.
    pub first_served: f64,
    /// The milliseconds from its end until the stock was as large as on average before it; infinite if
    /// in a run it never was.
    pub full: f64,
}

impl OutageMeasures {
    fn of(recoveries: &[Recovery]) -> Option<Self> {
        let mean = |figure: fn(&Recovery) -> f64| {
            ratio(recoveries.iter().map(figure).sum(), float(recoveries.len() as u64))
        };
        (!recoveries.is_empty()).then(|| Self {
            dials: mean(|recovery| float(recovery.dials)),
            first_served: mean(|recovery| recovery.first_served.map_or(f64::INFINITY, millis)),
            full: mean(|recovery| recovery.full.map_or(f64::INFINITY, millis)),
        })
    }
}
