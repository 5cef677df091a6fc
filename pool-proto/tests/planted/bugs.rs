//! The bugs: for each, the sound text in the core and what stands there instead while it is on.
//!
//! In the planted text, `planted!()` says whether this bug is switched on.

/// One bug.
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    /// Below `pool-proto/src`.
    pub(crate) file: &'static str,
    pub(crate) sound: &'static str,
    pub(crate) planted: &'static str,
}

const fn bug(
    name: &'static str,
    file: &'static str,
    sound: &'static str,
    planted: &'static str,
) -> Bug {
    Bug { name, file, sound, planted }
}

/// The first nine are faults that the reference has.
pub(crate) const BUGS: &[Bug] = &[
    bug(
        "take by id hands out another connection",
        "machine/take.rs",
        "        let Some(lease) = self.hand_over(index, now) else {\n            \
         return self.refused(Refusal::UnknownId { id });",
        "        let index = self.next_idle().filter(|_| planted!()).unwrap_or(index);\n        \
         let Some(lease) = self.hand_over(index, now) else {\n            \
         return self.refused(Refusal::UnknownId { id });",
    ),
    bug(
        "an id can be taken before its connection is there",
        "machine/take.rs",
        "matches!(self.state(index), Some(State::Idle | State::Claimed))",
        "matches!(self.state(index), Some(State::Idle | State::Claimed))\n            \
         || planted!() && self.state(index) == Some(State::Handshaking)",
    ),
    bug(
        "the refill waits for its slowest dial",
        "client.rs",
        "        let role = &self.role;\n        let paced",
        "        if planted!() && self.in_flight() > 0 {\n            return;\n        }\n        \
         let role = &self.role;\n        let paced",
    ),
    bug(
        "no backoff",
        "client.rs",
        "role.retry_at = Some(now + wait).filter(|at| *at > now);",
        "role.retry_at = Some(now + wait).filter(|at| *at > now && !planted!());",
    ),
    bug(
        "waiters sleep through a flush",
        "machine/step.rs",
        "_ => return self.waiters.requeue(waiter),",
        "_ if planted!() => return,\n            _ => return self.waiters.requeue(waiter),",
    ),
    bug(
        "a duplicate id overwrites",
        "ids.rs",
        "if self.live.contains_key(&id) {",
        "if self.live.contains_key(&id) && !planted!() {",
    ),
    bug(
        "close is not final",
        "machine.rs",
        "        if self.closed {\n            return;\n        }\n        if self.waiters.len() == 0",
        "        if self.closed && !planted!() {\n            return;\n        }\n        \
         if self.waiters.len() == 0",
    ),
    bug(
        "idle connections that are dead stay",
        "machine.rs",
        "(_, Finding::Closed) => self.close_one(index, CloseReason::PeerClosed),",
        "(_, Finding::Closed) if !planted!() => {\n                \
         self.close_one(index, CloseReason::PeerClosed);\n            }\n            \
         (Purpose::Drain, Finding::Closed) => self.offer(index, true, now),",
    ),
    bug(
        "mute peers fill the server",
        "server.rs",
        "let Some(victim) = victim else { return false };",
        "let Some(victim) = victim.filter(|_| !planted!()) else { return false };",
    ),
    bug(
        "a handshake has no deadline",
        "machine.rs",
        "State::Handshaking => common.handshake_timeout,",
        "State::Handshaking if planted!() => Period::NEVER,\n            \
         State::Handshaking => common.handshake_timeout,",
    ),
    bug(
        "a closed server admits",
        "server.rs",
        "        if self.closed {\n            return Err(Rejected::PoolClosed);",
        "        if self.closed && !planted!() {\n            return Err(Rejected::PoolClosed);",
    ),
    bug(
        "the last waiter is served first",
        "waiters.rs",
        "        if front {\n            list.push_front",
        "        if front || planted!() {\n            list.push_front",
    ),
    bug(
        "a cancelled waiter keeps its connection",
        "machine/take.rs",
        "self.offer(index, true, now);\n                WaitOutcome::Granted",
        "if !planted!() {\n                    self.offer(index, true, now);\n                \
         }\n                WaitOutcome::Granted",
    ),
    bug(
        "a waiter is not woken",
        "machine/step.rs",
        "            self.actions.push_back(Action::Wake { waiter });",
        "            if !planted!() {\n                \
         self.actions.push_back(Action::Wake { waiter });\n            }",
    ),
    bug(
        "an expired connection is handed out",
        "slots.rs",
        "if slot.established.after(lifetime) <= now {",
        "if slot.established.after(lifetime) <= now && !planted!() {",
    ),
    bug(
        "a clock that goes back is followed",
        "machine.rs",
        "        self.now = self.now.max(now)",
        "        self.now = if planted!() { now } else { self.now }.max(now)",
    ),
    bug(
        "a timer is forgotten when its list was empty",
        "slots.rs",
        "            self.state_due[state as usize] = now.after(timed.period);\n        }\n        \
         timed.list.push_back",
        "            self.state_due[state as usize] =\n                if planted!() \
         { Instant::NEVER } else { now.after(timed.period) };\n        }\n        \
         timed.list.push_back",
    ),
    bug(
        "a timer outlives its connection",
        "slots.rs",
        "if was_first && timed.period != Period::NEVER {",
        "if was_first && timed.period != Period::NEVER && !planted!() {",
    ),
    bug(
        "one more of a source than it may have",
        "server.rs",
        "if held >= self.role.max_per_source {",
        "if held >= self.role.max_per_source.saturating_add(u32::from(planted!())) {",
    ),
    bug(
        "one more handshake than there may be",
        "server.rs",
        "if self.slots.len(State::Handshaking) >= self.role.max_handshakes\n",
        "if self.slots.len(State::Handshaking)\n            \
         >= self.role.max_handshakes.saturating_add(u32::from(planted!()))\n",
    ),
    bug(
        "one more dial than there may be",
        "client.rs",
        "&& self.in_flight() < max_dials",
        "&& self.in_flight() < max_dials.saturating_add(u32::from(planted!()))",
    ),
    bug(
        "after failures all dials begin at once",
        "client.rs",
        "if role.backoff.failures() > 0 { 1 }",
        "if role.backoff.failures() > 0 && !planted!() { 1 }",
    ),
    bug(
        "the backoff does not grow",
        "backoff.rs",
        "1u64.checked_shl(self.failures)",
        "1u64.checked_shl(if planted!() { 0 } else { self.failures })",
    ),
    bug(
        "a full pool takes back",
        "machine/give_back.rs",
        "} else if !wanted && self.supply() >= self.role.limit() {",
        "} else if !wanted && self.supply() >= self.role.limit() && !planted!() {",
    ),
    bug(
        "what the peer has begun to use is anybody's",
        "machine.rs",
        "slot.claimed |= finding == Finding::Data && self.peer_claims;",
        "slot.claimed |= finding == Finding::Data && self.peer_claims && !planted!();",
    ),
    bug(
        "a flush spares what is in use",
        "machine/step.rs",
        "        for state in State::ALL {\n            self.close_all(state, reason);",
        "        for state in State::ALL {\n            \
         if planted!() && state == State::Leased {\n                continue;\n            }\n            \
         self.close_all(state, reason);",
    ),
    bug(
        "a stale token is taken for a live one",
        "slab.rs",
        "(entry.generation == key.generation && entry.value.is_some())",
        "((entry.generation == key.generation || planted!()) && entry.value.is_some())",
    ),
    bug(
        "waiters are not told that the listener is gone",
        "server.rs",
        "self.ended.then_some(Refusal::AcceptEnded)",
        "(self.ended && !planted!()).then_some(Refusal::AcceptEnded)",
    ),
    bug(
        "the interval moves by two steps",
        "tuner.rs",
        "interval.saturating_add(INTERVAL_STEP)",
        "interval.saturating_add(INTERVAL_STEP << u32::from(planted!()))",
    ),
    bug(
        "the capacity rises above its maximum",
        "tuner.rs",
        "self.capacity = self.capacity.saturating_add(1).min(self.max_capacity);",
        "self.capacity = self.capacity.saturating_add(1);\n        \
         if !planted!() {\n            self.capacity = self.capacity.min(self.max_capacity);\n        }",
    ),
    bug(
        "ids repeat",
        "ids.rs",
        "        ConnId::from_bytes((left << 16 | right).to_be_bytes())",
        "        let mask = if planted!() { 0xff } else { u32::MAX };\n        \
         ConnId::from_bytes(((left << 16 | right) & mask).to_be_bytes())",
    ),
    bug(
        "a success does not end the backoff",
        "client.rs",
        "            role.backoff.success();\n            role.retry_at = None;",
        "            if !planted!() {\n                role.backoff.success();\n                \
         role.retry_at = None;\n            }",
    ),
    bug(
        "what arrived while nobody could look is forgotten",
        "machine.rs",
        "            slot.stirred = true;",
        "            slot.stirred = !planted!();",
    ),
    bug(
        "the id of an ended connection stays in use",
        "ids.rs",
        "            received.live.remove(&id);",
        "            if !planted!() {\n                received.live.remove(&id);\n            }",
    ),
];
