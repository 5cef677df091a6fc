//! Every call of a machine's public interface as a value, with its answer: the form in which a
//! harness tells the ledger and the oracle of it.

use std::net::IpAddr;

use pool_proto::tape::{Block, Recorded};
use pool_proto::{
    Accepting, Acquired, Action, CheckResult, Client, Collected, ConfigError, ConnId, Dialing,
    Event, Instant, PutError, Rejected, Role, Server, State, Stats, Stock, Token, WaitOutcome,
    WaitReason, WaiterId,
};

use crate::setup::{Setup, Side};
use crate::tape::BUFFER;

/// An action of a machine whose connections are numbers.
pub type Did = Action<u32>;

#[derive(Clone, Debug)]
pub enum Call {
    Event(Event<u32>),
    Timeout,
    Acquired,
    AcquireAgain,
    AcquireById(ConnId),
    AcquireClaimed,
    WaitReady(u32),
    Collect(WaiterId),
    Cancel(WaiterId),
    TimeOut(WaiterId),
    Why(WaiterId),
    Put(Token, u32),
    PutDrained(Token, u32, CheckResult),
    Reject(Token, u32, CheckResult),
    PutForeign,
    Clean,
    EndFinished,
    Flush,
    Close,
    GracefulShutdown(Option<Instant>),
    AddError,
    ResetError,
    DialNow,
    SetCapacity(u32, u32),
    SetConfig(Box<Setup>),
    Accept(IpAddr),
    Admit(Token, Option<[u8; 32]>),
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
    Accepted(Result<Token, Rejected>),
    Admitted(Result<ConnId, Rejected>),
    Configured(Result<(), ConfigError>),
}

/// The calls and questions that machines of both roles have.
pub trait Pool {
    fn stats(&self) -> Stats;
    fn state_of(&self, token: Token) -> Option<State>;
    fn why(&self, waiter: WaiterId) -> Option<WaitReason>;
    fn poll_timeout(&self) -> Option<Instant>;
    /// Returns the result of `new_deadline` since the last call.
    fn take_new_deadline(&mut self) -> Option<Instant>;
    fn idle(&self) -> u32;
    fn is_closed(&self) -> bool;
    fn is_shutting_down(&self) -> bool;
    fn peer_claims(&self) -> bool;
    fn error_count(&self) -> u64;
    /// Makes a call.
    fn answer(&mut self, call: &Call, now: Instant) -> Answer;
    /// The next action, if there is one.
    fn poll(&mut self) -> Option<Did>;
    /// Whether a block of the tape should be taken.
    fn is_tape_due(&self) -> bool;
    /// The next block of the tape, if there is one.
    fn take_block(&mut self) -> Option<Block>;
    /// Ends the tape, if there is one, and returns the number of its inputs.
    fn end_tape(&mut self) -> Option<u64>;
}

/// A role of the core, as harnesses build its machines.
pub trait TestRole: Role + 'static {
    const SIDE: Side;

    /// A machine of this role.
    ///
    /// # Errors
    ///
    /// The setup makes no sense.
    fn machine(setup: &Setup, now: Instant) -> Result<Recorded<u32, Self>, ConfigError>;

    /// A machine of this role with a tape, and the first block of the tape.
    ///
    /// # Errors
    ///
    /// The setup makes no sense.
    fn taped(setup: &Setup, now: Instant) -> Result<(Recorded<u32, Self>, Block), ConfigError>;

    /// Accepts a peer, on the side that does.
    fn accept(machine: &mut Recorded<u32, Self>, now: Instant, address: IpAddr) -> Answer;

    /// Admits a peer, on the side that does.
    fn admit(
        machine: &mut Recorded<u32, Self>,
        now: Instant,
        token: Token,
        certificate: Option<[u8; 32]>,
    ) -> Answer;

    /// Ends the wait for the next dial, on the side that dials.
    fn dial_now(machine: &mut Recorded<u32, Self>, now: Instant);

    /// Sets another configuration.
    fn set_config(machine: &mut Recorded<u32, Self>, now: Instant, setup: &Setup) -> Answer;

    /// Sets the bounds of the capacity, on the side that has them.
    fn set_capacity(machine: &mut Recorded<u32, Self>, now: Instant, low: u32, high: u32)
    -> Answer;
}

impl TestRole for Dialing {
    const SIDE: Side = Side::Client;

    fn machine(setup: &Setup, now: Instant) -> Result<Recorded<u32, Self>, ConfigError> {
        Ok(Client::new(&setup.client()?, now).into())
    }

    fn taped(setup: &Setup, now: Instant) -> Result<(Recorded<u32, Self>, Block), ConfigError> {
        Ok(Recorded::client(&setup.client()?, now, BUFFER))
    }

