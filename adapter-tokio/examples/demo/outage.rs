//! The outage: the server pool and its listener are closed for three seconds, and return on the same
//! port, while visitors keep arriving.
//!
//! A visitor must never get a dead connection, but a visitor that is being served when the server
//! closes loses its connection. Times tell the two cases apart. The pool checks a connection during
//! the poll that hands it over, and [`stamped`](crate::ledger::stamped) takes the time before that
//! poll. `stop` is the time before the call of `close()`, and `gone` the time after `closed()` has
//! returned: by then, every connection of the server pool has been shut down. An incomplete
//! hand-over that
//! - began before `stop` was cut off in use;
//! - began between `stop` and `gone` (some milliseconds) may be either, so it is counted separately;
//! - began after `gone` is a failure: the connection was dead, and the pool did not notice.
//!
//! Any hand-over between `gone` and the return of the server is a failure too. So is, at the exit
//! side, a connection that was taken by id after `gone` and ended without a byte; bytes of a
//! visitor that arrived before the end must be delivered.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use crate::Failure;
use crate::ledger::Records;
use crate::payload::Size;
use crate::progress::Phase;
use crate::tasks::lock;
use crate::tunnel::{BACKOFF, MAX_DIALS, Plan, Side, Tunnel, live};
use crate::visitors::{Ending, Tally, Visit, visit};

const BEFORE: Duration = Duration::from_millis(400);
const OUTAGE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_millis(300);

/// The time between two visitors, at each of the two entries.
pub(crate) const EVERY: Duration = Duration::from_millis(5);

/// The time that a visitor waits for a connection here.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(300);

/// The number of visitors that hold a connection when the server closes: the first ones, which pause
/// halfway.
pub(crate) const HOLDERS: u64 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// The number of visitors that arrive at once right after the server's last connection was shut
/// down.
const AFTER_CLOSE: u64 = 32;

/// Ready connections before and after the outage.
pub(crate) const STOCK: u32 = 64;

/// The most dials, one at a time, in the 3 s. Waits are random from 0 to the cap: three shorter
/// ones, then 250 ms on average. 30 dials would be more than five standard deviations off.
pub(crate) const MOST_PROBES: u64 = 30;

/// The most dials in total. The client tries to replace the stock at once, with `MAX_DIALS` dials; a
/// pending handshake may still succeed, which starts that again.
pub(crate) const MOST_DIALS: u64 = 2 * MAX_DIALS as u64 + MOST_PROBES;

/// The time that a busy machine may add to the backoff.
pub(crate) const SLACK: Duration = Duration::from_millis(500);

/// The result of an outage, at one entry.
pub(crate) struct Outage {
    pub(crate) down: Duration,
    /// From `stop` to `gone`.
    pub(crate) closing: Duration,
    /// All dials from `stop` to the return of the server.
    pub(crate) dials: u64,
    /// The dials after the first backoff must be over: from then on, the client dials one at a time.
    pub(crate) probes: u64,
    pub(crate) largest_gap: Duration,
    /// The time from the return to the first byte that a visitor received.
    pub(crate) first_served: Duration,
    /// The time from the return to a full stock at both ends.
    pub(crate) stock_full: Duration,
    pub(crate) tally: Tally,
    pub(crate) refused: u64,
    pub(crate) timed_out: u64,
    pub(crate) refusal: String,
    pub(crate) cut_off_in_use: u64,
    pub(crate) while_closing: u64,
    pub(crate) dead: u64,
    pub(crate) faults: Vec<String>,
    pub(crate) live: u32,
}

/// The times that decide how a visit is classified.
struct Moments {
    stop: Instant,
    gone: Instant,
    back: Instant,
}

/// Runs an outage with visitors at one side.
pub(crate) async fn run(entry: Side, phase: &Phase) -> Result<Outage, Failure> {
    let stock = match entry {
        Side::Accepting => (STOCK, 512),
        Side::Dialling => (STOCK, 2 * STOCK),
    };
    let tunnel =
        Tunnel::start(Plan { entry, stock, delay: Duration::ZERO, timeout: ACQUIRE_TIMEOUT })
            .await?;
    let (stop_load, load_stopped) = watch::channel(());
    let load = tokio::spawn(load(tunnel.entry, load_stopped, phase.clone()));
    sleep_until(Instant::now() + BEFORE).await;

    let dials = |tunnel: &Tunnel| tunnel.client.stats().totals.dials;
    let (stop, before) = (Instant::now(), dials(&tunnel));
    let (port, gone) = tunnel.stop_server().await?;
    // A pool that hands out a connection that has just died is caught by these visitors.
    let mut after_close = JoinSet::new();
    for _ in 0..AFTER_CLOSE {
        after_close.spawn(visit(tunnel.entry, Size::Mixed, Duration::ZERO));
    }
    sleep_until(stop + OUTAGE).await;
    let (back, after) = (Instant::now(), dials(&tunnel));
    tunnel.restart_server(port)?;
    tunnel.stocked(STOCK).await?;
    let stock_full = back.elapsed();
    sleep_until(Instant::now() + AFTER).await;
    drop(stop_load);
    let mut visits = load.await?;
    visits.extend(after_close.join_all().await);
    tunnel.idle().await;

    let moments = Moments { stop, gone, back };
    let attempts = lock(&tunnel.attempts).clone();
    let ledger = tunnel.ledger.clone();
    let [client, server] = tunnel.stop().await;
    let mut records = std::mem::take(&mut *ledger.open());
    let mut tally = Tally::new();
    visits.iter().for_each(|visit| tally.count(visit));
    let (cut_off_in_use, while_closing, dead) = moments.classify(&records);
    let kind = match entry {
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
        refusal: records.refusals.get_mut(kind).and_then(Option::take).unwrap_or_default(),
        cut_off_in_use,
        while_closing,
        dead,
        faults: records.faults,
        live: live(&client) + live(&server),
    })
}

/// Sends visitors until `stopped` changes.
async fn load(
    entry: std::net::SocketAddr,
    mut stopped: watch::Receiver<()>,
    phase: Phase,
) -> Vec<Visit> {
    let (mut visits, mut ticks) = (JoinSet::new(), interval(EVERY));
    for _ in 0..HOLDERS {
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
    fn classify(&self, records: &Records) -> (u64, u64, u64) {
        let (mut in_use, mut closing, mut dead) = (0, 0, 0);
        for hand_over in &records.handed_over {
            let server_down = (self.gone..self.back).contains(&hand_over.began);
            match hand_over.complete {
                true if !server_down => {}
                false if hand_over.began < self.stop => in_use += 1,
                false if hand_over.began < self.gone => closing += 1,
                _ => dead += 1,
            }
        }
        let empty = records.empty_at_exit.iter();
        dead += empty.filter(|taken| taken.began >= self.gone).fold(0, |count, _| count + 1);
        (in_use, closing, dead)
    }

    /// Counts attempts after the burst with which the client tries to replace the stock.
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
