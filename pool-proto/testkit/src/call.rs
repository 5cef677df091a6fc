//! Every call of the public interface, with its arguments, and its answer.

use std::net::IpAddr;

use pool_proto::{
    Accepting, Acquired, Action, Admission, CheckResult, Client, Collected, ConnId, Dialing, Event,
    Instant, Machine, PutError, Rejected, Role, Server, Stock, Token, WaitOutcome, WaitReason,
    WaiterId,
};

use crate::setup::Setup;

/// What one call does, in a pool whose connections are numbers.
pub type Did = Action<u32>;

#[derive(Clone, Debug)]
pub enum Call {
    Event(Event<u32>),
    Timeout,
    Acquired,
    AcquireAgain,
    AcquireById(ConnId),
    WaitReady(u32),
    Collect(WaiterId),
    Cancel(WaiterId),
    Why(WaiterId),
    Put(Token, u32),
    PutDrained(Token, u32, CheckResult),
    Reject(Token, u32, CheckResult),
    PutForeign,
    Clean,
    Flush,
    Close,
    AddError,
    ResetError,
    Admit(IpAddr),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Nothing,
    Acquired(Acquired<u32>),
    Stock(Stock),
    Collected(Collected<u32>),
    Outcome(WaitOutcome),
    Reason(Option<WaitReason>),
    Put(Result<(), PutError>),
    Foreign(PutError),
    Count(u32),
    Admitted(Result<Admission, Rejected>),
}

/// What a role of the crate is called with here.
pub trait Side: Role + 'static {
    const DIALS: bool;

    fn machine(setup: &Setup, now: Instant) -> Machine<u32, Self>;

    /// Admits a peer, on the side that does.
    fn admit(machine: &mut Machine<u32, Self>, now: Instant, address: IpAddr) -> Answer;
}

impl Side for Dialing {
    const DIALS: bool = true;

    fn machine(setup: &Setup, now: Instant) -> Machine<u32, Self> {
        Client::new(&setup.client(), now)
    }

    fn admit(_machine: &mut Machine<u32, Self>, _now: Instant, _address: IpAddr) -> Answer {
        Answer::Nothing
    }
}

impl Side for Accepting {
    const DIALS: bool = false;

    fn machine(setup: &Setup, now: Instant) -> Machine<u32, Self> {
        Server::new(&setup.server(), now)
    }

    fn admit(machine: &mut Machine<u32, Self>, now: Instant, address: IpAddr) -> Answer {
        Answer::Admitted(machine.admit(now, address))
    }
}

impl Call {
    /// Makes the call, and drains what it leads to.
    pub fn make<R: Side>(&self, machine: &mut Machine<u32, R>, now: Instant) -> (Answer, Vec<Did>) {
        let answer = self.answer(machine, now);
        let mut actions = Vec::new();
        while machine.has_actions() {
            actions.push(machine.poll_action().expect("an action where there is one"));
        }
        assert_eq!(machine.poll_action(), None, "an action where there is none");
        (answer, actions)
    }

    fn answer<R: Side>(&self, machine: &mut Machine<u32, R>, now: Instant) -> Answer {
        match self.clone() {
            Self::Event(event) => machine.handle_event(now, event),
            Self::Timeout => machine.handle_timeout(now),
            Self::Acquired => return Answer::Acquired(machine.acquire(now)),
            Self::AcquireAgain => return Answer::Acquired(machine.acquire_again(now)),
            Self::AcquireById(id) => return Answer::Acquired(machine.acquire_by_id(now, id)),
            Self::WaitReady(ready) => return Answer::Stock(machine.wait_ready(now, ready)),
            Self::Collect(waiter) => return Answer::Collected(machine.collect(now, waiter)),
            Self::Cancel(waiter) => return Answer::Outcome(machine.cancel(now, waiter)),
            Self::Why(waiter) => return Answer::Reason(machine.why(waiter)),
            Self::Put(token, connection) => {
                return Answer::Put(machine.put(now, token, connection));
            }
            Self::PutDrained(token, connection, result) => {
                return Answer::Put(machine.put_drained(now, token, connection, result));
            }
            Self::Reject(token, connection, result) => {
                machine.reject(now, token, connection, result);
            }
            Self::PutForeign => return Answer::Foreign(machine.put_foreign()),
            Self::Clean => return Answer::Count(machine.clean(now)),
            Self::Flush => return Answer::Count(machine.flush(now)),
            Self::Close => machine.close(now),
            Self::AddError => machine.add_error(),
            Self::ResetError => machine.reset_error(),
            Self::Admit(address) => return R::admit(machine, now, address),
        }
        Answer::Nothing
    }
}
