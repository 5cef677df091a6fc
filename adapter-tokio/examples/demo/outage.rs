//! The outage: the server pool and its listener go away for three seconds and come back on the same
//! port, while visitors keep coming.
//!
//! No visitor may be given a dead connection, but those that are being served when the server goes
//! lose theirs. How the two are told apart: the pool looks at a connection during the poll that
//! hands it over, and [`stamped`](crate::ledger::stamped) takes the time before that poll. `stop` is
//! the time before `close()` was called, `gone` the time after `closed()` had returned: by then
//! every connection of the server pool has been shut down. A hand-over that
//! - began before `stop` and was not served to the end: cut off in use;
//! - began between `stop` and `gone` (some milliseconds): either, so it is shown by itself;
//! - began after `gone`: the connection was dead and the pool did not notice, a failure. So is any
//!   hand-over at all until the server is back. The same holds at the exit side, for connections
//!   taken by id on which not one byte comes; where the bytes of a visitor came before its end,
//!   they have to be delivered.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use crate::Failure;
use crate::ledger::Records;
use crate::payload::Size;
use crate::progress::Phase;
use crate::tasks::lock;
use crate::visitors::{Ending, Tally, Visit, visit};
use crate::world::{BACKOFF, MAX_DIALS, Plan, Side, World, live};

const BEFORE: Duration = Duration::from_millis(400);
const OUTAGE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_millis(300);

/// Between two visitors, at each of the two entries.
pub(crate) const EVERY: Duration = Duration::from_millis(5);

/// How long a visitor waits for a connection here.
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);

/// Visitors that hold their connections when the server goes: the first to come, who pause halfway.
pub(crate) const SITTERS: u64 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Visitors that come together in the moment after the server's last connection was shut down.
const VOLLEY: u64 = 32;

/// Ready connections before and after.
pub(crate) const STOCK: u32 = 64;

/// Waits between dials are drawn from 0 to the cap: three shorter ones and then 27 of 250 ms on
/// average within 3 s would be more than five standard deviations off.
pub(crate) const MOST_PROBES: u64 = 30;

/// The stock is to be replaced at once, with as many dials as may be under way; a handshake that
/// was under way may still succeed and start that over.
pub(crate) const MOST_DIALS: u64 = 2 * MAX_DIALS as u64 + MOST_PROBES;

/// For a busy machine, on top of what the backoff may take.
pub(crate) const SLACK: Duration = Duration::from_millis(500);

/// What came of it, at one entry.
pub(crate) struct Outage {
    pub(crate) down: Duration,
    /// From `stop` to `gone`.
    pub(crate) closing: Duration,
    /// Dials from `stop` to the return, in all …
    pub(crate) dials: u64,
    /// … and of these, later than the first backoff could last: one at a time.
    pub(crate) probes: u64,
    pub(crate) largest_gap: Duration,
    /// From the return to the first byte that a visitor got.
    pub(crate) first_served: Duration,
    /// From the return to a full stock at both ends.
    pub(crate) stock_full: Duration,
    pub(crate) tally: Tally,
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
    pub(crate) told: String,
    pub(crate) cut_off_in_use: u64,
    pub(crate) while_closing: u64,
    pub(crate) dead: u64,
    pub(crate) faults: Vec<String>,
    pub(crate) live: u32,
}

/// The moments that matter.
struct Moments {
    stop: Instant,
    gone: Instant,
    back: Instant,
}

