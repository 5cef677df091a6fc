//! How long a visitor waits for the first byte: on a pooled connection, and on one that is made for
//! it ([`fresh`](crate::fresh) says how that is fair).

use std::time::Duration;

use crate::Failure;
use crate::payload::Size;
use crate::progress::Phase;
use crate::report::{Checks, count, ratio, table, time};
use crate::story::{CROWD, close, faultless};
use crate::visitors::{Load, Tally, send};
use crate::world::{Plan, Side, World};

/// Paced visitors, and the time between two: 250 a second, well below what two cores can dial and
/// handshake, so that the pool's stock suffices and the baseline does not queue for the CPU.
const PACED: u64 = 300;
const EVERY: Duration = Duration::from_millis(4);

/// Ready connections at the start of each load: the burst fits in.
const STOCK: u32 = 256;

/// Each way, between the pools and on the control channel.
const DELAY: Duration = Duration::from_millis(20);

/// Both paths, both loads, pooled and fresh.
pub(crate) async fn compare(checks: &mut Checks) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for (path, delay) in [("loopback", Duration::ZERO), ("20 ms each way", DELAY)] {
        measure(checks, path, delay, &mut rows).await?;
    }
    table(
        "First byte: from a visitor's connect to the first byte that comes back to it",
        &["path, load", "p50 pooled", "fresh", "ratio", "p99 pooled", "fresh", "ratio"],
        rows,
    );
    println!("  fresh: the same path, but TCP and TLS are made for each visitor when it comes.");
    println!("  paced: {PACED} visitors, one every {}; burst: {CROWD} at once.", time(EVERY));
    println!(
        "  Both find {STOCK} ready connections at first. The delay is on the control channel, too;"
    );
    println!("  it cannot delay a SYN, which spares fresh a round trip of 40 ms.\n");
    Ok(())
}

async fn measure(
    checks: &mut Checks,
    path: &str,
    delay: Duration,
    rows: &mut Vec<Vec<String>>,
) -> Result<(), Failure> {
    let world = World::start(Plan {
        entry: Side::Accepting,
        stock: (STOCK, 4 * STOCK),
        delay,
        timeout: Duration::from_secs(5),
    })
    .await?;
    let what = format!("timing first bytes, pooled and fresh, {path}");
    let phase = Phase::begin(&what, 2 * (PACED + CROWD));
    let paced = Load::Paced { every: EVERY, total: PACED };
    let burst = Load::Burst { total: CROWD };
    let (mut all, mut medians) = (Tally::new(), Vec::new());
    for (name, load) in [("paced", paced), ("burst", burst)] {
        let mut both = Vec::new();
        for entry in [world.entry, world.fresh_entry] {
            world.idle().await;
            world.stocked(STOCK).await?;
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
    let records = close(world, checks).await;
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
