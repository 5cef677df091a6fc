//! The users at both ends: one takes any connection and tells its id to the other end, where it is
//! taken by id, or speaks, and it is accepted there; then they exchange bytes that are checked one by
//! one, and close it or put it back. Some close it at once, and tell its id afterwards.

use pool_proto::{
    Acquired, CheckResult, CloseReason, Collected, ConnId, Event, IdExchange, Lease, OPENING_BYTE,
    Refusal, State as PoolState, Stock, Token, WaiterId,
};

use crate::setup::Side;
use crate::violation::{Verdict, ensure};
use crate::world::faults::Fault;
use crate::world::network::{Stage, endpoint_of, nanos, side_of, transport_of};
use crate::world::options::Takers;
use crate::world::{What, World};

/// A message from user to user, beside the pool's connections: take a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    conversation: u32,
    what: Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The connection with this id.
    Id(ConnId),
    /// The connection with this id, which is closed already.
    Ended(ConnId),
    /// The connection with the first byte: no message is sent, and the user accepts on its own.
    Nothing,
}

/// Two users and one connection.
#[derive(Clone, Copy)]
pub(crate) struct Conversation {
    /// Bytes in each direction.
    len: u16,
    /// Whether the connection is put back at the end.
    reuse: bool,
    /// Whether nothing keeps the other end from noticing an end, and from keeping it for the id.
    sound: bool,
}

/// A user's part in a conversation, at one end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    side: Side,
    conversation: u32,
    kind: Kind,
    state: State,
    /// Whether it has ever had a connection.
    served: bool,
    got: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Takes any connection, tells its id, and speaks first.
    First,
    /// Takes it by id, and answers.
    Second(ConnId),
    /// Accepts one, and answers.
    Accepts,
    /// Takes any connection, closes it at once, and then tells its id.
    Hasty,
    /// Takes it by id, and waits for its end.
    Witness(ConnId),
    /// Takes any, holds it for a while, and says nothing.
    Alone,
    /// Takes one by an id of which nobody has told, and says nothing.
    Guess(ConnId),
    /// Takes the control connection, says nothing, and takes the next one at its end.
    Keeper,
    /// Waits until there is stock.
    Stock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting(WaiterId),
    Leased { at: u32, token: Token },
    Over,
}

/// A byte of a conversation, which differs from its neighbours and from other conversations.
#[expect(clippy::cast_possible_truncation, reason = "the lowest byte is what is wanted")]
const fn byte(conversation: u32, from: Side, offset: u16) -> u8 {
    let mixed = conversation.wrapping_mul(0x9e37_79b1) ^ (offset as u32).wrapping_mul(0x85eb_ca6b);
    (mixed >> 13) as u8 ^ (from as u8)
}

impl World {
    /// All bursts of users of phase 1.
    pub(crate) fn plan_users(&mut self) {
        let end = nanos(self.options.duration);
        let takers: &[Side] = match self.options.takers {
            Takers::Client => &[Side::Client],
            Takers::Server => &[Side::Server],
            Takers::Both => &Side::BOTH,
        };
        for side in takers {
            let bursts = self.options.bursts / if takers.len() > 1 { 2 } else { 1 };
            for _ in 0..bursts {
                let at = self.random.u64(..end);
                self.at(at, What::Users(*side));
                if self.options.takers == Takers::Both {
                    // The others come at about the same time: that is when they get in each
                    // other's way.
                    let soon = self.random.u64(..500_000_000);
                    self.at(at + soon, What::Users(side.other()));
                }
            }
        }
    }

