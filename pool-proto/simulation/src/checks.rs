//! The rules that must hold whenever the world waits for the time.
//!
//! These rules are about sockets, tasks and timers, as an operating system sees them. They know
//! nothing of how a pool works.

use std::time::Duration;

use crate::ends::Ends;
use crate::engine::{Purpose, Side, Sim};

/// An end that has arrived is noticed within this time, beside the delays of the world.
const NOTICED: Duration = Duration::from_secs(1);

/// Checks that nothing is left of a pool that has ended, except for the connections that its
/// users still hold.
pub fn check_end(sim: &Sim, side: Side) {
    sim.with(|state| {
        let (tasks, handles) =
            (state.tasks(side, Purpose::Pool), state.handles(side, Purpose::Pool));
        let free = state.net.open(side).filter(|(_, socket)| !socket.held).count();
        if (tasks, handles, free) != (0, 0, 0) {
            let seen = format!("{side:?}: {tasks} tasks, {handles} handles, {free} descriptors");
            state.violated("nothing of a pool is left", seen);
        }
        if side == Side::Server && state.is_listening() {
            state.violated("nothing of a pool is left", "its listener");
        }
    });
}

/// Checks the rules for both sides.
pub fn check(sim: &Sim, ends: &Ends) {
    for side in [Side::Client, Side::Server] {
        let Some(end) = ends.get(side) else { continue };
        if end.is_closed() {
            continue;
        }
        let (stats, due) = (end.stats(), end.due());
        sim.with(|state| {
            let (mut free, mut ended) = (0, Vec::new());
            for (id, socket) in state.net.open(side) {
                if !socket.held {
                    free += 1;
                    ended.extend(socket.ended_at.map(|at| (id, at.max(socket.free_since))));
                }
            }
            // Descriptors.
            let certain =
                stats.handshaking + stats.idle + stats.claimed + stats.finished + stats.returning;
            let possible = certain + stats.leased + stats.dialing;
            if !(certain..=possible).contains(&free) {
                let seen = format!("{side:?}: {free} of {certain}–{possible}: {stats:?}");
                state.violated("the pool knows its descriptors", seen);
            }
            // Tasks.
            let tasks = state.tasks(side, Purpose::Pool);
            let known = 1 + stats.dialing + stats.handshaking;
            if u32::try_from(tasks) != Ok(known) {
                let seen = format!("{side:?}: {tasks} tasks, not {known}: {stats:?}");
                state.violated("a task ends with its work", seen);
            }
            let handles = state.handles(side, Purpose::Pool);
            if handles + 1 > tasks {
                let seen = format!("{side:?}: {handles} handles for {tasks} tasks");
                state.violated("the handle of a task ends with it", seen);
            }
            // Timers.
            let armed = state.next_timer(side, Purpose::Pool);
            // The clock of the pool may lag by a tick.
            let slack = state.options.lateness + Duration::from_millis(5);
            if let Some(due) = due
                && armed.is_none_or(|armed| armed > due.max(state.now()) + slack)
            {
                let now = state.now();
                let seen = format!("{side:?}: due at {due:?}, armed for {armed:?}, now {now:?}");
                state.violated("a timer is armed for each deadline", seen);
            }
            // Readiness.
            let patience = NOTICED + slack + state.options.report + state.options.reuse_delay;
            let now = state.now();
            ended.retain(|(_, at)| now.since(*at) > patience);
            // The pool keeps the ended connections that it knows for an acquire by id, for a
            // while.
            if u32::try_from(ended.len()).is_ok_and(|count| count > stats.finished + stats.claimed)
            {
                let seen = format!("{side:?}: {ended:?}, now {now:?}: {stats:?}");
                state.violated("an end that has arrived is noticed", seen);
            }
        });
    }
}
