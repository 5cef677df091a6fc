//! The stage that measures a visitor's time to the first byte: on a pooled connection, and on a
//! fresh one ([`fresh`](crate::fresh) explains why the comparison is fair).

use std::time::Duration;

use crate::Failure;
use crate::payload::Size;
use crate::progress::Phase;
use crate::report::{Checks, count, ratio, table, time};
use crate::stages::{AT_A_TIME, close, faultless};
use crate::tunnel::{Plan, Side, Tunnel};
use crate::visitors::{Load, Tally, send};

/// The number of paced visitors.
const PACED: u64 = 300;
/// The time between two paced visitors. With 250 visitors a second, two cores are far from busy with
/// dials and handshakes, so the pool's stock suffices and the baseline does not queue for the CPU.
const EVERY: Duration = Duration::from_millis(4);

/// Ready connections at the start of each load, enough for the burst.
const STOCK: u32 = 256;

/// The name of the load whose connections are not replaced.
const NOT_REPLACED: &str = "not replaced";

/// The delay each way, between the pools and on the control channel.
const DELAY: Duration = Duration::from_millis(20);

/// Measures both paths, with both loads, on pooled and on fresh connections.
pub(crate) async fn compare(checks: &mut Checks) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (path, delay) in [("loopback", Duration::ZERO), ("20 ms each way", DELAY)] {
        measure(checks, path, delay, &mut rows).await?;
    }
    table(
        "First byte: from a visitor's connect to the first byte that returns",
        &["path, load", "p50 pooled", "fresh", "ratio", "p99 pooled", "fresh", "ratio"],
        rows,
    );
    println!("  fresh: the same path, but with a new TCP and TLS connection for each visitor.");
    println!("  paced: {PACED} visitors, one every {}; burst: {AT_A_TIME} at once;", time(EVERY));
    println!("  not replaced: the same burst, with refilling switched off.");
    println!(
        "  Both start with {STOCK} ready connections. The control channel is delayed too, but a"
    );
    println!("  SYN is not, which saves fresh a round trip of 40 ms.\n");
    Ok(())
}

async fn measure(
    checks: &mut Checks,
    path: &str,
    delay: Duration,
    rows: &mut Vec<Vec<String>>,
) -> Result<(), Failure> {
    let tunnel = Tunnel::start(Plan {
        entry: Side::Accepting,
        stock: (STOCK, 4 * STOCK),
        delay,
        timeout: Duration::from_secs(5),
    })
    .await?;
    let what = format!("timing first bytes, pooled and fresh, {path}");
    let phase = Phase::begin(&what, 2 * (PACED + 2 * AT_A_TIME));
    let paced = Load::Paced { every: EVERY, total: PACED };
    let burst = Load::Burst { total: AT_A_TIME };
    let (mut all, mut medians) = (Tally::new(), Vec::new());
    // The last one shows what replacing the connections of a burst takes from it.
    for (name, load) in [("paced", paced), ("burst", burst), (NOT_REPLACED, burst)] {
        let mut both = Vec::new();
        for entry in [tunnel.entry, tunnel.fresh_entry] {
            tunnel.client.set_capacity(STOCK..=4 * STOCK)?;
            tunnel.idle().await;
            tunnel.stocked(STOCK).await?;
            if name == NOT_REPLACED {
                tunnel.client.set_capacity(1)?;
            }
            let tally = send(entry, load, Size::Fixed(1024), &phase).await;
            all.add(&tally);
            both.push(tally);
        }
        let [ours, theirs] = both.as_slice() else { continue };
        let mut row = vec![format!("{path}, {name}")];
        for percent in [50.0, 99.0] {
            let (ours, theirs) = (ours.percentile(percent), theirs.percentile(percent));
            row.extend([time(ours), time(theirs), ratio(ours, theirs)]);
        }
        rows.push(row);
        medians.push((name, ours.percentile(50.0), theirs.percentile(50.0)));
    }
    phase.end(&format!("✓ timed {} first bytes, {path}", count(all.served)));
    let records = close(tunnel, checks).await;
    faultless(checks, path, &all, &records);
    if !delay.is_zero() {
        for (name, ours, theirs) in medians {
            checks.note(
                ours < theirs,
                format!("pooled beats fresh ({path}, {name})"),
                format!("p50 {} against {}", time(ours), time(theirs)),
            );
        }
    }
    Ok(())
}