    /// A burst of users comes, unless the faults are over: after that, the users that are still to be
    /// served are those of the checks, and others would fill `max_waiters` before them.
    pub(crate) fn users(&mut self, side: Side) -> Verdict {
        if !self.faulty {
            return Ok(());
        }
        for _ in 0..self.random.u32(1..=self.options.burst) {
            if !self.up[side as usize] {
                return Ok(());
            }
            match self.random.u8(..20) {
                0 => self.wait_for_stock(side)?,
                1 => self.take(side, Kind::Alone)?,
                _ if self.options.ids == IdExchange::None => self.take(side, Kind::Alone)?,
                2 if self.options.has_control() && self.random.bool() => {
                    for side in Side::BOTH {
                        self.keep_control(side)?;
                    }
                }
                2 => {
                    // An id out of the blue, or one that was good once.
                    let old = self.ids_sent.clone();
                    let made_up = ConnId::from_bytes(self.random.u32(..).to_be_bytes());
                    let id = self.random.choice(&old).copied().unwrap_or(made_up);
                    self.converse_alone(side, id)?;
                }
                // An accepting user could get it before the user that is told its id.
                3 if !(self.options.accepts && self.options.opens()) => {
                    self.take(side, Kind::Hasty)?;
                }
                _ => self.take(side, Kind::First)?,
            }
        }
        Ok(())
    }

    fn add_part(&mut self, side: Side, kind: Kind, conversation: u32) -> u32 {
        let part = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let (state, served, got) = (State::Over, false, 0);
        self.parts.push(Part { side, conversation, kind, state, served, got });
        part
    }

    /// A part whose user has so much patience and no more.
    fn new_part(&mut self, side: Side, kind: Kind, conversation: u32) -> u32 {
        let part = self.add_part(side, kind, conversation);
        let timeout = self.random.u64(self.options.timeout.clone()) * 1_000_000;
        self.at(self.now + timeout, What::Deadline(part));
        part
    }

    fn new_conversation(&mut self) -> u32 {
        let conversation = u32::try_from(self.conversations.len()).unwrap_or(u32::MAX);
        let len = self.random.u16(1..48);
        let reuse = self.random.u8(..100) < self.options.reuse;
        self.conversations.push(Conversation { len, reuse, sound: false });
        conversation
    }

    /// Somebody takes any connection.
    pub(crate) fn take(&mut self, side: Side, kind: Kind) -> Verdict {
        let conversation = self.new_conversation();
        let part = self.new_part(side, kind, conversation);
        self.take_any(part, false)
    }

    /// Somebody takes any connection, for the length of phase 2.
    pub(crate) fn take_and_hold(&mut self, side: Side) -> Verdict<u32> {
        let conversation = self.new_conversation();
        let part = self.add_part(side, Kind::Alone, conversation);
        self.take_any(part, false)?;
        Ok(part)
    }

    /// Somebody asks for an id of which nobody has told.
    fn converse_alone(&mut self, side: Side, id: ConnId) -> Verdict {
        let conversation = self.new_conversation();
        self.conversations[conversation as usize].reuse = false;
        let part = self.new_part(side, Kind::Guess(id), conversation);
        self.take_by_id(part, id)
    }

    /// Somebody keeps a control connection, as long as his patience lasts.
    fn keep_control(&mut self, side: Side) -> Verdict {
        if !self.up[side as usize] {
            return Ok(());
        }
        let conversation = self.new_conversation();
        let part = self.new_part(side, Kind::Keeper, conversation);
        self.take_by_id(part, ConnId::ZERO)
    }

    /// Somebody keeps a control connection, for the length of phase 2.
    pub(crate) fn keep_control_on(&mut self, side: Side) -> Verdict<u32> {
        let conversation = self.new_conversation();
        let part = self.add_part(side, Kind::Keeper, conversation);
        self.take_by_id(part, ConnId::ZERO)?;
        Ok(part)
    }

    fn wait_for_stock(&mut self, side: Side) -> Verdict {
        let part = self.new_part(side, Kind::Stock, 0);
        let (now, ready) = (self.now, self.random.u32(0..14));
        let answer = self.ends[side as usize].wait_ready(now, ready)?;
        self.note(|| format!("  {side:?} waits for a stock of {ready}: {answer:?}"));
        if let Stock::Queued(waiter) = answer {
            self.waits_as(part, waiter);
        }
        self.carry_out(side)
    }

