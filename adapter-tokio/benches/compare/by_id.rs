//! Row 3: an acquire by id and a put, at several sizes of the pool.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use crate::Outcome;
use crate::fake::{Fake, FakePool};
use crate::mode::Mode;
use crate::report::{Goal, Limit, Report, Row};
use crate::rounds::{Contestant, alternate};
use crate::take::each;

const MAP: &str = "floor: a mutex and a hash map of std";

pub(crate) fn row(mode: Mode, report: &mut Report) -> Outcome {
    for size in
        mode.pick(&[100][..], &[100, 65_536], &[100, 10_000, 65_536], &[100, 10_000, 65_536])
    {
        at(*size, mode, report)?;
    }
    Ok(())
}

fn at(size: u32, mode: Mode, report: &mut Report) -> Outcome {
    let cycles = mode.pick(100, 10_000, 20_000, 50_000);
    let mut pool = FakePool::new(size)?;
    let mut ids = pool.ids.clone();
    let mut random = fastrand::Rng::with_seed(1);
    // Acquiring each once in random order puts them in memory as a while of use does.
    random.shuffle(&mut ids);
    for id in &ids {
        let leased = pool.take_by_id(*id)?;
        pool.put(leased)?;
    }
    random.shuffle(&mut ids);
    let map: HashMap<_, _> = ids.iter().copied().zip((0u64..).map(Fake)).collect();
    let map = Mutex::new(map);
    // Both go through the same ids, so that each finds them as cold as the other.
    let mut ours_next = ids.iter().copied().cycle();
    let mut theirs_next = ids.iter().copied().cycle();
    let contestants = vec![
        Contestant::new("ours", || {
            each(cycles, || {
                let leased = pool.take_by_id(ours_next.next().ok_or("no connection")?)?;
                black_box(leased.get().0);
                pool.put(leased)
            })
        }),
        Contestant::new(MAP, || {
            each(cycles, || {
                let lock = || map.lock().unwrap_or_else(PoisonError::into_inner);
                let id = theirs_next.next().ok_or("no connection")?;
                let taken = lock().remove(&id).ok_or("not in the map")?;
                black_box(taken.0);
                lock().insert(id, taken);
                Ok(())
            })
        }),
    ];
    let samples = alternate(mode.pick(2, 11, 41, 101), contestants)?;
    report.row(&Row {
        number: "3",
        what: format!("acquire by id + put, {size} connections"),
        unit: "ns",
        samples,
        goals: vec![Goal::ratio(MAP, Limit::AtMost(2.5))],
    });
    Ok(())
}