/// Runs it with visitors at one side.
pub(crate) async fn run(entry: Side, phase: &Phase) -> Result<Outage, Failure> {
    let stock = match entry {
        Side::Accepting => (STOCK, 512),
        Side::Dialling => (STOCK, 2 * STOCK),
    };
    let world =
        World::start(Plan { entry, stock, delay: Duration::ZERO, timeout: PATIENCE }).await?;
    let (stop_load, load_stopped) = watch::channel(());
    let load = tokio::spawn(load(world.entry, load_stopped, phase.clone()));
    sleep_until(Instant::now() + BEFORE).await;

    let dials = |world: &World| world.client.stats().totals.dials;
    let (stop, before) = (Instant::now(), dials(&world));
    let (port, gone) = world.stop_server().await?;
    // Whoever is given one of the connections that have just died is found out.
    let mut volley = JoinSet::new();
    for _ in 0..VOLLEY {
        volley.spawn(visit(world.entry, Size::Mixed, Duration::ZERO));
    }
    sleep_until(stop + OUTAGE).await;
    let (back, after) = (Instant::now(), dials(&world));
    world.restart_server(port)?;
    world.stocked(STOCK).await?;
    let stock_full = back.elapsed();
    sleep_until(Instant::now() + AFTER).await;
    drop(stop_load);
    let mut visits = load.await?;
    visits.extend(volley.join_all().await);
    world.idle().await;

    let moments = Moments { stop, gone, back };
    let attempts = lock(&world.attempts).clone();
    let ledger = world.ledger.clone();
    let [client, server] = world.stop().await;
    let mut records = std::mem::take(&mut *ledger.open());
    let mut tally = Tally::new();
    visits.iter().for_each(|visit| tally.count(visit));
    let (cut_off_in_use, while_closing, dead) = moments.judge(&records);
    let told = match entry {
        Side::Accepting => 0,
        Side::Dialling => 1,
    };
    Ok(Outage {
        down: back - stop,
        closing: gone - stop,
        dials: after - before,
        probes: moments.probes(&attempts),
        largest_gap: moments.largest_gap(&attempts),
        first_served: moments.first_served(&visits),
        stock_full,
        tally,
        refused: records.refused,
        timed_out: records.timed_out,
        told: records.refusals.get_mut(told).and_then(Option::take).unwrap_or_default(),
        cut_off_in_use,
        while_closing,
        dead,
        faults: records.faults,
        live: live(&client) + live(&server),
    })
}

/// Visitors, until told to stop.
async fn load(
    entry: std::net::SocketAddr,
    mut stopped: watch::Receiver<()>,
    phase: Phase,
) -> Vec<Visit> {
    let (mut visits, mut ticks) = (JoinSet::new(), interval(EVERY));
    for _ in 0..SITTERS {
        visits.spawn(visit(entry, Size::Fixed(1024), PAUSE));
    }
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                phase.step();
                visits.spawn(visit(entry, Size::Mixed, Duration::ZERO));
            }
            _ = stopped.changed() => return visits.join_all().await,
        }
    }
}

impl Moments {
    fn judge(&self, records: &Records) -> (u64, u64, u64) {
        let (mut in_use, mut closing, mut dead) = (0, 0, 0);
        for hand_over in &records.handed_over {
            let nobody_there = (self.gone..self.back).contains(&hand_over.began);
            match hand_over.complete {
                true if !nobody_there => {}
                false if hand_over.began < self.stop => in_use += 1,
                false if hand_over.began < self.gone => closing += 1,
                _ => dead += 1,
            }
        }
        let empty = records.empty_at_exit.iter();
        dead += empty.filter(|taken| taken.began >= self.gone).fold(0, |count, _| count + 1);
        (in_use, closing, dead)
    }

    /// Attempts that are certainly no part of the burst with which the stock was to be replaced.
    fn probes(&self, attempts: &[Instant]) -> u64 {
        let settled = self.gone + BACKOFF.0;
        let probes = attempts.iter().filter(|at| (settled..self.back).contains(*at));
        probes.fold(0, |count, _| count + 1)
    }

    fn largest_gap(&self, attempts: &[Instant]) -> Duration {
        let until = self.back + self.first_dial(attempts);
        let mut during = attempts.iter().filter(|at| (self.stop..=until).contains(*at));
        let Some(mut last) = during.next() else {
            return Duration::MAX;
        };
        let mut largest = Duration::ZERO;
        for at in during {
            largest = largest.max(*at - *last);
            last = at;
        }
        largest
    }

    fn first_dial(&self, attempts: &[Instant]) -> Duration {
        let first = attempts.iter().find(|at| **at >= self.back);
        first.map_or(Duration::MAX / 2, |at| *at - self.back)
    }

    fn first_served(&self, visits: &[Visit]) -> Duration {
        let answered = visits.iter().filter_map(|visit| match visit.ending {
            Ending::Served { first_byte, .. } => Some(visit.began + first_byte),
            _ => None,
        });
        let first = answered.filter(|at| *at >= self.back).min();
        first.map_or(Duration::MAX, |at| at - self.back)
    }
}