    fn accept(_machine: &mut Recorded<u32, Self>, _now: Instant, _address: IpAddr) -> Answer {
        Answer::Nothing
    }

    fn admit(
        _machine: &mut Recorded<u32, Self>,
        _now: Instant,
        _token: Token,
        _certificate: Option<[u8; 32]>,
    ) -> Answer {
        Answer::Nothing
    }

    fn dial_now(machine: &mut Recorded<u32, Self>, now: Instant) {
        machine.dial_now(now);
    }

    fn set_config(machine: &mut Recorded<u32, Self>, now: Instant, setup: &Setup) -> Answer {
        let config = setup.client();
        Answer::Configured(config.and_then(|config| machine.set_config(now, &config)))
    }

    fn set_capacity(
        machine: &mut Recorded<u32, Self>,
        now: Instant,
        low: u32,
        high: u32,
    ) -> Answer {
        Answer::Configured(machine.set_capacity(now, low..=high))
    }
}

impl TestRole for Accepting {
    const SIDE: Side = Side::Server;

    fn machine(setup: &Setup, now: Instant) -> Result<Recorded<u32, Self>, ConfigError> {
        Ok(Server::new(&setup.server()?, now).into())
    }

    fn taped(setup: &Setup, now: Instant) -> Result<(Recorded<u32, Self>, Block), ConfigError> {
        Ok(Recorded::server(&setup.server()?, now, BUFFER))
    }

    fn accept(machine: &mut Recorded<u32, Self>, now: Instant, address: IpAddr) -> Answer {
        Answer::Accepted(machine.accept(now, address))
    }

    fn admit(
        machine: &mut Recorded<u32, Self>,
        now: Instant,
        token: Token,
        certificate: Option<[u8; 32]>,
    ) -> Answer {
        Answer::Admitted(machine.admit(now, token, certificate))
    }

    fn dial_now(_machine: &mut Recorded<u32, Self>, _now: Instant) {}

    fn set_config(machine: &mut Recorded<u32, Self>, now: Instant, setup: &Setup) -> Answer {
        let config = setup.server();
        Answer::Configured(config.and_then(|config| machine.set_config(now, &config)))
    }

    fn set_capacity(_: &mut Recorded<u32, Self>, _now: Instant, _low: u32, _high: u32) -> Answer {
        Answer::Nothing
    }
}

impl<R: TestRole> Pool for Recorded<u32, R> {
    fn stats(&self) -> Stats {
        (**self).stats()
    }

    fn state_of(&self, token: Token) -> Option<State> {
        (**self).state_of(token)
    }

    fn why(&self, waiter: WaiterId) -> Option<WaitReason> {
        (**self).why(waiter)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (**self).poll_timeout()
    }

    fn take_new_deadline(&mut self) -> Option<Instant> {
        let new = self.new_deadline();
        self.note_deadline();
        new
    }

    fn idle(&self) -> u32 {
        (**self).idle()
    }

    fn is_closed(&self) -> bool {
        (**self).is_closed()
    }

    fn is_shutting_down(&self) -> bool {
        (**self).is_shutting_down()
    }

    fn peer_claims(&self) -> bool {
        (**self).peer_claims()
    }

    fn error_count(&self) -> u64 {
        (**self).error_count()
    }

    fn answer(&mut self, call: &Call, now: Instant) -> Answer {
        match call.clone() {
            Call::Event(event) => self.handle_event(now, event),
            Call::Timeout => self.handle_timeout(now),
            Call::Acquired => return Answer::Acquired(self.acquire(now)),
            Call::AcquireAgain => return Answer::Acquired(self.acquire_again(now)),
            Call::AcquireById(id) => return Answer::Acquired(self.acquire_by_id(now, id)),
            Call::AcquireClaimed => return Answer::Acquired(self.acquire_claimed(now)),
            Call::WaitReady(ready) => return Answer::Stock(self.wait_ready(now, ready)),
            Call::Collect(waiter) => return Answer::Collected(self.collect(now, waiter)),
            Call::Cancel(waiter) => return Answer::Outcome(self.cancel(now, waiter)),
            Call::TimeOut(waiter) => return Answer::Outcome(self.time_out(now, waiter)),
            Call::Why(waiter) => return Answer::Reason(self.why(waiter)),
            Call::Put(token, connection) => {
                return Answer::Put(self.put(now, token, connection));
            }
            Call::PutDrained(token, connection, result) => {
                return Answer::Put(self.put_drained(now, token, connection, result));
            }
            Call::Reject(token, connection, result) => self.reject(now, token, connection, result),
            Call::PutForeign => return Answer::Foreign(self.put_foreign()),
            Call::Clean => return Answer::Count(self.clean(now)),
            Call::EndFinished => return Answer::Count(self.end_finished(now)),
            Call::Flush => return Answer::Count(self.flush(now)),
            Call::Close => self.close(now),
            Call::GracefulShutdown(deadline) => self.graceful_shutdown(now, deadline),
            Call::AddError => self.add_error(),
            Call::ResetError => self.reset_error(),
            Call::DialNow => R::dial_now(self, now),
            Call::SetCapacity(low, high) => return R::set_capacity(self, now, low, high),
            Call::SetConfig(setup) => return R::set_config(self, now, &setup),
            Call::Accept(address) => return R::accept(self, now, address),
            Call::Admit(token, certificate) => return R::admit(self, now, token, certificate),
        }
        Answer::Nothing
    }

