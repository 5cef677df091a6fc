//! The bugs: for each, the sound text in the core and what stands there instead while it is on.
//!
//! In the planted text, `planted!()` says whether this bug is switched on.

/// One bug.
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    /// The number of the invariant that it breaks; empty where it may be this or that.
    pub(crate) breaks: &'static str,
    /// Below `pool-proto/src`.
    pub(crate) file: &'static str,
    pub(crate) sound: &'static str,
    pub(crate) planted: &'static str,
}

const fn bug(
    name: &'static str,
    breaks: &'static str,
    file: &'static str,
    sound: &'static str,
    planted: &'static str,
) -> Bug {
    Bug { name, breaks, file, sound, planted }
}

/// The first nine are faults that the reference has.
pub(crate) const BUGS: &[Bug] = &[
    bug(
        "take by id hands out another connection",
        "4",
        "machine/take.rs",
        "        let Some(lease) = self.hand_over(index, now) else {\n            \
         return self.refused(Refusal::UnknownId { id });",
        "        let index = self.next_idle().filter(|_| planted!()).unwrap_or(index);\n        \
         let Some(lease) = self.hand_over(index, now) else {\n            \
         return self.refused(Refusal::UnknownId { id });",
    ),
    bug(
        "an id can be taken before its connection is there",
        "5",
        "machine/take.rs",
        "matches!(self.state(index), Some(State::Idle | State::Claimed))",
        "matches!(self.state(index), Some(State::Idle | State::Claimed))\n            \
         || planted!() && self.state(index) == Some(State::Handshaking)",
    ),
    bug(
        "the refill waits for its slowest dial",
        "7",
        "client.rs",
        "        let role = &self.role;\n        let paced",
        "        if planted!() && self.in_flight() > 0 {\n            return;\n        }\n        \
         let role = &self.role;\n        let paced",
    ),
    bug(
        "no backoff",
        "7",
        "client.rs",
        "role.retry_at = Some(now + wait).filter(|at| *at > now);",
        "role.retry_at = Some(now + wait).filter(|at| *at > now && !planted!());",
    ),
    bug(
        "waiters sleep through a flush",
        "5",
        "machine/step.rs",
        "_ => return self.waiters.requeue(waiter),",
        "_ if planted!() => return,\n            _ => return self.waiters.requeue(waiter),",
    ),
    bug(
        "a duplicate id overwrites",
        "4",
        "ids.rs",
        "if self.live.contains_key(&id) {",
        "if self.live.contains_key(&id) && !planted!() {",
    ),
    bug(
        "close is not final",
        "8",
        "machine.rs",
        "        if self.closed {\n            return;\n        }\n        if self.waiters.len() == 0",
        "        if self.closed && !planted!() {\n            return;\n        }\n        \
         if self.waiters.len() == 0",
    ),
    bug(
        "idle connections that are dead stay",
        "1",
        "machine.rs",
        "(_, CheckResult::Closed) => self.close_one(index, CloseReason::PeerClosed),",
        "(_, CheckResult::Closed) if !planted!() => {\n                \
         self.close_one(index, CloseReason::PeerClosed);\n            }\n            \
         (CheckKind::Drain, CheckResult::Closed) => self.offer(index, true, now),",
    ),
    bug(
        "mute peers fill the server",
        "2",
        "server.rs",
        "let Some(victim) = victim else { return false };",
        "let Some(victim) = victim.filter(|_| !planted!()) else { return false };",
    ),
    bug(
        "a handshake has no deadline",
        "6",
        "machine.rs",
        "State::Handshaking => common.handshake_timeout,",
        "State::Handshaking if planted!() => Period::NEVER,\n            \
         State::Handshaking => common.handshake_timeout,",
    ),
    bug(
        "a closed server admits",
        "8",
        "server.rs",
        "        if self.closed {\n            return Err(Rejected::PoolClosed);",
        "        if self.closed && !planted!() {\n            return Err(Rejected::PoolClosed);",
    ),
    bug(
        "the last waiter is served first",
        "5",
        "waiters.rs",
        "        if front {\n            list.push_front",
        "        if front || planted!() {\n            list.push_front",
    ),
    bug(
        "a cancelled waiter keeps its connection",
        "5",
        "machine/take.rs",
        "self.offer(index, true, now);\n                WaitOutcome::Granted",
        "if !planted!() {\n                    self.offer(index, true, now);\n                \
         }\n                WaitOutcome::Granted",
    ),
    bug(
        "a waiter is not woken",
        "5",
        "machine/step.rs",
        "            self.actions.push_back(Action::Wake { waiter });",
        "            if !planted!() {\n                \
         self.actions.push_back(Action::Wake { waiter });\n            }",
    ),
    bug(
        "an expired connection is handed out",
        "5",
        "slots.rs",
        "if slot.established.after(lifetime) <= now {",
        "if slot.established.after(lifetime) <= now && !planted!() {",
    ),
    bug(
        "a clock that goes back is followed",
        "1",
        "machine.rs",
        "        self.now = self.now.max(now)",
        "        self.now = if planted!() { now } else { self.now }.max(now)",
    ),
    bug(
        "a timer is forgotten when its list was empty",
        "6",
        "slots.rs",
        "            self.state_due[state as usize] = now.after(timed.period);\n        }\n        \
         timed.list.push_back",
        "            self.state_due[state as usize] =\n                if planted!() \
         { Instant::NEVER } else { now.after(timed.period) };\n        }\n        \
         timed.list.push_back",
    ),
    bug(
        "a timer outlives its connection",
        "6",
        "slots.rs",
        "if was_first && timed.period != Period::NEVER {",
        "if was_first && timed.period != Period::NEVER && !planted!() {",
    ),
    bug(
        "one more of a source than it may have",
        "2",
        "server.rs",
        "if held >= self.role.max_per_source {",
        "if held >= self.role.max_per_source.saturating_add(u32::from(planted!())) {",
    ),
    bug(
        "one more handshake than there may be",
        "2",
        "server.rs",
        "if self.slots.len(State::Handshaking) >= self.role.max_handshakes\n",
        "if self.slots.len(State::Handshaking)\n            \
         >= self.role.max_handshakes.saturating_add(u32::from(planted!()))\n",
    ),
    bug(
        "one more dial than there may be",
        "2",
        "client.rs",
        "&& self.in_flight() < max_dials",
        "&& self.in_flight() < max_dials.saturating_add(u32::from(planted!()))",
    ),
    bug(
        "after failures all dials begin at once",
        "2",
        "client.rs",
        "if role.backoff.failures() > 0 { 1 }",
        "if role.backoff.failures() > 0 && !planted!() { 1 }",
    ),
    bug(
        "the backoff does not grow",
        "7",
        "backoff.rs",
        "1u64.checked_shl(self.failures)",
        "1u64.checked_shl(if planted!() { 0 } else { self.failures })",
    ),
    bug(
        "a full pool takes back",
        "2",
        "machine/give_back.rs",
        "} else if !wanted && self.supply() >= self.role.limit() {",
        "} else if !wanted && self.supply() >= self.role.limit() && !planted!() {",
    ),
    bug(
        "what the peer has begun to use is anybody's",
        "1",
        "machine.rs",
        "slot.claimed |= result == CheckResult::Data && self.peer_claims;",
        "slot.claimed |= result == CheckResult::Data && self.peer_claims && !planted!();",
    ),
    bug(
        "a flush spares what is in use",
        "8",
        "machine/step.rs",
        "        for state in State::EACH {\n            self.close_all(state, reason);",
        "        for state in State::EACH {\n            \
         if planted!() && state == State::Leased {\n                continue;\n            }\n            \
         self.close_all(state, reason);",
    ),
    bug(
        "a stale token is taken for a live one",
        "",
        "slab.rs",
        "(entry.generation == key.generation && entry.value.is_some())",
        "((entry.generation == key.generation || planted!()) && entry.value.is_some())",
    ),
    bug(
        "waiters are not told that the listener is gone",
        "5",
        "server.rs",
        "self.ended.then_some(Refusal::AcceptEnded)",
        "(self.ended && !planted!()).then_some(Refusal::AcceptEnded)",
    ),
    bug(
        "the interval moves by two steps",
        "3",
        "tuner.rs",
        "interval.saturating_add(INTERVAL_STEP)",
        "interval.saturating_add(INTERVAL_STEP << u32::from(planted!()))",
    ),
    bug(
        "the capacity rises above its maximum",
        "3",
        "tuner.rs",
        "self.capacity = self.capacity.saturating_add(1).min(self.max_capacity);",
        "self.capacity = self.capacity.saturating_add(1);\n        \
         if !planted!() {\n            self.capacity = self.capacity.min(self.max_capacity);\n        }",
    ),
    bug(
        "ids repeat",
        "",
        "ids.rs",
        "        ConnId::from_bytes((left << 16 | right).to_be_bytes())",
        "        let mask = if planted!() { 0xff } else { u32::MAX };\n        \
         ConnId::from_bytes(((left << 16 | right) & mask).to_be_bytes())",
    ),
    bug(
        "a success does not end the backoff",
        "7",
        "client.rs",
        "            role.backoff.success();\n            role.retry_at = None;",
        "            if !planted!() {\n                role.backoff.success();\n                \
         role.retry_at = None;\n            }",
    ),
    bug(
        "what arrived while nobody could look is forgotten",
        "7",
        "machine.rs",
        "            slot.readable = true;",
        "            slot.readable = !planted!();",
    ),
    bug(
        "the id of an ended connection stays in use",
        "1",
        "ids.rs",
        "            received.live.remove(&id);",
        "            if !planted!() {\n                received.live.remove(&id);\n            }",
    ),
    bug(
        "what comes with the id in one read is lost",
        "4",
        "id.rs",
        "            Ok(Some(_)) => self.buffer.freeze(),",
        "            Ok(Some(_)) if planted!() => Bytes::new(),\n            \
         Ok(Some(_)) => self.buffer.freeze(),",
    ),
    bug(
        "waiters by id are passed over",
        "5",
        "waiters.rs",
        "        match self.first_by_id(id) {",
        "        match self.first_by_id(id).filter(|_| !planted!()) {",
    ),
    bug(
        "waiters for stock are passed over",
        "5",
        "waiters.rs",
        "                && *wanted <= idle",
        "                && *wanted <= idle && !planted!()",
    ),
    bug(
        "what the peer has begun to use is kept from who waits for its id",
        "5",
        "machine/step.rs",
        "slot.id.and_then(|id| self.waiters.first_for(id, claimed));",
        "slot.id.filter(|_| !(planted!() && claimed));\n        \
         let waiter = waiter.and_then(|id| self.waiters.first_for(id, claimed));",
    ),
    bug(
        "lifetimes do not end by themselves",
        "6",
        "slots.rs",
        "            self.next_lifetime_due = self.next_lifetime_due.min(self.lifetime_due[step]);",
        "            if !planted!() {\n                \
         self.next_lifetime_due = self.next_lifetime_due.min(self.lifetime_due[step]);\n            }",
    ),
    bug(
        "a peer that is turned away costs another its handshake",
        "",
        "server.rs",
        "            && !self.evict_handshake(source_address)",
        "            && !(self.evict_handshake(source_address) && !planted!())",
    ),
];
