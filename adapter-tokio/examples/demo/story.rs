//! The story, chapter by chapter; the first one is told here.

use std::time::Duration;

use crate::Failure;
use crate::ledger::Records;
use crate::payload::Size;
use crate::progress::Phase;
use crate::report::{Checks, count, megabytes, time};
use crate::visitors::{Load, Tally, send};
use crate::world::{Plan, Side, World, live};
use crate::{aftermath, descriptors, latency};

/// Visitors at a time, and in a burst.
pub(crate) const CROWD: u64 = 200;

/// Visitors in the first chapter.
const VISITORS: u64 = 4000;

/// All chapters.
pub(crate) async fn tell(checks: &mut Checks) -> Result<(), Failure> {
    println!(
        "A tunnel over loopback on two connection pools: TLS 1.3, the certificate pinned by its"
    );
    println!("fingerprint, ids told over a control channel, every byte checked there and back.\n");
    let before = descriptors::open();
    carry(checks).await?;
    latency::compare(checks).await?;
    aftermath::outages(checks).await?;
    if let (Some(before), Some(after)) = (before, descriptors::open()) {
        checks.note(
            before == after,
            "every file descriptor is closed again",
            format!("{before} open before, {after} after"),
        );
    }
    Ok(())
}

/// Closes a world, checks that nothing is left of it, and gives what was written down.
pub(crate) async fn close(world: World, checks: &mut Checks) -> Records {
    world.idle().await;
    let ledger = world.ledger.clone();
    let [client, server] = world.stop().await;
    checks.closed(live(&client) + live(&server));
    std::mem::take(&mut *ledger.open())
}

/// A crowd is carried through, on new and used connections, with and without early data.
async fn carry(checks: &mut Checks) -> Result<(), Failure> {
    let world = World::start(Plan {
        entry: Side::Accepting,
        stock: (64, 512),
        delay: Duration::ZERO,
        timeout: Duration::from_secs(5),
    })
    .await?;
    let phase = Phase::begin("carrying visitors, 200 at a time", VISITORS);
    let load = Load::Crowd { at_a_time: CROWD, total: VISITORS };
    let tally = send(world.entry, load, Size::Mixed, &phase).await;
    world.idle().await;
    let totals = world.client.stats().totals;
    phase.end(&format!(
        "✓ carried {} visitors, {CROWD} at a time, in {}: {} each way on {} connections",
        count(tally.served),
        time(tally.took),
        megabytes(tally.bytes),
        count(totals.established),
    ));
    let mut records = close(world, checks).await;
    faultless(checks, "crowd", &tally, &records);
    checks.note(
        records.service_bytes == tally.bytes && tally.wrong == 0,
        "every byte arrived, and came back",
        format!("{} arrived, {} returned", bytes(records.service_bytes), bytes(tally.bytes)),
    );
    let (entry, exit) = (&mut records.entry_ids, &mut records.exit_ids);
    entry.sort_unstable();
    exit.sort_unstable();
    let compared = u64::try_from(exit.len())?;
    checks.note(
        entry == exit && compared == tally.visitors && records.misnamed == 0,
        "both ends name connections alike",
        format!("{} ids compared, {} differ", count(compared), records.misnamed),
    );
    checks.note(
        records.early * 2 == tally.visitors,
        "half sent before the exit was told the id",
        format!("{} of {}", count(records.early), count(tally.visitors)),
    );
    checks.note(
        totals.reused > 0 && records.not_given_back.is_empty(),
        "connections were put back and reused",
        match records.not_given_back.first() {
            None => format!("{} of {} leases", count(totals.reused), count(totals.leases)),
            Some(error) => error.clone(),
        },
    );
    Ok(())
}

fn bytes(number: u64) -> String {
    format!("{} B", count(number))
}

/// For load without an outage.
pub(crate) fn faultless(checks: &mut Checks, what: &str, tally: &Tally, records: &Records) {
    let fault = tally.example.as_deref().or(records.faults.first().map(String::as_str));
    checks.note(
        tally.served == tally.visitors && records.faults.is_empty() && records.misnamed == 0,
        format!("all visitors were served ({what})"),
        format!(
            "{} came = {} served + {} refused{}",
            count(tally.visitors),
            count(tally.served),
            count(tally.refused),
            fault.map(|fault| format!("; {fault}")).unwrap_or_default()
        ),
    );
}
