//! The stage of the outages: runs them, prints their table, and checks the results.

use tokio::time::Instant;

use crate::Failure;
use crate::outage::{self, ACQUIRE_TIMEOUT, HOLDERS, Outage, SLACK, STOCK};
use crate::progress::Phase;
use crate::report::{Checks, count, table, time, wrapped};
use crate::tunnel::{BACKOFF, Side};

/// The approximate number of visitors, for the progress bar.
const VISITORS: u64 = 1600;

/// Runs two outages at the same time: in one, visitors enter at the server pool; in the other, at
/// the client pool, whose whole stock dies at once.
pub(crate) async fn outages(checks: &mut Checks) -> Result<(), Failure> {
    let began = Instant::now();
    let phase = Phase::begin("the server is down for 3 s under load", VISITORS);
    let (accepting, dialling) = tokio::try_join!(
        outage::run(Side::Accepting, &phase),
        outage::run(Side::Dialling, &phase)
    )?;
    phase.end(&format!("✓ survived two outages of 3 s in {}", time(began.elapsed())));
    let both = [&accepting, &dialling];
    let row = |name: &str, show: fn(&Outage) -> String| {
        let mut row = vec![name.to_owned()];
        row.extend(both.map(show));
        row
    };
    table(
        "Outage: the server pool and its listener closed, then back on the same port",
        &["visitors arrive at", "the server pool", "the client pool"],
        vec![
            row("server down for", |o| time(o.down)),
            row("dials while it was down", |o| count(o.dials)),
            row("  of these, one at a time", |o| count(o.probes)),
            row("longest pause between two dials", |o| time(o.largest_gap)),
            row("back → first visitor served", |o| time(o.first_served)),
            row(&format!("back → {STOCK} ready at both ends"), |o| time(o.stock_full)),
            row("visitors", |o| count(o.tally.visitors)),
            row("  served", |o| count(o.tally.served)),
            row("  refused at once", |o| count(o.refused)),
            row(&format!("  refused after {}", time(ACQUIRE_TIMEOUT)), |o| count(o.timed_out)),
            row("  cut off: began before the stop", |o| count(o.cut_off_in_use)),
            row("  cut off: began during the close", |o| {
                format!("{} in {}", count(o.while_closing), time(o.closing))
            }),
            row("  given a dead connection", |o| count(o.dead)),
        ],
    );
    println!("  Errors that visitors received:");
    for outage in both {
        wrapped(&outage.refusal);
    }
    println!("  A dead connection was taken after the last one of the server had been shut down.");
    check(checks, "server pool", &accepting);
    check(checks, "client pool", &dialling);
    Ok(())
}

fn check(checks: &mut Checks, end: &str, outage: &Outage) {
    let tally = &outage.tally;
    let lost = outage.cut_off_in_use + outage.while_closing + outage.dead;
    checks.note(
        outage.dead == 0,
        format!("no dead connection was given ({end})"),
        format!("{} visitors, {} were given one", count(tally.visitors), outage.dead),
    );
    let fault = outage.faults.first().cloned().or(match tally.wrong {
        0 => None,
        _ => tally.example.as_deref().map(str::to_owned),
    });
    checks.note(
        tally.visitors == tally.served + tally.refused + tally.cut_off
            && tally.refused == outage.refused + outage.timed_out
            && tally.cut_off == lost
            && fault.is_none(),
        format!("counts add up, no byte is wrong ({end})"),
        format!(
            "{} visitors = {} served + {} refused + {} cut off{}",
            count(tally.visitors),
            count(tally.served),
            count(tally.refused),
            count(tally.cut_off),
            fault.map(|fault| format!("; {fault}")).unwrap_or_default()
        ),
    );
    checks.note(
        outage.cut_off_in_use >= HOLDERS,
        format!("users at the stop got an error ({end})"),
        format!("{} cut off, {HOLDERS} of them by design", outage.cut_off_in_use),
    );
    let (most, most_probes) = (outage::MOST_DIALS, outage::MOST_PROBES);
    checks.note(
        outage.dials <= most && outage.probes <= most_probes,
        format!("the backoff limited the dials ({end})"),
        format!(
            "{} ≤ {most} in total, {} ≤ {most_probes} one at a time",
            outage.dials, outage.probes
        ),
    );
    let bound = BACKOFF.1 + SLACK;
    checks.note(
        outage.largest_gap <= bound && outage.first_served <= bound,
        format!("recovered within the backoff ({end})"),
        format!(
            "served after {}, pause {}, bound {}",
            time(outage.first_served),
            time(outage.largest_gap),
            time(bound)
        ),
    );
    checks.closed(outage.live);
}
