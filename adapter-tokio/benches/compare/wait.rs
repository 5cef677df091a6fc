//! Row 11: an acquire that waits, from the put by another task until its own task runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::Outcome;
use crate::ends::{self, Pools, SOON, Tls, runtime};
use crate::mode::Mode;
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::{Contestant, alternate_kinds};
use crate::system::now;

const FLOOR: &str = "floor: a message by a channel";

pub(crate) fn row(mode: Mode, report: &mut Report) -> Outcome {
    let runtime = runtime(2)?;
    for is_tls in [false, true] {
        let tls = Tls::new(is_tls)?;
        let pools = runtime.block_on(Pools::new(1, tls.as_ref()))?;
        let times = mode.pick(20, 500, 1_000, 5_000);
        let contestants = vec![
            Contestant::with_kinds("ours", || by_pool(&runtime, &pools, times)),
            Contestant::with_kinds(FLOOR, || by_channel(&runtime, times)),
        ];
        let [middle, late] = alternate_kinds(mode.pick(1, 7, 31, 101), true, contestants)?;
        runtime.block_on(pools.close());
        let wire = ends::wire(tls.as_ref());
        report.row(&Row {
            number: "11",
            what: format!("an acquire that waits, {wire}: p50 from put to running"),
            unit: "µs",
            samples: middle,
            goals: Vec::new(),
        });
        report.row(&Row {
            number: "11",
            what: format!("an acquire that waits, {wire}: p99 from put to running"),
            unit: "µs",
            samples: late,
            goals: vec![Goal::figure(Limit::AtMost(150.0))],
        });
    }
    Ok(())
}

/// The median, and the 99th percentile, in microseconds.
fn quantiles(waits: &[u64]) -> Outcome<[f64; 2]> {
    let mut histogram = Histogram::<u64>::new(3)?;
    waits.iter().try_for_each(|wait| histogram.record(*wait))?;
    Ok([0.5, 0.99].map(|quantile| histogram.value_at_quantile(quantile) as f64 / 1e3))
}

/// A task holds the only connection until another waits for it.
fn by_pool(runtime: &Runtime, pools: &Pools, times: u32) -> Outcome<[f64; 2]> {
    let put = Arc::new(AtomicU64::new(0));
    let (turns, mut turn) = mpsc::unbounded_channel();
    let (pool, at) = (pools.client.clone(), Arc::clone(&put));
    let waiting = async move {
        let mut waits = Vec::new();
        while turn.recv().await.is_some() {
            let stream = pool.acquire(SOON).await?;
            waits.push(now() - at.load(Ordering::Acquire));
            pool.put(stream)?;
        }
        Outcome::Ok(waits)
    };
    let pool = pools.client.clone();
    runtime.block_on(async move {
        let waiting = tokio::spawn(waiting);
        for _ in 0..times {
            let stream = pool.acquire(SOON).await?;
            turns.send(())?;
            while pool.stats().waiters == 0 {
                tokio::task::yield_now().await;
            }
            put.store(now(), Ordering::Release);
            pool.put(stream)?;
        }
        drop(turns);
        quantiles(&waiting.await??)
    })
}

/// The same by a channel, which wakes a task as the pool does.
fn by_channel(runtime: &Runtime, times: u32) -> Outcome<[f64; 2]> {
    let (asks, mut asked) = mpsc::unbounded_channel();
    let (send, mut receive) = mpsc::unbounded_channel::<u64>();
    runtime.block_on(async move {
        let waiting = tokio::spawn(async move {
            let mut waits = Vec::new();
            for _ in 0..times {
                asks.send(())?;
                let sent = receive.recv().await.ok_or("nothing comes")?;
                waits.push(now() - sent);
            }
            Outcome::Ok(waits)
        });
        for _ in 0..times {
            asked.recv().await.ok_or("nobody asks")?;
            tokio::task::yield_now().await;
            send.send(now())?;
        }
        quantiles(&waiting.await??)
    })
}
