//! The bugs: for each, the sound text in the core and what stands there instead while it is on.
//!
//! In the planted text, `planted!()` says whether this bug is switched on.

use crate::copy::Edit;

/// A planted bug.
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    /// How the line begins that the simulation must print for it: a bug that is found for another
    /// reason alone is not found.
    pub(crate) found_by: &'static str,
    pub(crate) edit: Edit,
    /// The seed to begin with: a bug that shows in one seed of ten thousand would take a minute to find.
    pub(crate) start: &'static str,
}

impl Bug {
    const fn starting_at(self, start: &'static str) -> Self {
        Self { start, ..self }
    }
}

pub(crate) const fn bug(
    name: &'static str,
    found_by: &'static str,
    file: &'static str,
    sound: &'static str,
    planted: &'static str,
) -> Bug {
    Bug { name, found_by, edit: Edit { file, sound, planted }, start: "1" }
}

/// The first nine are faults of the Go package.
pub(crate) const BUGS: &[Bug] = &[
    bug(
        "take by id hands out another connection",
        "violation of 4: a lease is what was asked for",
        "machine/take.rs",
        "        let lease = self.lease(index, false, now)?;",
        "        let other = self.next_idle().filter(|_| planted!());\n        \
         let lease = self.lease(other.unwrap_or(index), false, now)?;",
    ),
    bug(
        "an id can be taken before its connection is there",
        "violation of 1: the counters count",
        "machine/take.rs",
        "        if !self.takeable_by_id(index) || self.expiry(index, now).is_some() {",
        "        if planted!() && self.state(index) == Some(State::Admitted) {\n            \
         self.enter(index, State::Leased, now);\n        \
         }\n        \
         if !self.takeable_by_id(index) || self.expiry(index, now).is_some() {",
    ),
    bug(
        "the refill waits for its slowest dial",
        "violation of 7: a client dials up to its capacity",
        "role/dialing.rs",
        "        let (role, paced) = (&self.role, self.is_paced());",
        "        if planted!() && self.in_flight() > 0 {\n            return;\n        }\n        \
         let (role, paced) = (&self.role, self.is_paced());",
    ),
    bug(
        "no backoff",
        "violation of 7: no dial without its backoff",
        "role/dialing.rs",
        "self.retry_at = Some(now + wait).filter(|at| *at > now);",
        "self.retry_at = Some(now + wait).filter(|at| *at > now && !planted!());",
    ),
    bug(
        "a full server counts as one that is down",
        "violation of 7: full is not down",
        "role/dialing/outcomes.rs",
        "if others == 0 {",
        "if others == 0 || planted!() {",
    ),
    bug(
        "at a full server the places that are taken are not filled",
        "violation of 7: a client dials up to its capacity",
        "role/dialing.rs",
        "if !role.is_down() => ceiling,",
        "if !role.is_down() => ceiling.saturating_sub(planted!().into()),",
    ),
    bug(
        "a waiter sits out the whole wait",
        "violation of 7: with a waiter the next dial is near",
        "role/dialing.rs",
        "is_some_and(|at| at > latest) && self.is_urgent()",
        "is_some_and(|at| at > latest) && self.is_urgent() && !planted!()",
    ),
    bug(
        "waiters sleep through a flush",
        "violation of 5: one outcome for each waiter",
        "machine/step.rs",
        "_ => return self.waiters.requeue(waiter),",
        "_ if planted!() => return,\n            _ => return self.waiters.requeue(waiter),",
    ),
    bug(
        "a duplicate id overwrites",
        "violation of 4: ids are unique",
        "ids.rs",
        "            && let Entry::Vacant(vacant) = slots.entry(id)\n        {\n            \
         vacant.insert(index);",
        "            && (planted!() || !slots.contains_key(&id))\n        {\n            \
         slots.insert(id, index);",
    ),
    bug(
        "close is not final",
        "violation of 8: no dial after close",
        "machine/step.rs",
        "        if self.is_ending() {\n            return self.dispatch_at_the_end(now);",
        "        if self.is_ending() && !(planted!() && self.closed) {\n            \
         return self.dispatch_at_the_end(now);",
    ),
    bug(
        "a shutdown goes on dialling",
        "violation of 8: no dial after close or in a shutdown",
        "machine/step.rs",
        "    fn dispatch_at_the_end(&mut self, now: Instant) {\n",
        "    fn dispatch_at_the_end(&mut self, now: Instant) {\n        \
         if planted!() && !self.closed {\n            \
         R::refill(self, now);\n        \
         }\n",
    ),
    bug(
        "a grant that nobody collects stays",
        "violation of 6: poll_timeout is the earliest deadline",
        "machine.rs",
        "        State::Granted => GRANT_TIMEOUT,",
        "        State::Granted if planted!() => Period::NEVER,\n        \
         State::Granted => GRANT_TIMEOUT,",
    ),
    bug(
        "a shorter timeout does not concern those that are there",
        "violation of 6: a timeout does what is due",
        "slots.rs",
        "            timed.period = period(state);\n            \
         let first =",
        "            timed.period = period(state);\n            \
         if planted!() {\n                continue;\n            }\n            \
         let first =",
    ),
    bug(
        "a shutdown forgets its deadline",
        "violation of 6: the deadline of a shutdown is known",
        "machine.rs",
        "            Some(deadline) => (deadline, Instant::NEVER),",
        "            Some(deadline) => {\n                \
         (if planted!() { Instant::NEVER } else { deadline }, Instant::NEVER)\n            }",
    ),
    bug(
        "idle connections that are dead stay",
        "violation of 1: the result of a check has its consequence",
        "machine/handle.rs",
        "            (CheckKind::Inspect, result) if self.keeps(index, result) => {\n",
        "            (_, CheckResult::Closed) if planted!() => self.offer(index, true, now),\n            \
         (CheckKind::Inspect, result) if self.keeps(index, result) => {\n",
    ),
    bug(
        "an end without data closes the connection",
        "violation of 4: a connection that the other end has closed is kept for its id",
        "machine/handle.rs",
        "CheckResult::Closed => self.peer_claims && !control,",
        "CheckResult::Closed => self.peer_claims && !control && !planted!(),",
    ),
    bug(
        "mute peers fill the server",
        "violation of 2: a server's handshakes",
        "role/accepting.rs",
        "if let Some((_, victim)) = heaviest {",
        "if let Some((_, victim)) = heaviest.filter(|_| !planted!()) {",
    ),
    bug(
        "a handshake costs a ready connection",
        "violation of 2: a handshake costs nothing proven",
        "role/accepting.rs",
        "let first = if silent { State::Accepted } else { State::Handshaking };",
        "let first = if planted!() && self.idle() > 0 {\n            State::Idle\n        } else if silent {\n            \
         State::Accepted\n        } else {\n            State::Handshaking\n        };",
    ),
    bug(
        "a heavy peer is not evicted for a light one",
        "violation of 2: no peer locks out another",
        "role/accepting.rs",
        "let evicted = evicted.map(|victim| (victim, CloseReason::Evicted));",
        "let evicted = evicted.filter(|_| !planted!());\n        \
         let evicted = evicted.map(|victim| (victim, CloseReason::Evicted));",
    ),
    bug(
        "a peer waits for its dead connections to end",
        "violation of 2: a peer comes back in place of its old connections",
        "role/sources.rs",
        "source.replaced < source.pooled.len()",
        "source.replaced < source.pooled.len() && !planted!()",
    ),
    bug(
        "a handshake has no deadline",
        "violation of 6: poll_timeout is the earliest deadline",
        "machine.rs",
        "State::Handshaking | State::Admitted => common.handshake_timeout,",
        "State::Handshaking if planted!() => Period::NEVER,\n            \
         State::Handshaking | State::Admitted => common.handshake_timeout,",
    ),
    bug(
        "a closed server admits",
        "violation of 8: nobody is admitted after close",
        "role/accepting.rs",
        "        if self.closed {\n            return Err(Rejected::PoolClosed);\n        }\n        \
         if self.shutdown",
        "        if self.closed && !planted!() {\n            return Err(Rejected::PoolClosed);\n        \
         }\n        if self.shutdown",
    ),
    bug(
        "the last waiter is served first",
        "violation of 5: waiters are served in order",
        "waiters.rs",
        "        if front {\n            list.push_front",
        "        if front || planted!() {\n            list.push_front",
    ),
    bug(
        "a cancelled waiter keeps its connection",
        "violation of 5: each grant belongs to a waiter",
        "machine/take.rs",
        "self.offer(index, true, now);\n                WaitOutcome::Granted",
        "if !planted!() {\n                    self.offer(index, true, now);\n                \
         }\n                WaitOutcome::Granted",
    ),
    bug(
        "a waiter is not woken",
        "violation of 5: each grant belongs to a waiter",
        "machine/step.rs",
        "            self.actions.push_back(Action::Wake { waiter });",
        "            if !planted!() {\n                \
         self.actions.push_back(Action::Wake { waiter });\n            }",
    ),
    bug(
        "an expired connection is handed out",
        "violation of 5: nothing expired is leased",
        "slots.rs",
        "if slot.established.after(lifetime) <= now {",
        "if slot.established.after(lifetime) <= now\n            \
         && !(planted!() && slot.state == State::Idle)\n        {",
    ),
    bug(
        "a clock that goes back is followed",
        "violation of 10: a replay is identical",
        "machine.rs",
        "        self.now = self.now.max(now)",
        "        self.now = if planted!() { now } else { self.now }.max(now)",
    ),
    bug(
        "a timer is forgotten when its list was empty",
        "violation of 6: poll_timeout is the earliest deadline",
        "slots.rs",
        "            self.state_due[state as usize] = now.after(timed.period);\n        }\n        \
         timed.list.push_back",
        "            self.state_due[state as usize] =\n                if planted!() \
         { Instant::NEVER } else { now.after(timed.period) };\n        }\n        \
         timed.list.push_back",
    ),
    bug(
        "a timer outlives its connection",
        "violation of 6: a timeout does what is due",
        "slots.rs",
        "if was_first && timed.period != Period::NEVER {",
        "if was_first && timed.period != Period::NEVER && !planted!() {",
    ),
    bug(
        "one more of a source than it may have",
        "violation of 2: no more than max_per_source of a peer",
        "role/accepting.rs",
        "if held >= role.max_per_source {",
        "if held >= role.max_per_source.saturating_add(u32::from(planted!())) {",
    ),
    bug(
        "one more handshake than there may be",
        "violation of 2: a server's handshakes",
        "role/accepting.rs",
        "if Accepting::unproven(self) >= self.role.max_handshakes {",
        "if Accepting::unproven(self)\n            \
         >= self.role.max_handshakes.saturating_add(u32::from(planted!()))\n        {",
    ),
    bug(
        "one more dial than there may be",
        "violation of 2: dials within their limit",
        "role/dialing.rs",
        "&& self.in_flight() < max_dials",
        "&& self.in_flight() < max_dials.saturating_add(u32::from(planted!()))",
    ),
    bug(
        "after failures all dials begin at once",
        "violation of 2: dials within their limit",
        "role/dialing.rs",
        "if role.is_down() { 1 }",
        "if role.is_down() && !planted!() { 1 }",
    ),
    bug(
        "the backoff does not grow",
        "not covered: waits after failures",
        "backoff.rs",
        "self.after(self.failures)",
        "self.after(if planted!() { 0 } else { self.failures })",
    ),
    bug(
        "a full pool takes back",
        "violation of 2: stock within capacity",
        "machine/give_back.rs",
        "!wanted && self.supply() >= self.role.max_capacity() {",
        "!wanted && self.supply() >= self.role.max_capacity() && !planted!() {",
    ),
    bug(
        "a full pool closes what its peer may have acquired again",
        "violation of 1: a connection ends for a reason",
        "machine/give_back.rs",
        "} else if ours && ",
        "} else if (ours || planted!()) && ",
    ),
    bug(
        "a claimed connection is anybody's",
        "violation of 1: the result of a check has its consequence",
        "machine/handle.rs",
        "let claims = self.peer_claims && data;",
        "let claims = self.peer_claims && data && !planted!();",
    ),
    bug(
        "a flush spares leased connections",
        "violation of 8: flush ends everything",
        "machine/step.rs",
        "        for state in State::EACH {\n            self.close_all(state, reason);",
        "        for state in State::EACH {\n            \
         if planted!() && state == State::Leased {\n                continue;\n            }\n            \
         self.close_all(state, reason);",
    ),
    bug(
        "a stale token is taken for a live one",
        "violation of 9: a stale call changes only a counter",
        "slab.rs",
        "(entry.generation == key.generation && entry.value.is_some())",
        "((entry.generation == key.generation || planted!()) && entry.value.is_some())",
    ),
    bug(
        "waiters are not told that the listener is gone",
        "violation of 5: nobody waits in vain",
        "role/accepting.rs",
        "self.ended.then_some(Refusal::AcceptEnded)",
        "(self.ended && !planted!()).then_some(Refusal::AcceptEnded)",
    ),
    bug(
        "the interval moves by two steps",
        "violation of 3: the interval moves by 100 ms",
        "tuner/rounds.rs",
        "interval.saturating_add(STEP)",
        "interval.saturating_add(STEP << u32::from(planted!()))",
    ),
    bug(
        "the capacity rises above its maximum",
        "violation of 3: capacity within its bounds",
        "tuner.rs",
        "self.capacity = capacity.max(self.min_capacity).min(self.max_capacity);",
        "let most = self.max_capacity.saturating_add(planted!().into());\n        \
         self.capacity = capacity.max(self.min_capacity).min(most);",
    ),
    bug(
        "what is needed is closed as surplus",
        "violation of 1: a connection ends for a reason",
        "role/dialing.rs",
        "        client.note_surplus(client.spare().saturating_sub(aim), now);",
        "        let needed = if planted!() { 0 } else { aim };\n        \
         client.note_surplus(client.spare().saturating_sub(needed), now);",
    ),
    bug(
        "a dial that is spread is forgotten",
        "violation of 7: a spread dial is near",
        "role/dialing/urgency.rs",
        "        if at > self.now && self.is_spread_and_missing() {",
        "        if at > self.now && self.is_spread_and_missing() && !planted!() {",
    )
    .starting_at("6000"),
    bug(
        "ids repeat",
        "violation of 4: ids are unique",
        "ids.rs",
        "            let id = told.servers.map_or(drawn, |servers| assigned(drawn, servers));\n            \
         if id != ConnId::ZERO && places.enter(id, index) {",
        "            let mut id = told.servers.map_or(drawn, |servers| assigned(drawn, servers));\n            \
         if planted!() {\n                \
         id = ConnId::from_bytes([1, 0, 0, id.to_bytes()[3]]);\n            }\n            \
         let twice = planted!() && places.find(id).is_some();\n            \
         if twice || id != ConnId::ZERO && places.enter(id, index) {",
    ),
    bug(
        "a success does not end the backoff",
        "violation of 7: waiters are served in time",
        "role/dialing/outcomes.rs",
        "let was_down = self.is_down();",
        "let was_down = self.is_down() && !planted!();",
    ),
    bug(
        "data that arrives during a check is forgotten",
        "violation of 7: waiters are served in time",
        "machine/handle.rs",
        "            slot.readable = true;",
        "            slot.readable = !planted!();",
    ),
    bug(
        "the id of an ended connection stays in use",
        "violation of 1: a connection ends for a reason",
        "ids.rs",
        "            Live::Received(slots) => drop(slots.remove(&id)),",
        "            Live::Received(_) if planted!() => {}\n            \
         Live::Received(slots) => drop(slots.remove(&id)),",
    ),
    bug(
        "an issued id outlives its connection",
        "violation of 4: a lease is what was asked for",
        "ids.rs",
        "            Live::Issued(_, places) => places.remove(id),",
        "            Live::Issued(..) if planted!() => {}\n            \
         Live::Issued(_, places) => places.remove(id),",
    ),
    bug(
        "data in one read with the id is lost",
        "violation of 4: every byte reaches its lessee, in order",
        "id/reader.rs",
        "            Ok(Some(_)) => self.buffer.freeze(),",
        "            Ok(Some(_)) if planted!() => Bytes::new(),\n            \
         Ok(Some(_)) => self.buffer.freeze(),",
    ),
    bug(
        "waiters by id are passed over",
        "violation of 5: nobody waits for an id that is there",
        "machine/step.rs",
        "        by_id.or_else(|| self.waiters.first_of(kind))",
        "        by_id.filter(|_| !planted!()).or_else(|| self.waiters.first_of(kind))",
    ),
    bug(
        "waiters for stock are passed over",
        "violation of 5: never a waiter and its stock",
        "waiters.rs",
        "                && *wanted <= idle",
        "                && *wanted <= idle && !planted!()",
    ),
    bug(
        "a claimed connection is withheld from the waiter for its id",
        "violation of 5: nobody waits for an id that is there",
        "machine/step.rs",
        "        let waiter = id.and_then(|id| self.first_waiter_for(id, kind, claimed));",
        "        let waiter = if planted!() && claimed {\n            \
         self.waiters.first_of(kind)\n        \
         } else {\n            \
         id.and_then(|id| self.first_waiter_for(id, kind, claimed))\n        \
         };",
    ),
    bug(
        "lifetimes do not end by themselves",
        "violation of 6: poll_timeout is the earliest deadline",
        "slots.rs",
        "            self.next_lifetime_due = self.next_lifetime_due.min(self.lifetime_due[step]);",
        "            if !planted!() {\n                \
         self.next_lifetime_due = self.next_lifetime_due.min(self.lifetime_due[step]);\n            }",
    ),
    bug(
        "both ends acquire whatever is ready",
        "violation of 4: each ready connection has its acquirer",
        "machine.rs",
        "id.is_none_or(|id| is_servers(id) == R::IS_SERVER)",
        "id.is_none_or(|id| planted!() || is_servers(id) == R::IS_SERVER)",
    ),
    bug(
        "a connection that is the peer's ends with its lifetime",
        "violation of 1: a connection ends for a reason",
        "machine/handle.rs",
        "            let rests = matches!(self.state(index), Some(State::Idle | State::Resting));\n            \
         if rests && self.is_ours(index) {",
        "            let rests = matches!(self.state(index), Some(State::Idle | State::Resting));\n            \
         let theirs = planted!() && self.state(index) == Some(State::Reserved);\n            \
         if rests && self.is_ours(index) || theirs {",
    ),
    bug(
        "a caller waits for the id of what was acquired here",
        "violation of 5: nobody waits for what this end has acquired",
        "machine/take.rs",
        "            State::Leased => slot.acquired,",
        "            State::Leased => slot.acquired && !planted!(),",
    ),
    bug(
        "an end without data is accepted",
        "violation of 4: a lease is what was asked for",
        "machine/take.rs",
        "        while let Some(index) = self.slots.requests.front() {",
        "        let others = |this: &Self| this.slots.front(State::Finished).filter(|_| planted!());\n        \
         while let Some(index) = self.slots.requests.front().or_else(|| others(self)) {",
    ),
    bug(
        "an acquire by id does not wait for the opening byte",
        "violation of 4: every byte reaches its lessee",
        "machine/step.rs",
        "        let by_id = if has_begun || !self.opening {",
        "        let by_id = if has_begun || !self.opening || planted!() {",
    ),
    bug(
        "the driver does not learn when the first idle connection is too old",
        "violation of 6: a nearer deadline is told",
        "machine/retire.rs",
        "let Some(oldest) = oldest else { return now.after(half) };",
        "let Some(oldest) = oldest else {\n            \
         return if planted!() { Instant::NEVER } else { now.after(half) };\n        \
         };",
    ),
    bug(
        "the driver does not learn that there is something to forget",
        "violation of 6: a nearer deadline is told",
        "role/dialing.rs",
        "        if at < before {",
        "        if at < before && !planted!() {",
    ),
    bug(
        "a peer keeps its rank",
        "violation of 2: no peer locks out another",
        "role/sources.rs",
        "            let count = entry.pooled.len();\n",
        "            let count = if planted!() { entry.rank } else { entry.pooled.len() };\n",
    ),
];
