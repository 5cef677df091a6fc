//! The bugs: for each, the sound texts in the driver and what stands there instead while it is on.

use crate::copy::Edit;

/// A planted bug.
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    /// The test that must find it.
    pub(crate) found_by: &'static str,
    /// The output of that test. A bug that is found only for another reason is not found.
    pub(crate) finding: &'static str,
    pub(crate) edits: &'static [Edit],
}

const fn edit(file: &'static str, sound: &'static str, planted: &'static str) -> Edit {
    Edit { file, sound, planted }
}

pub(crate) const BUGS: &[Bug] = &[
    Bug {
        name: "a connection that becomes readable does not wake the driver",
        found_by: "pairs",
        finding: "nobody has noticed",
        edits: &[edit(
            "shared.rs",
            "            state.driver.take()\n",
            "            if planted!() { None } else { state.driver.take() }\n",
        )],
    },
    Bug {
        name: "a command does not wake the driver",
        found_by: "pairs",
        finding: "the driver sleeps, and misses",
        edits: &[edit(
            "shared/state.rs",
            "            && (self.has_commands() ||",
            "            && (self.has_commands() && !planted!() ||",
        )],
    },
    Bug {
        name: "a nearer deadline does not wake the driver",
        found_by: "pairs",
        finding: "the driver sleeps until",
        edits: &[edit(
            "shared/state.rs",
            "(deferred.checks.is_empty() && self.is_due_earlier())",
            "(deferred.checks.is_empty() && !planted!() && self.is_due_earlier())",
        )],
    },
    Bug {
        name: "a call whose only trace is a nearer deadline leaves no work",
        found_by: "pairs",
        finding: "the driver sleeps until",
        edits: &[edit(
            "shared/state.rs",
            "            (Some(new), Some(armed)) => armed <= new,",
            "            (Some(new), Some(armed)) => armed <= new || planted!(),",
        )],
    },
    Bug {
        name: "a waiter that was granted a connection takes another one",
        found_by: "twins",
        finding: "cannot be had",
        edits: &[edit(
            "shared/acquire.rs",
            "            if waiter.is_none()\n",
            "            if (waiter.is_none() || planted!())\n",
        )],
    },
    Bug {
        name: "a waiter stores its waker after it has looked",
        found_by: "pairs",
        finding: "a waiter sleeps, and its outcome is there",
        edits: &[
            edit(
                "shared/acquire.rs",
                "return Step::Waiting(waiter, self.remember(waiter, cx.waker()));",
                "if planted!() {\n    return Step::Waiting(waiter, None);\n}\n\
                 return Step::Waiting(waiter, self.remember(waiter, cx.waker()));",
            ),
            edit(
                "shared/acquire.rs",
                "            *step = self.ask_slowly(cx, shared, state, now, begin);\n            None\n        })",
                "            *step = self.ask_slowly(cx, shared, state, now, begin);\n            None\n        })\n\
                 .or_else(|| {\n\
                 if let Step::Waiting(waiter, _) = step\n&& planted!() {\n\
                 let _former = shared.lock().remember(*waiter, cx.waker());\n}\nNone\n})",
            ),
        ],
    },
    Bug {
        name: "a wait that is dropped is not cancelled",
        found_by: "pairs",
        finding: "waiters that nobody polls any more",
        edits: &[edit(
            "shared/acquire.rs",
            "                state.machine.cancel(now, waiter);\n",
            "                if !planted!() {\n    state.machine.cancel(now, waiter);\n}\n",
        )],
    },
    Bug {
        name: "the waker of a cancelled wait is dropped under the mutex",
        found_by: "pairs",
        finding: "tried to acquire a Mutex it already holds",
        edits: &[edit(
            "shared/acquire.rs",
            "                state.forget(waiter)\n            });",
            "                let waker = state.forget(waiter);\n\
             if planted!() {\n    drop(waker);\n    return None;\n}\nwaker\n            });",
        )],
    },
    Bug {
        name: "waiters are woken under the mutex",
        found_by: "pairs",
        finding: "tried to acquire a Mutex it already holds",
        edits: &[edit(
            "shared.rs",
            "        let deferred = state.sort_actions();\n        drop(state);",
            "        let deferred = state.sort_actions();\n        if planted!() {\n\
             self.run_deferred(deferred, now);\nreturn result;\n}\n        drop(state);",
        )],
    },
    Bug {
        name: "the readiness waker is armed after the look",
        found_by: "pairs",
        finding: "nobody has noticed",
        edits: &[edit(
            "connection/check.rs",
            "        let outcome = self.read_while(keep);\n",
            "        let outcome = self.read_while(keep);\n        \
             if planted!() {\n            self.readiness.arm();\n        }\n",
        )],
    },
    Bug {
        name: "a readable connection is noted after the driver was woken for it",
        found_by: "pairs",
        finding: "the driver sleeps, and data wait to be noticed",
        edits: &[edit(
            "shared.rs",
            "            state.readable.push_back(token);\n",
            "            if planted!() {\n    let driver = state.driver.take();\n    drop(state);\n\
             driver.into_iter().for_each(Waker::wake);\n\
             self.lock().readable.push_back(token);\nreturn;\n}\n\
             state.readable.push_back(token);\n",
        )],
    },
    Bug {
        name: "the driver stores its waker after it has looked for work",
        found_by: "pairs",
        finding: "the driver sleeps",
        edits: &[edit(
            "shared.rs",
            "        let slept = self.lock().sleep(waker);",
            "        let slept = if planted!() {\n\
             let looked = {\nlet mut state = self.lock();\nlet before = state.driver.take();\n\
             let looked = state.sleep(waker.clone());\n\
             let own = core::mem::replace(&mut state.driver, before);\n(looked, own)\n};\n\
             match looked.0 {\nOk(_) => Ok(self.lock().driver.replace(waker)),\nErr(waker) => Err(waker),\n}\n\
             } else {\nself.lock().sleep(waker)\n};",
        )],
    },
    Bug {
        name: "leases are revoked after the mutex was unlocked",
        found_by: "pairs",
        finding: "is in use after its lease was ended",
        edits: &[
            edit(
                "shared/state.rs",
                "                        self.revocation.set(reason);",
                "                        if !planted!() {\n    self.revocation.set(reason);\n}",
            ),
            edit(
                "shared/revoker.rs",
                "    pub fn interrupt(&self) {\n",
                "    pub fn interrupt(&self) {\nif planted!() {\n\
                 self.revocation.set(CloseReason::Flushed);\n}\n",
            ),
        ],
    },
    Bug {
        name: "after the driver's end, connections wait for it to close them",
        found_by: "pairs",
        finding: "connections outlive the driver",
        edits: &[edit(
            "shared/state.rs",
            "                    if self.ended {\n",
            "                    if self.ended && !planted!() {\n",
        )],
    },
    Bug {
        name: "the pending calls of a revoked lease are not ended",
        found_by: "pairs",
        finding: "would wait for ever",
        edits: &[edit(
            "shared.rs",
            "        deferred.interrupts.each(|(token, revoker)| self.interrupt(token, &revoker));",
            "        if !planted!() {\n\
             deferred.interrupts.each(|(token, revoker)| self.interrupt(token, &revoker));\n}",
        )],
    },
    Bug {
        name: "a call with actions leaves no work",
        found_by: "pairs",
        finding: "the driver sleeps, and data wait to be noticed",
        edits: &[edit(
            "shared/state.rs",
            "        !self.machine.has_actions()\n",
            "        (!self.machine.has_actions() || planted!())\n",
        )],
    },
    Bug {
        name: "the thread of a tape is noted after it has looked for something to write",
        found_by: "tape",
        finding: "deadlock",
        edits: &[
            edit(
                "shared/recording.rs",
                "                state.writer = Some(current());\n",
                "                if !planted!() {\n    state.writer = Some(current());\n}\n",
            ),
            edit(
                "shared/recording.rs",
                "            park_timeout(WRITTEN_WITHIN);\n",
                "            if planted!() {\n    self.lock().writer = Some(current());\n}\n\
                 park_timeout(WRITTEN_WITHIN);\n",
            ),
        ],
    },
    Bug {
        name: "a thread that waits for a future is woken before the mark is set",
        found_by: "crowd",
        finding: "deadlock",
        edits: &[edit(
            "shared/block_on.rs",
            "    fn wake_by_ref(self: &Arc<Self>) {\n",
            "    fn wake_by_ref(self: &Arc<Self>) {\nif planted!() {\nself.condvar.notify_one();\n\
             *self.notified.lock().unwrap_or_else(PoisonError::into_inner) = true;\nreturn;\n}\n",
        )],
    },
];
