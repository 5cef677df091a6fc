//! The users: a caller takes any connection at one end, and tells its id to the other end.

use pool_proto::{Acquired, CheckResult, Collected, Event, Lease, Token, WaiterId};

use super::{Pair, Side, What};
use crate::load::Arrival;
use crate::time::Nanos;

/// A caller, from its arrival until both ends are done with its connection.
pub(super) struct Request {
    pub(super) at: Nanos,
    hold: Nanos,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    Coming,
    /// It waits at the taking end.
    Waiting(Side, WaiterId),
    /// It has a connection, and tells the other end.
    Telling(Taken),
    /// The other end waits for the connection with the id.
    WaitingById(Taken, Side, WaiterId),
    /// Both ends have it.
    Using(Taken),
    Over,
}

/// A connection at the end that took it.
#[derive(Clone, Copy)]
struct Taken {
    side: Side,
    token: Token,
    link: u32,
    after: Nanos,
    at_once: bool,
}

impl Request {
    pub(super) const fn new(arrival: &Arrival) -> Self {
        Self { at: arrival.at, hold: arrival.hold, stage: Stage::Coming }
    }
}

impl Pair<'_> {
    pub(super) fn arrive(&mut self, request: u32) {
        if let Some(next) = self.requests.get(request as usize + 1) {
            self.schedule.at(next.at, What::Arrive(request + 1));
        }
        let cost = self.scenario.network.take_cost;
        match self.processor.work(self.schedule.now(), cost) {
            done if done > self.schedule.now() => self.schedule.at(done, What::Acquire(request)),
            _ => self.acquire(request),
        }
    }

    pub(super) fn acquire(&mut self, request: u32) {
        let (now, side) = (self.now(), self.taker_of());
        match self.end(side).acquire(now) {
            Acquired::Ready(lease) => self.taken(request, side, &lease, true),
            Acquired::Queued(waiter) => {
                self.end(side).queue(waiter, request);
                self.requests[request as usize].stage = Stage::Waiting(side, waiter);
                self.schedule.after(self.scenario.patience, What::GiveUp(request));
            }
            Acquired::Refused(_) => self.unserved(request),
        }
        let waiters = self.end(side).waiters();
        self.recorder.queue(self.schedule.now(), waiters);
        self.drive(side);
    }

    fn unserved(&mut self, request: u32) {
        let request = &mut self.requests[request as usize];
        request.stage = Stage::Over;
        self.recorder.unserved(request.at);
    }

    fn taken(&mut self, request: u32, side: Side, lease: &Lease<u32>, at_once: bool) {
        let caller = &mut self.requests[request as usize];
        let after = self.schedule.now() - caller.at;
        let (token, link) = (lease.token, lease.connection);
        caller.stage = Stage::Telling(Taken { side, token, link, after, at_once });
        // The message over the control channel.
        self.schedule.after(self.scenario.network.one_way(), What::Told(request));
    }

    /// The other end is told the id.
    pub(super) fn told(&mut self, request: u32) {
        let cost = self.scenario.network.take_cost;
        match self.processor.work(self.schedule.now(), cost) {
            done if done > self.schedule.now() => {
                self.schedule.at(done, What::AcquireById(request));
            }
            _ => self.acquire_by_id(request),
        }
    }

    pub(super) fn acquire_by_id(&mut self, request: u32) {
        let Stage::Telling(taken) = self.requests[request as usize].stage else { return };
        let side = self.other(taken.side, taken.link);
        let id = self.links[taken.link as usize].id;
        let Some(id) = id.filter(|_| !self.is_cut()) else { return self.dead(request, taken) };
        let now = self.now();
        match self.end(side).acquire_by_id(now, id) {
            Acquired::Ready(_) => self.both_have(request, taken),
            Acquired::Queued(waiter) => {
                self.end(side).queue(waiter, request);
                self.requests[request as usize].stage = Stage::WaitingById(taken, side, waiter);
                self.schedule.after(self.scenario.patience, What::GiveUp(request));
            }
            Acquired::Refused(_) => self.dead(request, taken),
        }
        self.drive(side);
    }

    /// A waiter has its outcome.
    pub(super) fn wake(&mut self, side: Side, waiter: WaiterId) {
        let Some(request) = self.end(side).request_of(waiter) else { return };
        let now = self.now();
        let outcome = self.end(side).collect(now, waiter);
        match (self.requests[request as usize].stage, outcome) {
            (Stage::Waiting(..), Collected::Ready(lease)) => {
                self.taken(request, side, &lease, false);
            }
            (Stage::WaitingById(taken, ..), Collected::Ready(_)) => self.both_have(request, taken),
            (Stage::Waiting(..), Collected::Refused(_)) => self.unserved(request),
            (Stage::WaitingById(taken, ..), Collected::Refused(_)) => self.dead(request, taken),
            // It still waits, or was over before.
            _ => {}
        }
    }

    pub(super) fn give_up(&mut self, request: u32) {
        let now = self.now();
        match self.requests[request as usize].stage {
            Stage::Waiting(side, waiter) => {
                self.end(side).cancel(now, waiter);
                self.unserved(request);
                self.drive(side);
            }
            Stage::WaitingById(taken, side, waiter) => {
                self.end(side).cancel(now, waiter);
                self.dead(request, taken);
                self.drive(side);
            }
            _ => {}
        }
    }

    /// The other end does not have the connection: it ended before it was taken.
    fn dead(&mut self, request: u32, taken: Taken) {
        let caller = &mut self.requests[request as usize];
        caller.stage = Stage::Over;
        self.recorder.dead(caller.at);
        self.release(taken.side, taken.link, taken.token);
    }

    fn both_have(&mut self, request: u32, taken: Taken) {
        let now = self.schedule.now();
        let caller = &mut self.requests[request as usize];
        if self.links[taken.link as usize].ended {
            // The other end has it, but only to read its end.
            self.release_other(taken);
            return self.dead(request, taken);
        }
        caller.stage = Stage::Using(taken);
        self.recorder.served(caller.at, taken.after, taken.at_once, now);
        self.schedule.after(caller.hold, What::Finish(request));
    }

    /// Both ends are done with a connection. They close it; or the other end puts it back, and the
    /// taking end does so a way later, when nothing of the former use can arrive at the other end.
    pub(super) fn finish(&mut self, request: u32) {
        let Stage::Using(taken) = self.requests[request as usize].stage else { return };
        if self.scenario.load.put_back {
            let other = self.other(taken.side, taken.link);
            self.put(other, taken.link);
            self.schedule.after(self.scenario.network.one_way(), What::PutBack(request));
            return;
        }
        self.requests[request as usize].stage = Stage::Over;
        self.links[taken.link as usize].ended = true;
        self.release_other(taken);
        self.release(taken.side, taken.link, taken.token);
    }

    pub(super) fn put_back(&mut self, request: u32) {
        let Stage::Using(taken) = self.requests[request as usize].stage else { return };
        self.requests[request as usize].stage = Stage::Over;
        self.put(taken.side, taken.link);
    }

    fn put(&mut self, side: Side, link: u32) {
        let Some(token) = *self.token(side, link) else { return };
        let ended = self.links[link as usize].ended;
        let result = if ended { CheckResult::Closed } else { CheckResult::Quiet };
        let now = self.now();
        self.end(side).put(now, token, link, result);
        self.drive(side);
    }

    fn release_other(&mut self, taken: Taken) {
        let other = self.other(taken.side, taken.link);
        if let Some(token) = *self.token(other, taken.link) {
            self.release(other, taken.link, token);
        }
    }

    /// The holder of a lease closes the connection.
    fn release(&mut self, side: Side, link: u32, token: Token) {
        self.close(side, link);
        self.event(side, Event::Closed { token });
    }
}
