//! The stages of the demo, and the first of them: carrying visitors.

use std::time::Duration;

use crate::Failure;
use crate::ledger::Records;
use crate::payload::Size;
use crate::progress::Phase;
use crate::report::{Checks, count, megabytes, time};
use crate::tunnel::{Plan, Side, Tunnel, live};
use crate::visitors::{Load, Tally, send};
use crate::{descriptors, latency, outage_report};

/// The number of visitors at a time, and in a burst.
pub(crate) const AT_A_TIME: u64 = 200;

/// The number of visitors in the first stage.
const VISITORS: u64 = 4000;

/// Runs all stages.
pub(crate) async fn run(checks: &mut Checks) -> Result<(), Failure> {
    println!(
        "A tunnel over loopback on two connection pools: TLS 1.3, the certificate pinned by its"
    );
    println!(
        "fingerprint, ids sent over a control channel, every byte checked in both directions.\n"
    );
    let before = descriptors::open();
    carry(checks).await?;
    latency::compare(checks).await?;
    outage_report::outages(checks).await?;
    if let (Some(before), Some(after)) = (before, descriptors::open()) {
        checks.note(
            before == after,
            "every file descriptor is closed again",
            format!("{before} open before, {after} after"),
        );
    }
    Ok(())
}

/// Closes a tunnel, checks that its pools are empty, and returns its records.
pub(crate) async fn close(tunnel: Tunnel, checks: &mut Checks) -> Records {
    tunnel.idle().await;
    let ledger = tunnel.ledger.clone();
    let [client, server] = tunnel.stop().await;
    checks.closed(live(&client) + live(&server));
    std::mem::take(&mut *ledger.open())
}

/// Carries visitors, on new and reused connections, with and without early data.
async fn carry(checks: &mut Checks) -> Result<(), Failure> {
    let tunnel = Tunnel::start(Plan {
        entry: Side::Accepting,
        stock: (64, 512),
        delay: Duration::ZERO,
        timeout: Duration::from_secs(5),
    })
    .await?;
    let phase = Phase::begin("carrying visitors, 200 at a time", VISITORS);
    let load = Load::Concurrent { at_a_time: AT_A_TIME, total: VISITORS };
    let tally = send(tunnel.entry, load, Size::Mixed, &phase).await;
    tunnel.idle().await;
    let totals = tunnel.client.stats().totals;
    phase.end(&format!(
        "✓ carried {} visitors, {AT_A_TIME} at a time, in {}: {} each way on {} connections",
        count(tally.served),
        time(tally.took),
        megabytes(tally.bytes),
        count(totals.established),
    ));
    let mut records = close(tunnel, checks).await;
    faultless(checks, "200 at a time", &tally, &records);
    checks.note(
        records.service_bytes == tally.bytes && tally.wrong == 0,
        "every byte arrived and returned",
        format!("{} arrived, {} returned", bytes(records.service_bytes), bytes(tally.bytes)),
    );
    let (entry, exit) = (&mut records.entry_ids, &mut records.exit_ids);
    entry.sort_unstable();
    exit.sort_unstable();
    let compared = u64::try_from(exit.len())?;
    checks.note(
        entry == exit && compared == tally.visitors && records.id_mismatches == 0,
        "both ends agree on the ids of connections",
        format!("{} ids compared, {} differ", count(compared), records.id_mismatches),
    );
    checks.note(
        records.early * 2 == tally.visitors,
        "half were sent before the exit knew the id",
        format!("{} of {}", count(records.early), count(tally.visitors)),
    );
    checks.note(
        totals.reused > 0 && records.put_errors.is_empty(),
        "connections were put back and reused",
        match records.put_errors.first() {
            None => format!("{} of {} leases", count(totals.reused), count(totals.leases)),
            Some(error) => error.clone(),
        },
    );
    Ok(())
}

fn bytes(number: u64) -> String {
    format!("{} B", count(number))
}

/// Checks that a load without an outage was served completely.
pub(crate) fn faultless(checks: &mut Checks, what: &str, tally: &Tally, records: &Records) {
    let fault = tally.example.as_deref().or(records.faults.first().map(String::as_str));
    checks.note(
        tally.served == tally.visitors && records.faults.is_empty() && records.id_mismatches == 0,
        format!("all visitors were served ({what})"),
        format!(
            "{} visitors = {} served + {} refused{}",
            count(tally.visitors),
            count(tally.served),
            count(tally.refused),
            fault.map(|fault| format!("; {fault}")).unwrap_or_default()
        ),
    );
}
