//! A task is dropped: at every moment, in every way, alone and with a rival, on both roles.
//!
//! The matrix is a table that code spells out: each cell plays a scene up to its moment, drops the
//! subject in its way, and compares what becomes of everybody with [`due`], which knows the rules
//! and nothing of the machine. In every cell nothing may be lost: each connection is in the pool, in
//! somebody's hands, or was dropped once for its reason; no waker is kept; nobody is woken twice, and
//! the subject never again.

mod due;
mod many;
mod moment;
mod odd;
mod scene;

use pool_proto::{Accepting, Dialing};

use crate::rig::{Kind, Side};
use due::Rival;
use moment::Moment;
use scene::Scene;

/// How the subject is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plainly,
    /// By a panic of its task.
    Unwinding,
    /// By a waker that the shell wakes for another reason.
    InAWake,
    /// By the waker that the shell wakes to call it.
    InItsOwnWake,
    /// By another thread, while the driver turns.
    ElsewhereDuringATurn,
}

impl Way {
    const ALL: [Self; 5] = [
        Self::Plainly,
        Self::Unwinding,
        Self::InAWake,
        Self::InItsOwnWake,
        Self::ElsewhereDuringATurn,
    ];
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    moment: Moment,
    way: Way,
    kind: Kind,
    rival: Option<Rival>,
    server: bool,
}

impl Cell {
    fn name(&self) -> String {
        let Self { moment, way, kind, rival, server } = self;
        let role = if *server { Accepting::NAME } else { Dialing::NAME };
        let rival = rival.map_or_else(|| "alone".to_owned(), |rival| format!("with {rival:?}"));
        format!("{role}, {kind:?}, {moment:?}, dropped {way:?}, {rival}")
    }

    /// Whether there is such a situation.
    fn exists(&self) -> bool {
        let Self { moment, way, kind, rival, server } = *self;
        moment.exists(kind, server)
            && rival.is_none_or(|rival| moment.allows(kind, rival))
            && match way {
                // Its wake must be the last thing that happens before the drop.
                Way::InItsOwnWake => {
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

fn cells(way: Way) -> Vec<Cell> {
    let mut cells = Vec::new();
    for moment in Moment::ALL {
        for kind in Kind::ALL {
            for rival in std::iter::once(None).chain(Rival::ALL.map(Some)) {
                for server in [false, true] {
                    cells.push(Cell { moment, way, kind, rival, server });
                }
            }
        }
    }
    cells.retain(Cell::exists);
    cells
}

fn run_all(way: Way, count: usize) {
    let cells = cells(way);
    println!("cells dropped {way:?}: {}", cells.len());
    assert_eq!(cells.len(), count, "cells that vanished or came");
    cells.into_iter().for_each(Cell::run);
}

#[test]
fn dropped_plainly() {
    run_all(Way::Plainly, 772);
}

#[test]
fn dropped_by_a_panic() {
    run_all(Way::Unwinding, 772);
}

#[test]
fn dropped_in_a_wake() {
    run_all(Way::InAWake, 772);
}

#[test]
fn dropped_in_its_own_wake() {
    run_all(Way::InItsOwnWake, 70);
}

#[test]
fn dropped_by_another_thread_while_the_driver_turns() {
    run_all(Way::ElsewhereDuringATurn, 772);
}

#[test]
fn the_matrix_has_all_its_cells() {
    let count: usize = Way::ALL.map(|way| cells(way).len()).iter().sum();
    assert_eq!(count, 3158);
}