    fn take_any(&mut self, part: u32, again: bool) -> Verdict {
        let (now, side) = (self.now, self.parts[part as usize].side);
        let answer = self.ends[side as usize].acquire(now, again)?;
        self.acquired(part, answer)
    }

    fn take_claimed(&mut self, part: u32) -> Verdict {
        let (now, side) = (self.now, self.parts[part as usize].side);
        let answer = self.ends[side as usize].acquire_claimed(now)?;
        self.acquired(part, answer)
    }

    fn take_by_id(&mut self, part: u32, id: ConnId) -> Verdict {
        let (now, side) = (self.now, self.parts[part as usize].side);
        let answer = self.ends[side as usize].acquire_by_id(now, id)?;
        self.acquired(part, answer)
    }

    fn acquired(&mut self, part: u32, answer: Acquired<u32>) -> Verdict {
        let side = self.parts[part as usize].side;
        self.note(|| format!("  {side:?} part {part} acquires: {answer:?}"));
        match answer {
            Acquired::Ready(lease) => self.leased(part, lease)?,
            Acquired::Queued(waiter) => self.waits_as(part, waiter),
            Acquired::Refused(refusal) => self.refused(part, refusal)?,
        }
        self.carry_out(side)
    }

    fn waits_as(&mut self, part: u32, waiter: WaiterId) {
        let side = self.parts[part as usize].side;
        self.parts[part as usize].state = State::Waiting(waiter);
        let by_waiter = &mut self.by_waiter[side as usize];
        if by_waiter.len() <= waiter.slot() {
            by_waiter.resize(waiter.slot() + 1, part);
        }
        by_waiter[waiter.slot()] = part;
    }

    /// A machine calls a waiter. Some take their time.
    pub(crate) fn wake(&mut self, side: Side, waiter: WaiterId) {
        let Some(part) = self.by_waiter[side as usize].get(waiter.slot()).copied() else { return };
        if self.parts[part as usize].state != State::Waiting(waiter) {
            return;
        }
        if !self.strikes(Fault::LateCollect) {
            self.at(self.now, What::Collect(part));
            return;
        }
        let late = self.random.u64(..3_000_000_000);
        // A waiter by id rather gives up: its peer may have begun to use the connection.
        let by_id = matches!(self.parts[part as usize].kind, Kind::Second(_) | Kind::Witness(_));
        let gives_up = self.random.u8(..4) < if by_id { 3 } else { 2 };
        let what = if gives_up { What::Deadline(part) } else { What::Collect(part) };
        self.at(self.now + late, what);
        if self.random.bool() && self.options.faults[Fault::KnownDead as usize] > 0 {
            let meanwhile = self.random.u64(..=late);
            self.at(self.now + meanwhile, What::Strike(Fault::KnownDead));
        }
    }

    pub(crate) fn collect(&mut self, part: u32) -> Verdict {
        let Part { side, state: State::Waiting(waiter), .. } = self.parts[part as usize] else {
            return Ok(());
        };
        let now = self.now;
        let answer = self.ends[side as usize].collect(now, waiter)?;
        self.note(|| format!("  {side:?} part {part} collects: {answer:?}"));
        match answer {
            Collected::Ready(lease) => self.leased(part, lease)?,
            Collected::Waiting => {}
            Collected::Stocked => self.parts[part as usize].state = State::Over,
            Collected::Refused(refusal) => self.refused(part, refusal)?,
            Collected::Unknown => ensure!(false, "5: one outcome for each waiter", "{waiter:?}"),
        }
        self.carry_out(side)
    }

