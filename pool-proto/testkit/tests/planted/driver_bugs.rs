//! The bugs in the driver, which the simulation of real pools must find.

use super::bugs::{Bug, bug};

/// Below `pool-proto/driver/src`.
pub(crate) const DRIVER_BUGS: &[Bug] = &[
    bug(
        "the driver sleeps although there are commands",
        "violation of “",
        "shared/state.rs",
        "        if self.has_commands() || self.is_due_earlier() {\n            return Err(driver);",
        "        if !planted!() && (self.has_commands() || self.is_due_earlier()) {\n            return Err(driver);",
    ),
    bug(
        "nobody wakes the driver for commands",
        "violation of “",
        "shared/state.rs",
        "            && (self.has_commands() || (deferred.checks.is_empty()",
        "            && ((self.has_commands() && !planted!()) || (deferred.checks.is_empty()",
    ),
    bug(
        "a nearer deadline does not wake the driver",
        "violation of “a timer is armed for each deadline",
        "shared/state.rs",
        "deferred.checks.is_empty() && self.is_due_earlier()",
        "deferred.checks.is_empty() && !planted!() && self.is_due_earlier()",
    ),
    bug(
        "the driver believes in a deadline that is gone",
        "violation of “a poll ends",
        "shared/state.rs",
        "        let former = self.armed.filter(|former| *former > now);\n",
        "        if planted!() && self.machine.poll_timeout().is_none() {\n            return;\n        }\n        \
         let former = self.armed.filter(|former| *former > now);\n",
    ),
    bug(
        "the waker of a waiter is not kept",
        "violation of “",
        "shared/state.rs",
        "        let stored = self.wakers.get_mut(waiter.slot())?;\n",
        "        let stored = self.wakers.get_mut(waiter.slot()).filter(|_| !planted!())?;\n",
    ),
    bug(
        "what the reactor reports is not told to the driver",
        "violation of “an end that has arrived is noticed",
        "shared.rs",
        "            state.readable.push_back(token);\n            state.driver.take()",
        "            state.readable.push_back(token);\n            state.driver.take().filter(|_| !planted!())",
    ),
    bug(
        "a connection is handed out without a check",
        "violation of “no dead connection is handed out",
        "shared/acquire.rs",
        "        let result = connection.check();\n        if self.is_unfit",
        "        let result = if planted!() { CheckResult::Quiet } else { connection.check() };\n        if self.is_unfit",
    ),
    bug(
        "a caller that is dropped stays in the queue",
        "violation of “",
        "shared/acquire.rs",
        "                state.machine.cancel(now, waiter);\n                state.forget(waiter)",
        "                if !planted!() {\n                    state.machine.cancel(now, waiter);\n                }\n                \
         state.forget(waiter)",
    ),
    bug(
        "the deadline of a caller is not told",
        "violation of “an acquire ends at its deadline",
        "shared/acquire.rs",
        "if !expired || (why == WaitReason::IdChecking",
        "if !expired || planted!() || (why == WaitReason::IdChecking",
    ),
    bug(
        "a put discards nothing",
        "violation of “an end that has arrived is noticed",
        "shared/leased.rs",
        "pool.drains_at_put.then(|| self.connection.drain())",
        "pool.drains_at_put.then(|| if planted!() { pool_proto::CheckResult::Quiet } else { self.connection.drain() })",
    ),
    bug(
        "a revoked lease waits on",
        "violation of “a flush ends the calls of holders",
        "shared/revoker.rs",
        "        if let Some(holder) = self.holder.upgrade() {",
        "        if let Some(holder) = self.holder.upgrade().filter(|_| !planted!()) {",
    ),
    bug(
        "a revoked connection goes on for its holder",
        "violation of “",
        "connection/shared_socket.rs",
        "        self.socket.shutdown_both();\n",
        "        if !planted!() {\n            self.socket.shutdown_both();\n        }\n",
    ),
    bug(
        "a check does not register with the reactor",
        "violation of “an end that has arrived is noticed",
        "connection/check.rs",
        "                    match socket.poll_readable(&mut context) {\n                        \
         Poll::Pending => return ReadOutcome::All,",
        "                    if planted!() {\n                        return ReadOutcome::All;\n                    }\n                    \
         match socket.poll_readable(&mut context) {\n                        \
         Poll::Pending => return ReadOutcome::All,",
    ),
    bug(
        "a check takes an end for silence",
        "violation of “",
        "connection/check.rs",
        "                Ok(0) => return ReadOutcome::Eof,\n                Ok(count) if keep",
        "                Ok(0) if planted!() => return ReadOutcome::All,\n                \
         Ok(0) => return ReadOutcome::Eof,\n                Ok(count) if keep",
    ),
    bug(
        "early data are lost",
        "violation of “",
        "connection.rs",
        "        if !self.early.is_empty() {\n            return Ok(",
        "        if planted!() {\n            self.early.clear();\n        }\n        \
         if !self.early.is_empty() {\n            return Ok(",
    ),
    bug(
        "a writer waits for data to read",
        "violation of “a talk succeeds without faults",
        "connection/socket.rs",
        "        self.poll(Direction::Write, data.len(), |socket| socket.write(data))",
        "        let way = if planted!() { Direction::Read } else { Direction::Write };\n        \
         self.poll(way, data.len(), |socket| socket.write(data))",
    ),
    bug(
        "a full buffer passes for a short read",
        "violation of “a talk succeeds without faults",
        "connection/socket.rs",
        "        let is_short = |count: &usize| (1..length).contains(count);",
        "        let is_short = |count: &usize| (1..length + usize::from(planted!())).contains(count);",
    ),
    bug(
        "an aborted attempt goes on",
        "violation of “a task ends with its work",
        "pool/driver.rs",
        "                        tasks.end(token);\n",
        "                        if !planted!() {\n                            tasks.end(token);\n                        }\n",
    ),
    bug(
        "the handle of a task that has ended is kept",
        "violation of “the handle of a task ends with it",
        "pool/tasks.rs",
        "        self.end(first);\n",
        "        if !planted!() {\n            self.end(first);\n        }\n",
    ),
    bug(
        "a timer stays though the deadline has come nearer",
        "violation of “a timer is armed for each deadline",
        "pool/driver.rs",
        "            Some((at, timer)) if *at <= due => timer,",
        "            Some((at, timer)) if *at <= due || planted!() => timer,",
    ),
    bug(
        "a pool has ended before its tasks",
        "violation of “nothing of a pool is left",
        "pool/tasks.rs",
        "        while ended.recv().await.is_ok() {}\n",
        "        while !planted!() && ended.recv().await.is_ok() {}\n",
    ),
    bug(
        "a driver that is dropped closes nothing",
        "violation of “nothing of a pool is left",
        "pool/driver.rs",
        "        self.shared.close_with_driver();\n",
        "        if !planted!() {\n            self.shared.close_with_driver();\n        }\n",
    ),
    bug(
        "the listener does not pause after a failed accept",
        "violation of “a server without descriptors pauses",
        "pool/accept.rs",
        "                AcceptFailure::Pause(pause) => self.resume_at = Some(shared.now() + pause),",
        "                AcceptFailure::Pause(pause) => {\n                    \
         self.resume_at = Some(shared.now() + pause).filter(|_| !planted!());\n                }",
    ),
    bug(
        "one peer that has left ends the listener",
        "violation of “there is stock without faults",
        "pool/accept.rs",
        "                AcceptFailure::OfOnePeer => N::yield_now().await,",
        "                AcceptFailure::OfOnePeer if planted!() => self.socket = None,\n                \
         AcceptFailure::OfOnePeer => N::yield_now().await,",
    ),
    bug(
        "an address that does not answer has the whole time",
        "violation of “a dial reaches the address that answers",
        "pool/race.rs",
        "            if !attempts.is_empty() && !failed && !paused() {",
        "            if !attempts.is_empty() && !failed && (planted!() || !paused()) {",
    ),
    bug(
        "the last handle of a pool closes nothing",
        "violation of “nothing of a pool is left",
        "pool.rs",
        "            if !machine.is_shutting_down() {\n                machine.close(now);",
        "            if !machine.is_shutting_down() && !planted!() {\n                machine.close(now);",
    ),
    bug(
        "any event of the driver ends the pause after a failed accept",
        "violation of “a server without descriptors pauses",
        "pool/accept.rs",
        "            if let Some(resume_at) = self.resume_at {\n",
        "            let resumes = if planted!() { self.resume_at.take() } else { self.resume_at };\n            \
         if let Some(resume_at) = resumes {\n",
    ),
    bug(
        "a port that is freed at a shutdown passes for a failure",
        "violation of “a listener whose port is freed has not failed",
        "pool/accept.rs",
        "                Err(_) if shared.is_shutting_down() || shared.is_closed() => {",
        "                Err(_) if !planted!() && (shared.is_shutting_down() || shared.is_closed()) => {",
    ),
    bug(
        "a crowd of peers lets nobody else run",
        "violation of “a crowd lets others run",
        "pool/driver.rs",
        "                    // So that a busy listener does not starve other tasks.\n                    N::yield_now().await;",
        "                    if !planted!() {\n                        N::yield_now().await;\n                    }",
    ),
    bug(
        "a flush does not revoke the leases",
        "violation of “a flush is the reason that holders are told",
        "shared/state.rs",
        "                        self.revocation.set(reason);\n                        if deferred",
        "                        if !planted!() {\n                            self.revocation.set(reason);\n                        }\n                        if deferred",
    ),
];
