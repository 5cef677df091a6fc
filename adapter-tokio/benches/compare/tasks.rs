//! Row 2: many tasks take turns at a few connections, and hold each over a yield.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use pool_testkit::measure::{nanos, timed};
use rustix::time::ClockId;
use tokio::runtime::Runtime;
use tokio::task::yield_now;

use crate::Outcome;
use crate::fake::{FakePool, Shared};
use crate::mode::Mode;
use crate::peers;
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::{Contestant, Samples, alternate};

const CONNECTIONS: u32 = 16;

/// A pool of which tasks hold a connection for the time of a yield.
trait Held: Clone + Send + Sync + 'static {
    /// Takes a connection, calls `granted`, yields, and puts the connection back.
    fn hold(&self, granted: impl FnOnce() + Send) -> impl Future<Output = Outcome> + Send;
}

impl Held for Shared {
    async fn hold(&self, granted: impl FnOnce() + Send) -> Outcome {
        let leased = self.acquire().await?;
        granted();
        yield_now().await;
        Ok(leased.put(self)?)
    }
}

macro_rules! held {
    ($pool:ty) => {
        impl Held for $pool {
            async fn hold(&self, granted: impl FnOnce() + Send) -> Outcome {
                let connection = self.get().await.map_err(|error| error.to_string())?;
                granted();
                yield_now().await;
                drop(connection);
                Ok(())
            }
        }
    };
}

held!(deadpool::unmanaged::Pool<crate::fake::Fake>);
held!(deadpool::managed::Pool<peers::Maker>);
held!(bb8::Pool<peers::Maker>);
held!(Arc<asyncband::pool::bounded::Pool<peers::Maker>>);

/// Runs `tasks` tasks that hold a connection `times` times each. Returns nanoseconds per hold: of this
/// thread's processor time where it runs all tasks, else by the clock.
fn run(runtime: &Runtime, pool: &impl Held, tasks: u32, times: u32) -> Outcome<f64> {
    let all = async {
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    for _ in 0..times {
                        pool.hold(|| ()).await?;
                    }
                    Outcome::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Outcome::Ok(())
    };
    let is_single = runtime.metrics().num_workers() == 1;
    let begun = nanos(ClockId::Monotonic);
    let (took, outcome) = timed(|| runtime.block_on(all));
    outcome?;
    let took = if is_single { took } else { (nanos(ClockId::Monotonic) - begun) as f64 };
    Ok(took / f64::from(tasks * times))
}

/// Returns how many grants the 99.9th percentile of the calls has waited for, in shares: one share is a grant
/// to each task. Counted, not timed, so that the load of the machine has no part in it.
fn shares(runtime: &Runtime, pool: &impl Held, tasks: u32, times: u32) -> Outcome<f64> {
    let grants = Arc::new(AtomicU64::new(0));
    let all = async {
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let (pool, grants) = (pool.clone(), Arc::clone(&grants));
                tokio::spawn(async move {
                    let mut waits = Vec::new();
                    for _ in 0..times {
                        let asked = grants.load(Ordering::Relaxed);
                        pool.hold(|| waits.push(grants.fetch_add(1, Ordering::Relaxed) - asked))
                            .await?;
                    }
                    Outcome::Ok(waits)
                })
            })
            .collect();
        let mut waits = Histogram::<u64>::new(3)?;
        for task in tasks {
            for wait in task.await?? {
                waits.record(wait)?;
            }
        }
        Outcome::Ok(waits)
    };
    let waits = runtime.block_on(all)?;
    Ok(waits.value_at_quantile(0.999) as f64 / f64::from(tasks))
}

pub(crate) fn row(mode: Mode, report: &mut Report) -> Outcome {
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let two = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for (threads, runtime) in [("one thread", &one), ("two threads", &two)] {
        for tasks in [64, 1_000] {
            at(runtime, threads, tasks, mode, report)?;
        }
    }
    Ok(())
}

fn at(runtime: &Runtime, threads: &str, tasks: u32, mode: Mode, report: &mut Report) -> Outcome {
    let times = mode.pick(200, 10_000, 20_000, 60_000) / tasks + 1;
    let _entered = runtime.enter();
    let ours = FakePool::new(CONNECTIONS)?.spawn_driver();
    let unmanaged = peers::deadpool_unmanaged(CONNECTIONS);
    let managed = peers::deadpool_managed(CONNECTIONS)?;
    let bb8 = runtime.block_on(peers::bb8(CONNECTIONS))?;
    let fastpool = peers::fastpool(CONNECTIONS)?;
    let contestants = vec![
        Contestant::new("ours", || run(runtime, &ours, tasks, times)),
        Contestant::new(peers::DEADPOOL, || run(runtime, &unmanaged, tasks, times)),
        Contestant::new(peers::DEADPOOL_MANAGED, || run(runtime, &managed, tasks, times)),
        Contestant::new(peers::BB8, || run(runtime, &bb8, tasks, times)),
        Contestant::new(peers::FASTPOOL, || run(runtime, &fastpool, tasks, times)),
    ];
    let samples = alternate(mode.pick(2, 9, 31, 101), contestants)?;
    report.row(&Row {
        number: "2",
        what: format!("{tasks} tasks, {CONNECTIONS} connections held over a yield, {threads}"),
        unit: "ns per hold",
        samples,
        goals: vec![Goal::ratio(peers::DEADPOOL, Limit::AtMost(0.9))],
    });
    let times = mode.pick(2, 20, 100, 500);
    let fair = |name: &str, share: f64| Samples { name: name.into(), values: vec![share] };
    report.row(&Row {
        number: "2",
        what: format!("{tasks} tasks, {threads}: p99.9 of the waits"),
        unit: "fair shares",
        samples: vec![
            fair("ours", shares(runtime, &ours, tasks, times)?),
            fair(peers::DEADPOOL, shares(runtime, &unmanaged, tasks, times)?),
            fair(peers::BB8, shares(runtime, &bb8, tasks, times)?),
            fair(peers::FASTPOOL, shares(runtime, &fastpool, tasks, times)?),
        ],
        goals: vec![Goal::figure(Limit::AtMost(2.0))],
    });
    Ok(())
}