    /// A driver has a lease for a user: it looks at the connection first.
    fn leased(&mut self, part: u32, lease: Lease<u32>) -> Verdict {
        let (side, kind) = (self.parts[part as usize].side, self.parts[part as usize].kind);
        let by_id = !matches!(kind, Kind::First | Kind::Hasty | Kind::Alone);
        let at = lease.connection;
        let result = self.look(at);
        let rejected = match self.options.ids {
            // Data is not a claim and does not hide the end behind it.
            IdExchange::None => matches!(result, CheckResult::Closed | CheckResult::Finished),
            // The other end's user has taken it: it belongs to its id.
            _ => result != CheckResult::Quiet && !by_id,
        };
        if rejected {
            let now = self.now;
            self.parts[part as usize].state = State::Over;
            self.ends[side as usize].reject(now, &lease, result)?;
            if by_id {
                self.part_over(part, false);
                return Ok(());
            }
            return self.take_any(part, true);
        }
        ensure!(side_of(at) == side, "1: one owner", "{side:?} got {at}");
        if kind == Kind::Accepts {
            let theirs = self.transports[transport_of(at)].used_by[side.other() as usize];
            let spoiled = self.transports[transport_of(at)].spoiled;
            let begun = theirs.is_some() || spoiled;
            ensure!(begun, "4: what the peer has begun to use is accepted", "part {part} at {at}");
            let part = &mut self.parts[part as usize];
            part.conversation = theirs.unwrap_or(part.conversation);
            self.tally.accepted += 1;
        }
        let conversation = self.parts[part as usize].conversation;
        self.parts[part as usize].state = State::Leased { at, token: lease.token };
        self.parts[part as usize].served = true;
        self.endpoint(at).stage = Stage::Leased(part);
        self.endpoint(at).watched = false;
        if self.options.opens() {
            match by_id {
                true => self.take_opening_byte(at)?,
                false => self.send_bytes(at, &[OPENING_BYTE]),
            }
        }
        let transport = &mut self.transports[transport_of(at)];
        transport.used_by[side as usize] = Some(conversation);
        transport.acquired[side as usize] |= !by_id;
        ensure!(
            transport.spoiled || self.options.may_collide() || transport.acquired != [true; 2],
            "4: both ends never acquire the same connection",
            "part {part} at {at}"
        );
        let theirs = transport.used_by[side.other() as usize];
        transport.spoiled |= theirs.is_some_and(|theirs| theirs != conversation);
        if kind == Kind::First {
            let what = if self.options.accepts { Told::Nothing } else { Told::Id(lease.id) };
            self.tell(side, Message { conversation, what });
            self.speak(part, at);
        }
        if kind == Kind::Hasty {
            return self.close_and_tell(part, at, lease.id);
        }
        self.converse(part)
    }

    /// A driver removes the opening byte from the data that has arrived.
    fn take_opening_byte(&mut self, at: u32) -> Verdict {
        let first = self.endpoint(at).inbox.pop_front();
        let spoiled = self.transports[transport_of(at)].spoiled;
        // A connection that ended unused has none.
        let fits = first.is_none_or(|first| first == OPENING_BYTE) || spoiled;
        ensure!(fits, "4: an acquire by id follows the opening byte", "{first:?} on {at}");
        Ok(())
    }

    /// Tells the other end an id.
    fn tell(&mut self, side: Side, message: Message) {
        let (other, delay) = (side.other(), self.travel(side.other()));
        let epoch = self.epoch[other as usize];
        // A user that has closed the connection may tell its id later.
        let slow = nanos(self.options.delay + self.options.jitter) * 2;
        let pause =
            if matches!(message.what, Told::Ended(_)) { self.random.u64(..=slow) } else { 0 };
        self.at(self.now + delay + pause, What::Control(other, epoch, message));
    }

