//! The machine in virtual time against runs of the Go package: every `rounds-*.csv` in `tests/vectors`. The
//! connections of a run take a known time to dial, and its callers come at known times, which the comments
//! of the file tell.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pool_proto::{Acquired, Instant, Stats, Tuning, WaiterId};
use pool_testkit::harness::*;

/// The time between the ticks at which callers come, in milliseconds.
const EVERY: u64 = 100;

/// The time by which a round of the Go package may be later than its due time, in milliseconds.
const LATE: u64 = 40;

/// The time by which the begin of a round may have been seen late.
const SEEN_LATE: u64 = 10;

/// A row: a round that has dialled or changed something.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    idle: u32,
    before: u32,
    created: u32,
    interval: u64,
    capacity: u32,
}

/// A run of the Go package.
struct Run {
    settings: HashMap<String, u64>,
    /// The begin of each round in milliseconds, and its row.
    rounds: Vec<(u64, Row)>,
}

impl Run {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let (comments, rows): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| line.starts_with('#'));
        let words = comments.iter().flat_map(|line| line.split([' ', ';']));
        let settings = words
            .filter_map(|word| word.split_once('='))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        let rounds = rows.iter().skip(1).map(|line| {
            let fields: Vec<u64> =
                line.replacen('.', "", 1).split(',').map(|field| field.parse().unwrap()).collect();
            let [at, idle, before, created, interval, capacity] = fields[..] else {
                panic!("{line}")
            };
            let small = |number: u64| u32::try_from(number).unwrap();
            let [idle, before, created, capacity] = [idle, before, created, capacity].map(small);
            (at, Row { idle, before, created, interval, capacity })
        });
        Self { settings: settings.collect(), rounds: rounds.collect() }
    }

    fn setting(&self, name: &str) -> u64 {
        *self.settings.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// The callers that come at each tick.
    fn callers(&self) -> impl Iterator<Item = usize> {
        let ticks = ["slow_ticks", "busy_ticks", "quiet_ticks"].map(|name| self.setting(name));
        let counts = [1, 3, 0].into_iter().zip(ticks);
        counts.flat_map(|(callers, ticks)| (0..ticks).map(move |_| callers))
    }
}

/// A client whose callers use up their connections.
struct Client<I> {
    pool: ClientHarness,
    dial: Duration,
    callers: I,
    waiters: VecDeque<WaiterId>,
    next_tick: Instant,
}

impl<I: Iterator<Item = usize>> Client<I> {
    /// Lets time pass until `end`, with the ticks before it.
    fn pass_until(&mut self, end: Instant) {
        while self.next_tick < end {
            self.pool.pass(self.next_tick.since(self.pool.now));
            for _ in 0..self.callers.next().unwrap_or(0) {
                match self.pool.acquire() {
                    Acquired::Ready(lease) => self.pool.release(lease),
                    Acquired::Queued(waiter) => self.waiters.push_back(waiter),
                    Acquired::Refused(refusal) => panic!("{refusal}"),
                }
            }
            self.next_tick = self.next_tick + ms(EVERY);
        }
        self.pool.pass(end.since(self.pool.now));
    }

    /// Completes a round that has just begun with this stock, and returns it with the interval slept.
    fn round(&mut self, idle: u32, before: u32) -> Row {
        let dials = self.pool.dialing();
        if !dials.is_empty() {
            let end = self.pool.now + self.dial;
            self.pass_until(end);
            assert_eq!(
                self.pool.stats().capacity,
                before,
                "the round goes on until its dials are over"
            );
        }
        for dial in &dials {
            self.pool.connect(*dial);
            if let Some(waiter) = self.waiters.pop_front() {
                let lease = self.pool.collect_lease(waiter);
                self.pool.release(lease);
            }
        }
        let Stats { capacity, interval, .. } = self.pool.stats();
        let created = u32::try_from(dials.len()).unwrap();
        let interval = u64::try_from(interval.as_millis()).unwrap();
        Row { idle, before, created, interval, capacity }
    }

    /// Sleeps the interval after a round, to the begin of the next one. Returns the stock at that moment.
    fn sleep(&mut self, interval: u64, first_tick: u64) -> (u32, u32) {
        let due = self.pool.now + ms(interval);
        self.pass_until(Instant::from_nanos(due.as_nanos() - 1));
        assert_eq!(self.pool.dialing(), [], "nothing is dialled between rounds");
        let Stats { idle, capacity, .. } = self.pool.stats();
        self.pass_until(due);
        if !self.pool.dialing().is_empty() {
            self.next_tick = due + ms(first_tick);
        }
        (idle, capacity)
    }
}

/// Goes through a run, and returns the number of its rounds.
fn replay(run: &Run) -> usize {
    let [min, max] =
        ["min_capacity", "max_capacity"].map(|name| u32::try_from(run.setting(name)).unwrap());
    let [shortest, longest] = ["min_interval_ms", "max_interval_ms"].map(|name| run.setting(name));
    let first_tick = run.setting("first_tick_ms");
    let mut client = Client {
        pool: ClientHarness::client(min, max, |config| {
            config.tuning(Tuning::NodePass).interval(ms(shortest)..=ms(longest)).max_dials(max)
        }),
        dial: ms(run.setting("dial_ms")),
        callers: run.callers(),
        waiters: VecDeque::new(),
        next_tick: Instant::EPOCH + ms(first_tick),
    };
    let (mut stock, mut interval) = ((0, min), shortest);
    let mut last: Option<(u64, Instant)> = None;
    for (at, expected) in &run.rounds {
        let (begun, row) = loop {
            let begun = client.pool.now;
            let row = client.round(stock.0, stock.1);
            stock = client.sleep(row.interval, first_tick);
            // Rounds that change nothing have no row.
            let changes = row.created > 0 || row.interval != interval || row.capacity != row.before;
            interval = row.interval;
            if changes {
                break (begun, row);
            }
        };
        assert_eq!(row, *expected, "at {at} ms");
        if let Some((last_at, last_begun)) = last {
            let (theirs, ours) = (at - last_at, begun.since(last_begun).as_millis());
            let ours = u64::try_from(ours).unwrap();
            let fits = (ours - SEEN_LATE..=ours + LATE).contains(&theirs);
            assert!(fits, "{theirs} ms to the round at {at} ms, and {ours} ms here");
        }
        last = Some((*at, begun));
    }
    run.rounds.len()
}

#[test]
fn the_machine_goes_through_the_rounds_of_the_go_package() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let is_run = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rounds-"))
    };
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let runs: Vec<_> = files.filter(is_run).collect();
    assert!(runs.len() >= 6, "runs are missing: {runs:?}");
    for path in &runs {
        println!("{}: {} rounds agree", path.display(), replay(&Run::read(path)));
    }
}
