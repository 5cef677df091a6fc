//! The cancellation matrix: a task (the subject) is dropped at every moment, in every mode, alone
//! and with a rival, in both roles.
//!
//! Each cell plays a scene up to its moment, drops the subject, and compares the outcome with
//! [`expected`], whose rules do not use the machine. In every cell, each connection must be in the
//! pool, leased, or dropped once for the right reason. No waker may be kept, the rival must be
//! woken at most once, and the subject must not be woken after its drop.

mod crowd;
mod edge_cases;
mod expected;
mod moment;
mod scene;

use pool_proto::{Accepting, Dialing};

use crate::rig::{Kind, Side};
use expected::Rival;
use moment::Moment;
use scene::Scene;

/// The mode in which the subject is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DropMode {
    Plain,
    /// By a panic of its task.
    Unwinding,
    /// By another task's waker, while the shared machine wakes it.
    InAnotherWake,
    /// By its own waker, while the shared machine wakes it.
    InItsOwnWake,
    /// By another thread, during the driver's turn.
    OnAnotherThread,
}

impl DropMode {
    const ALL: [Self; 5] = [
        Self::Plain,
        Self::Unwinding,
        Self::InAnotherWake,
        Self::InItsOwnWake,
        Self::OnAnotherThread,
    ];
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    moment: Moment,
    mode: DropMode,
    kind: Kind,
    rival: Option<Rival>,
    server: bool,
}

impl Cell {
    fn name(&self) -> String {
        let Self { moment, mode, kind, rival, server } = self;
        let role = if *server { Accepting::NAME } else { Dialing::NAME };
        let rival = rival.map_or_else(|| "alone".to_owned(), |rival| format!("with {rival:?}"));
        format!("{role}, {kind:?}, {moment:?}, dropped {mode:?}, {rival}")
    }

    /// Returns whether this combination is possible.
    fn exists(&self) -> bool {
        let Self { moment, mode, kind, rival, server } = *self;
        moment.exists(kind, server)
            && rival.is_none_or(|rival| moment.allows(kind, rival))
            && match mode {
                // The subject's wake must be the last event before the drop.
                DropMode::InItsOwnWake => {
                    moment.ends_with_its_wake(kind, server) && rival.is_none_or(|rival| rival.early)
                }
                _ => true,
            }
    }

    fn run(self) {
        if self.server {
            Scene::<Accepting>::run(self);
        } else {
            Scene::<Dialing>::run(self);
        }
    }
}

fn cells(mode: DropMode) -> Vec<Cell> {
    let mut cells = Vec::new();
    for moment in Moment::ALL {
        for kind in Kind::ALL {
            for rival in std::iter::once(None).chain(Rival::ALL.map(Some)) {
                for server in [false, true] {
                    cells.push(Cell { moment, mode, kind, rival, server });
                }
            }
        }
    }
    cells.retain(Cell::exists);
    cells
}

fn run_all(mode: DropMode, count: usize) {
    let cells = cells(mode);
    println!("cells dropped {mode:?}: {}", cells.len());
    assert_eq!(cells.len(), count, "the number of cells has changed");
    cells.into_iter().for_each(Cell::run);
}

#[test]
fn dropped_plainly() {
    run_all(DropMode::Plain, 772);
}

#[test]
fn dropped_by_a_panic() {
    run_all(DropMode::Unwinding, 772);
}

#[test]
fn dropped_in_a_wake() {
    run_all(DropMode::InAnotherWake, 772);
}

#[test]
fn dropped_in_its_own_wake() {
    run_all(DropMode::InItsOwnWake, 70);
}

#[test]
fn dropped_by_another_thread_while_the_driver_turns() {
    run_all(DropMode::OnAnotherThread, 772);
}

#[test]
fn the_matrix_has_all_its_cells() {
    let count: usize = DropMode::ALL.map(|mode| cells(mode).len()).iter().sum();
    assert_eq!(count, 3158);
}