    /// A user closes the connection that it has just got.
    fn close_and_tell(&mut self, part: u32, at: u32, id: ConnId) -> Verdict {
        let Part { side, conversation, .. } = self.parts[part as usize];
        let other = side.other();
        let theirs = self.endpoint(endpoint_of(transport_of(at), other)).token;
        let state = theirs.and_then(|token| self.end(other).state(token));
        // Not if it rests there or is drained, after an earlier use: that may be its end.
        let ready = matches!(
            state,
            Some(
                PoolState::Handshaking
                    | PoolState::Admitted
                    | PoolState::Idle
                    | PoolState::Reserved
            )
        );
        let way = self.options.delay + self.options.jitter;
        let patient = self.end(other).setup().claim_timeout > way * 4;
        self.conversations[conversation as usize].sound = ready && patient && !self.faulty;
        self.tell(side, Message { conversation, what: Told::Ended(id) });
        self.release(part)
    }

    /// A machine refuses a user. The refusal may be wrong.
    fn refused(&mut self, part: u32, refusal: Refusal) -> Verdict {
        let Part { side, kind, conversation, .. } = self.parts[part as usize];
        let lost = matches!(refusal, Refusal::Gone { reason: CloseReason::PeerClosed, .. });
        // (A waiter for stock has no conversation.)
        let sound =
            matches!(kind, Kind::Witness(_)) && self.conversations[conversation as usize].sound;
        ensure!(
            !(lost && sound),
            "4: a connection that the other end has closed is kept for its id",
            "{side:?} refuses {kind:?}: {refusal:?}"
        );
        self.part_over(part, false);
        Ok(())
    }

    /// The other end is told which connection to take.
    pub(crate) fn hear(&mut self, side: Side, epoch: u32, message: Message) -> Verdict {
        if epoch != self.epoch[side as usize] || !self.up[side as usize] {
            return Ok(());
        }
        let Message { conversation, what } = message;
        match what {
            Told::Id(id) => {
                let part = self.new_part(side, Kind::Second(id), conversation);
                self.take_by_id(part, id)
            }
            Told::Ended(id) => {
                let part = self.new_part(side, Kind::Witness(id), conversation);
                self.take_by_id(part, id)
            }
            Told::Nothing => {
                // Also those before it, whose users have given up or were refused.
                let stats = self.ends[side as usize].stats();
                for _ in 0..=stats.claimed + stats.finished {
                    let part = self.new_part(side, Kind::Accepts, conversation);
                    self.take_claimed(part)?;
                }
                Ok(())
            }
        }
    }

    fn speak(&mut self, part: u32, at: u32) {
        let Part { conversation, side, .. } = self.parts[part as usize];
        let len = self.conversations[conversation as usize].len;
        let bytes: Vec<u8> = (0..len).map(|offset| byte(conversation, side, offset)).collect();
        self.send_bytes(at, &bytes);
    }

    /// Reads the bytes that have arrived for a part of a conversation, and answers.
    pub(crate) fn converse(&mut self, part: u32) -> Verdict {
        let Part { side, conversation, kind, state, got, .. } = self.parts[part as usize];
        let State::Leased { at, .. } = state else { return Ok(()) };
        if matches!(kind, Kind::Alone | Kind::Guess(_) | Kind::Witness(_) | Kind::Keeper) {
            if !self.endpoint(at).ended {
                return Ok(());
            }
            self.tally.ends_by_id += u64::from(matches!(kind, Kind::Witness(_)));
            self.release(part)?;
            return match kind {
                Kind::Keeper => self.take_by_id(part, ConnId::ZERO),
                _ => Ok(()),
            };
        }
        let Conversation { len, .. } = self.conversations[conversation as usize];
        let spoiled = self.transports[transport_of(at)].spoiled;
        let mut got = got;
        while got < len
            && let Some(read) = self.endpoint(at).inbox.pop_front()
        {
            let wanted = byte(conversation, side.other(), got);
            if read != wanted {
                ensure!(
                    spoiled,
                    "4: every byte reaches its lessee, in order",
                    "byte {got} of {conversation} on {at} is {read}, not {wanted}"
                );
                return self.release(part);
            }
            got += 1;
            self.tally.bytes += 1;
        }
        self.parts[part as usize].got = got;
        let second = matches!(kind, Kind::Second(_) | Kind::Accepts);
        if got < len {
            if self.endpoint(at).ended {
                return self.release(part);
            }
            // A sloppy user puts it back without having read everything, and never answers.
            let reused = self.conversations[conversation as usize].reuse;
            if second && reused && self.strikes(Fault::SloppyUse) {
                // The rest of the peer's data would look like a new use.
                let mistaken = self.options.accepts || self.options.opens();
                self.transports[transport_of(at)].spoiled |= mistaken;
                return self.finish(part);
            }
            return Ok(());
        }
        if second {
            self.speak(part, at);
        }
        self.tally.conversations += u64::from(!second);
        self.finish(part)
    }

