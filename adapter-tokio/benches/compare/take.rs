//! Row 1: an acquire and a put in memory, by one task.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use pool_testkit::measure::timed;

use crate::Outcome;
use crate::fake::{Fake, FakePool};
use crate::mode::Mode;
use crate::peers::{self, now};
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::{Contestant, alternate};

/// Connections in each pool.
const STOCK: u32 = 64;

/// The nanoseconds of this thread for one of `cycles` calls.
pub(crate) fn each(cycles: u32, mut act: impl FnMut() -> Outcome) -> Outcome<f64> {
    let (took, outcome) = timed(|| (0..cycles).try_for_each(|_| act()));
    outcome.map(|()| took / f64::from(cycles))
}

pub(crate) fn row(mode: Mode, report: &mut Report) -> Outcome {
    let cycles = mode.pick(100, 5_000, 10_000, 20_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // bb8 wants a timer, mobc a place to spawn; the limit of tokio's cooperation holds in tasks only.
    let _entered = runtime.enter();
    let mut ours = FakePool::new(STOCK)?;
    let mut recorded = FakePool::recorded(STOCK)?;
    let queue: VecDeque<Fake> = (0..STOCK).map(|name| Fake(u64::from(name))).collect();
    let queue = Mutex::new(queue);
    let unmanaged = peers::deadpool_unmanaged(STOCK);
    let managed = peers::deadpool_managed(STOCK)?;
    let bb8 = runtime.block_on(peers::bb8(STOCK))?;
    let r2d2 = peers::r2d2(STOCK)?;
    let fastpool = peers::fastpool(STOCK)?;
    let mobc = peers::mobc(STOCK);

    let mut contestants = vec![
        cycle("ours", cycles, || {
            let leased = ours.take()?;
            black_box(leased.get().0);
            ours.put(leased)
        }),
        cycle(peers::DEADPOOL, cycles, || {
            black_box(now(unmanaged.get())??.0);
            Ok(())
        }),
        cycle(peers::DEADPOOL_MANAGED, cycles, || {
            black_box(now(managed.get())?.map_err(|error| error.to_string())?.0);
            Ok(())
        }),
        cycle(peers::BB8, cycles, || {
            black_box(now(bb8.get())??.0);
            Ok(())
        }),
        cycle(peers::R2D2, cycles, || {
            black_box(r2d2.get()?.0);
            Ok(())
        }),
        cycle(peers::FASTPOOL, cycles, || {
            black_box(now(fastpool.get())??.0);
            Ok(())
        }),
        cycle(peers::MOBC, cycles, || {
            black_box(now(mobc.get())??.0);
            Ok(())
        }),
        cycle("ours, recorded", cycles, || {
            let leased = recorded.take()?;
            black_box(leased.get().0);
            recorded.put(leased)
        }),
    ];
    contestants.push(cycle(peers::QUEUE, cycles, || {
        let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
        let item = black_box(lock().pop_front());
        lock().extend(item);
        Ok(())
    }));
    let samples = alternate(mode.pick(2, 15, 61, 201), contestants)?;
    report.row(&Row {
        number: "1",
        what: "acquire + put in memory, one task".into(),
        unit: "ns",
        samples,
        goals: vec![Goal::ratio(peers::DEADPOOL, Limit::AtMost(0.6)).stretch(0.5)],
    });
    Ok(())
}

fn cycle<'a>(name: &str, cycles: u32, mut act: impl FnMut() -> Outcome + 'a) -> Contestant<'a> {
    Contestant::new(name, move || each(cycles, &mut act))
}