    fn poll(&mut self) -> Option<Did> {
        let announced = self.has_actions();
        let action = self.poll_action();
        assert_eq!(announced, action.is_some(), "has_actions says otherwise: {action:?}");
        action
    }

    fn is_tape_due(&self) -> bool {
        self.is_tape_due()
    }

    fn take_block(&mut self) -> Option<Block> {
        self.take_block(&mut Vec::new())
    }

    fn end_tape(&mut self) -> Option<u64> {
        self.end_tape();
        self.taped()
    }
}

impl Call {
    /// Makes the call, and drains the actions that it leads to.
    pub fn make(&self, machine: &mut impl Pool, now: Instant) -> (Answer, Vec<Did>) {
        let answer = machine.answer(self, now);
        (answer, drain(machine))
    }

    /// Whether the machine learns the time from it.
    pub const fn tells_time(&self) -> bool {
        !matches!(self, Self::Why(_) | Self::PutForeign | Self::AddError | Self::ResetError)
    }

    /// The connection that the call hands in.
    pub const fn hands_in(&self) -> Option<(Token, u32)> {
        match *self {
            Self::Event(
                Event::Established { token, connection, .. }
                | Event::Checked { token, connection, .. },
            )
            | Self::Put(token, connection)
            | Self::PutDrained(token, connection, _)
            | Self::Reject(token, connection, _) => Some((token, connection)),
            _ => None,
        }
    }
}

/// All actions that a machine has.
pub fn drain(machine: &mut impl Pool) -> Vec<Did> {
    std::iter::from_fn(|| machine.poll()).collect()
}

/// A machine of either role, with a tape.
#[derive(Clone)]
pub enum AnyMachine {
    Client(Recorded<u32, Dialing>),
    Server(Recorded<u32, Accepting>),
}

impl AnyMachine {
    /// A machine of one side, and the first block of its tape.
    ///
    /// # Errors
    ///
    /// The setup makes no sense.
    pub fn new(side: Side, setup: &Setup, now: Instant) -> Result<(Self, Block), ConfigError> {
        Ok(match side {
            Side::Client => {
                let (machine, first) = Dialing::taped(setup, now)?;
                (Self::Client(machine), first)
            }
            Side::Server => {
                let (machine, first) = Accepting::taped(setup, now)?;
                (Self::Server(machine), first)
            }
        })
    }
}

/// The same call on either machine.
macro_rules! on {
    ($machine:expr, $pool:ident => $call:expr) => {
        match $machine {
            AnyMachine::Client($pool) => $call,
            AnyMachine::Server($pool) => $call,
        }
    };
}

impl Pool for AnyMachine {
    fn stats(&self) -> Stats {
        on!(self, pool => pool.stats())
    }

    fn state_of(&self, token: Token) -> Option<State> {
        on!(self, pool => pool.state_of(token))
    }

    fn why(&self, waiter: WaiterId) -> Option<WaitReason> {
        on!(self, pool => pool.why(waiter))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        on!(self, pool => pool.poll_timeout())
    }

    fn take_new_deadline(&mut self) -> Option<Instant> {
        on!(self, pool => pool.take_new_deadline())
    }

    fn idle(&self) -> u32 {
        on!(self, pool => pool.idle())
    }

    fn is_closed(&self) -> bool {
        on!(self, pool => pool.is_closed())
    }

    fn is_shutting_down(&self) -> bool {
        on!(self, pool => pool.is_shutting_down())
    }

    fn peer_claims(&self) -> bool {
        on!(self, pool => pool.peer_claims())
    }

    fn error_count(&self) -> u64 {
        on!(self, pool => pool.error_count())
    }

    fn answer(&mut self, call: &Call, now: Instant) -> Answer {
        on!(self, pool => pool.answer(call, now))
    }

    fn poll(&mut self) -> Option<Did> {
        on!(self, pool => pool.poll())
    }

    fn is_tape_due(&self) -> bool {
        on!(self, pool => pool.is_tape_due())
    }

    fn take_block(&mut self) -> Option<Block> {
        on!(self, pool => Pool::take_block(pool))
    }

    fn end_tape(&mut self) -> Option<u64> {
        on!(self, pool => Pool::end_tape(pool))
    }
}