    /// The end of a conversation, as one of them sees it.
    fn finish(&mut self, part: u32) -> Verdict {
        let Part { side, conversation, state: State::Leased { at, token }, .. } =
            self.parts[part as usize]
        else {
            return Ok(());
        };
        if !self.conversations[conversation as usize].reuse {
            return self.release(part);
        }
        self.part_over(part, true);
        self.endpoint(at).stage = Stage::Pooled;
        // A driver may drain before it puts back, or leave it to the machine.
        let rests = !self.end(side).setup().reuse_delay.is_zero();
        let drained = (!rests && self.random.bool()).then(|| self.drain(at));
        self.endpoint(at).watched = true;
        let now = self.now;
        self.note(|| format!("  {side:?} part {part} puts {at} back, {drained:?}"));
        self.ends[side as usize].put(now, token, at, drained)?;
        self.carry_out(side)
    }

    /// A user closes a connection.
    fn release(&mut self, part: u32) -> Verdict {
        let Part { side, state: State::Leased { at, token }, .. } = self.parts[part as usize]
        else {
            return Ok(());
        };
        self.part_over(part, false);
        self.close_endpoint(at);
        self.event(side, Event::Closed { token })
    }

    /// Somebody has lost patience.
    pub(crate) fn give_up(&mut self, part: u32) -> Verdict {
        let Part { side, state, .. } = self.parts[part as usize];
        if !self.up[side as usize] {
            return Ok(());
        }
        match state {
            State::Waiting(waiter) => {
                let now = self.now;
                if self.faulty {
                    self.tally.fault(Fault::GiveUp);
                }
                self.note(|| format!("  {side:?} part {part} gives up"));
                self.parts[part as usize].state = State::Over;
                // By a deadline, or because its future is dropped.
                let timed_out = part.is_multiple_of(2);
                self.ends[side as usize].give_up(now, waiter, timed_out)?;
                self.carry_out(side)
            }
            State::Leased { .. } => self.release(part),
            State::Over => Ok(()),
        }
    }

    /// A part is over, well or not.
    pub(crate) fn part_over(&mut self, part: u32, well: bool) {
        let Part { side, state, kind, .. } = self.parts[part as usize];
        if well && let State::Leased { at, .. } = state {
            self.transports[transport_of(at)].used_by[side as usize] = None;
        }
        self.parts[part as usize].state = State::Over;
        let counts = !well && matches!(kind, Kind::First | Kind::Second(_) | Kind::Accepts);
        self.tally.broken_conversations += u64::from(counts);
    }

    /// All parts of one side that are not over.
    pub(crate) fn open_parts(&self, side: Side) -> Vec<u32> {
        let parts = (0..).zip(&self.parts);
        let open = parts.filter(|(_, part)| part.side == side && part.state != State::Over);
        open.map(|(number, _)| number).collect()
    }

    pub(crate) fn was_served(&self, part: u32) -> bool {
        self.parts[part as usize].served
    }

    pub(crate) fn has_lease(&self, part: u32) -> bool {
        matches!(self.parts[part as usize].state, State::Leased { .. })
    }

    pub(crate) fn waits(&self, part: u32) -> bool {
        matches!(self.parts[part as usize].state, State::Waiting(_))
    }
}
