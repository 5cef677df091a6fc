//! A machine with a tape.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::ops::Deref;

use siphasher::sip::SipHasher24;

use super::header::Header;
use super::input::{Input, PeerName};
use super::outputs::Output;
use super::recorder::{Block, Recorder};
use crate::answer::{Acquired, Collected, Lease, Stock, WaitOutcome};
use crate::config::{Bounds, ClientConfig, ServerConfig};
use crate::entropy::{Entropy, Use};
use crate::error::{ConfigError, PutError, Rejected};
use crate::event::{Action, CheckResult, Event, Token, WaiterId};
use crate::id::ConnId;
use crate::machine::Machine;
use crate::role::sources::Peer;
use crate::role::{Accepting, Client, Dialing, Role, Server};
use crate::time::Instant;

/// A machine whose inputs are recorded, if so wanted.
///
/// It has the calls of a [`Machine`], and its questions by dereferencing. Nothing else changes the machine,
/// so nothing is missing on the tape. Without a tape, a call costs one branch more.
#[derive(Clone)]
pub struct Recorded<C, R> {
    machine: Machine<C, R>,
    /// Boxed, so that a machine without a tape is not larger.
    tape: Option<Box<Running>>,
}

#[derive(Clone)]
struct Running {
    recorder: Recorder,
    peers: PeerNames,
    /// The settings of the last configuration.
    settings: Vec<u64>,
}

/// Makes the pseudonyms of peers.
#[derive(Clone)]
struct PeerNames(SipHasher24);

impl PeerNames {
    fn new(entropy: &Entropy) -> Self {
        let [first, second] = entropy.key(Use::Peers);
        Self(SipHasher24::new_with_keys(first, second))
    }

    /// The name of an address. Addresses that a server counts as one source have one name.
    fn of_address(&self, address: IpAddr, permitted: bool) -> PeerName {
        let PeerName(name) = self.of(&Peer::at(address));
        PeerName((name >> 1) | (u64::from(permitted) << 63))
    }

    fn of(&self, peer: &Peer) -> PeerName {
        // By parts, as the bytes that a derived hash takes in are not laid down.
        let hash = match peer {
            Peer::Source(IpAddr::V4(address)) => self.0.hash(&address.octets()),
            Peer::Source(IpAddr::V6(address)) => self.0.hash(&address.octets()),
            Peer::Certificate(fingerprint) => self.0.hash(fingerprint),
        };
        PeerName(hash)
    }
}

impl<C, R> Deref for Recorded<C, R> {
    type Target = Machine<C, R>;

    fn deref(&self) -> &Machine<C, R> {
        &self.machine
    }
}

impl<C, R: Role> fmt::Debug for Recorded<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.machine.fmt(f)
    }
}

impl<C, R> From<Machine<C, R>> for Recorded<C, R> {
    /// Returns a machine without a tape.
    fn from(machine: Machine<C, R>) -> Self {
        Self { machine, tape: None }
    }
}

impl<C> Recorded<C, Dialing> {
    /// Creates a client with a tape, and returns the first block of the tape. The buffer of the tape takes
    /// `limit` bytes.
    pub fn client(config: &ClientConfig, now: Instant, limit: usize) -> (Self, Block) {
        let header = Header::of_client(config, now);
        Self::new(Client::new(config, now), &config.common.entropy(), header, limit)
    }

    /// As [`dial_now`](Client::dial_now).
    pub fn dial_now(&mut self, now: Instant) {
        self.tell(|_| Input::DialNow, |machine| machine.dial_now(now));
    }

    /// As [`set_capacity`](Client::set_capacity). A capacity that is refused changes nothing, and is not
    /// recorded.
    ///
    /// # Errors
    ///
    /// As [`set_capacity`](Client::set_capacity).
    pub fn set_capacity(
        &mut self,
        now: Instant,
        capacity: impl Into<Bounds<u32>>,
    ) -> Result<(), ConfigError> {
        let capacity = self.machine.sound_capacity(now, capacity.into())?;
        let (low, high) = (*capacity.start(), *capacity.end());
        let input = |_: &Named<'_, C, Dialing>| Input::SetCapacity { low, high };
        self.tell(input, |machine| machine.bound_capacity(now, capacity));
        Ok(())
    }

    /// As [`set_config`](Client::set_config). A configuration that is refused is not recorded.
    ///
    /// # Errors
    ///
    /// As [`set_config`](Client::set_config).
    pub fn set_config(&mut self, now: Instant, config: &ClientConfig) -> Result<(), ConfigError> {
        self.machine.check_config(now, config)?;
        self.tell_settings(|| config.numbers());
        self.tell_config(|machine| machine.apply_config(config));
        Ok(())
    }
}

impl<C> Recorded<C, Accepting> {
    /// Creates a server with a tape, and returns the first block of the tape. The buffer of the tape takes
    /// `limit` bytes.
    pub fn server(config: &ServerConfig, now: Instant, limit: usize) -> (Self, Block) {
        let header = Header::of_server(config, now);
        Self::new(Server::new(config, now), &config.common.entropy(), header, limit)
    }

    /// As [`set_config`](Server::set_config). A configuration that is refused is not recorded.
    ///
    /// # Errors
    ///
    /// As [`set_config`](Server::set_config).
    pub fn set_config(&mut self, now: Instant, config: &ServerConfig) -> Result<(), ConfigError> {
        self.machine.check_config(now, config)?;
        if self.tape.is_some() {
            self.tell_settings(|| config.numbers());
            for token in self.machine.newly_judged(config) {
                self.tell(|_| Input::NewVerdict { token }, |_| ());
            }
        }
        self.tell_config(|machine| machine.apply_config(config));
        Ok(())
    }

    /// As [`accept`](Server::accept).
    ///
    /// # Errors
    ///
    /// As [`accept`](Server::accept).
    pub fn accept(&mut self, now: Instant, address: IpAddr) -> Result<Token, Rejected> {
        let input = |this: &Named<'_, C, Accepting>| Input::Accept {
            peer: this.peers.of_address(address, this.machine.role.permits(address)),
        };
        self.tell(input, |machine| machine.accept(now, address))
    }

    /// As [`admit`](Server::admit).
    ///
    /// # Errors
    ///
    /// As [`admit`](Server::admit).
    pub fn admit(
        &mut self,
        now: Instant,
        token: Token,
        certificate: Option<[u8; 32]>,
    ) -> Result<ConnId, Rejected> {
        let input = |this: &Named<'_, C, Accepting>| Input::Admit {
            token,
            certificate: certificate.map(|print| this.peers.of(&Peer::Certificate(print))),
        };
        self.tell(input, |machine| machine.admit(now, token, certificate))
    }
}

/// A machine before an input, and the names that the input has on the tape.
struct Named<'a, C, R> {
    machine: &'a Machine<C, R>,
    peers: &'a PeerNames,
}

impl<C, R: Role> Recorded<C, R> {
    fn new(
        machine: Machine<C, R>,
        entropy: &Entropy,
        header: Header,
        limit: usize,
    ) -> (Self, Block) {
        let settings = header.settings.clone();
        let (recorder, block) = Recorder::new(header, &machine.actions, limit);
        let tape = Running { recorder, peers: PeerNames::new(entropy), settings };
        (Self { machine, tape: Some(Box::new(tape)) }, block)
    }

    // --- the tape -------------------------------------------------------------------------------

    /// Returns whether the machine is being recorded.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.tape.is_some()
    }

    /// Returns whether the buffer of the tape should be written soon: it is half full, or it was full and
    /// the recording has ended.
    #[inline]
    #[must_use]
    pub fn is_tape_due(&self) -> bool {
        self.tape.as_ref().is_some_and(|tape| tape.recorder.is_due())
    }

    /// Returns the number of inputs on the tape so far; `None` if the machine is not being recorded.
    #[must_use]
    pub fn taped(&self) -> Option<u64> {
        self.tape.as_ref().map(|tape| tape.recorder.inputs())
    }

    /// Ends the recording: the next [block](Self::take_block) is the last one.
    pub fn end_tape(&mut self) {
        if let Some(tape) = &mut self.tape {
            tape.recorder.end();
        }
    }

    /// Returns the next block of the tape, if there is anything to write. The tape then goes on in the memory
    /// of `spare`, which may be that of a block that has been written.
    ///
    /// If blocks are taken too seldom for the buffer, the recording ends, and the last block says so.
    pub fn take_block(&mut self, spare: &mut Vec<u8>) -> Option<Block> {
        let block = self.tape.as_mut()?.recorder.take(spare)?;
        if block.ending().is_some() {
            self.tape = None;
        }
        Some(block)
    }

    /// Makes a call, and records it.
    #[inline(always)]
    fn tell<T: Output>(
        &mut self,
        input: impl FnOnce(&Named<'_, C, R>) -> Input,
        act: impl FnOnce(&mut Machine<C, R>) -> T,
    ) -> T {
        if self.tape.is_none() {
            return act(&mut self.machine);
        }
        self.tell_recorded(input, act)
    }

    fn tell_recorded<T: Output>(
        &mut self,
        input: impl FnOnce(&Named<'_, C, R>) -> Input,
        act: impl FnOnce(&mut Machine<C, R>) -> T,
    ) -> T {
        let Self { machine, tape } = self;
        let Some(tape) = tape else { return act(machine) };
        // By names that are true before the call.
        let input = input(&Named { machine, peers: &tape.peers });
        let before = machine.actions.len();
        let answer = act(machine);
        let actions = machine.actions.range(before..);
        tape.recorder.push(machine.now, &input, &answer, actions);
        answer
    }

    /// Records the settings of a new configuration that differ from those of the last one.
    fn tell_settings(&mut self, numbers: impl FnOnce() -> Vec<u64>) {
        let Some(tape) = &mut self.tape else { return };
        let numbers = numbers();
        let former = core::mem::replace(&mut tape.settings, numbers.clone());
        for (number, (value, before)) in (0..).zip(numbers.into_iter().zip(former)) {
            if value != before {
                self.tell(|_| Input::NewSetting { number, value }, |_| ());
            }
        }
    }

    /// Records the change to a new configuration, with the next deadline, as of a timeout.
    fn tell_config(&mut self, act: impl FnOnce(&mut Machine<C, R>)) {
        self.tell(
            |_| Input::SetConfig,
            |machine| {
                act(machine);
                machine.poll_timeout()
            },
        );
    }

    // --- the calls of a machine -----------------------------------------------------------------

    /// As [`Machine::poll_action`].
    #[must_use = "an action that is not carried out leaks a connection or a waiter"]
    #[inline]
    pub fn poll_action(&mut self) -> Option<Action<C>> {
        self.machine.poll_action()
    }

    /// As [`Machine::acquire`].
    #[inline]
    pub fn acquire(&mut self, now: Instant) -> Acquired<C> {
        self.tell(|_| Input::Acquire, |machine| machine.acquire(now))
    }

    /// As [`Machine::try_acquire`]; recorded as an acquire if it succeeds.
    #[inline(always)]
    pub fn try_acquire(&mut self, now: Instant) -> Option<Lease<C>> {
        if self.tape.is_none() {
            return self.machine.try_acquire(now);
        }
        self.try_recorded(now, Machine::try_acquire, |_| Input::Acquire)
    }

    /// As [`Machine::try_acquire_by_id`]; recorded as an acquire by id if it succeeds.
    #[inline(always)]
    pub fn try_acquire_by_id(&mut self, now: Instant, id: ConnId) -> Option<Lease<C>> {
        if self.tape.is_none() {
            return self.machine.try_acquire_by_id(now, id);
        }
        let input = |this: &Named<'_, C, R>| Input::AcquireById { id: this.machine.name_of(id) };
        self.try_recorded(now, |machine, now| machine.try_acquire_by_id(now, id), input)
    }

    /// Makes a call that changes nothing unless it succeeds, and records it then.
    #[inline(never)]
    fn try_recorded(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut Machine<C, R>, Instant) -> Option<Lease<C>>,
        input: impl FnOnce(&Named<'_, C, R>) -> Input,
    ) -> Option<Lease<C>> {
        let Self { machine, tape } = self;
        let tape = tape.as_mut()?;
        let input = input(&Named { machine, peers: &tape.peers });
        let before = machine.actions.len();
        let acquired = Acquired::Ready(act(machine, now)?);
        tape.recorder.push(machine.now, &input, &acquired, machine.actions.range(before..));
        match acquired {
            Acquired::Ready(lease) => Some(lease),
            Acquired::Queued(_) | Acquired::Refused(_) => None,
        }
    }

    /// As [`Machine::acquire_again`].
    pub fn acquire_again(&mut self, now: Instant) -> Acquired<C> {
        self.tell(|_| Input::AcquireAgain, |machine| machine.acquire_again(now))
    }

    /// As [`Machine::acquire_by_id`].
    #[inline]
    pub fn acquire_by_id(&mut self, now: Instant, id: ConnId) -> Acquired<C> {
        let input = |this: &Named<'_, C, R>| Input::AcquireById { id: this.machine.name_of(id) };
        self.tell(input, |machine| machine.acquire_by_id(now, id))
    }

    /// As [`Machine::acquire_claimed`].
    pub fn acquire_claimed(&mut self, now: Instant) -> Acquired<C> {
        self.tell(|_| Input::AcquireClaimed, |machine| machine.acquire_claimed(now))
    }

    /// As [`Machine::wait_ready`].
    pub fn wait_ready(&mut self, now: Instant, ready: u32) -> Stock {
        self.tell(|_| Input::WaitReady { ready }, |machine| machine.wait_ready(now, ready))
    }

    /// As [`Machine::collect`].
    pub fn collect(&mut self, now: Instant, waiter: WaiterId) -> Collected<C> {
        self.tell(|_| Input::Collect { waiter }, |machine| machine.collect(now, waiter))
    }

    /// As [`Machine::cancel`].
    pub fn cancel(&mut self, now: Instant, waiter: WaiterId) -> WaitOutcome {
        self.tell(|_| Input::Cancel { waiter }, |machine| machine.cancel(now, waiter))
    }

    /// As [`Machine::time_out`].
    pub fn time_out(&mut self, now: Instant, waiter: WaiterId) -> WaitOutcome {
        self.tell(|_| Input::TimeOut { waiter }, |machine| machine.time_out(now, waiter))
    }

    /// As [`Machine::put`].
    ///
    /// # Errors
    ///
    /// As [`Machine::put`].
    pub fn put(&mut self, now: Instant, token: Token, connection: C) -> Result<(), PutError> {
        let input = Input::Put { token, drained: None };
        self.tell(|_| input, |machine| machine.put(now, token, connection))
    }

    /// As [`Machine::put_drained`].
    ///
    /// # Errors
    ///
    /// As [`Machine::put`].
    pub fn put_drained(
        &mut self,
        now: Instant,
        token: Token,
        connection: C,
        result: CheckResult,
    ) -> Result<(), PutError> {
        let input = Input::Put { token, drained: Some(result) };
        self.tell(|_| input, |machine| machine.put_drained(now, token, connection, result))
    }

    /// As [`Machine::put_foreign`].
    pub fn put_foreign(&mut self) -> PutError {
        self.tell(|_| Input::PutForeign, Machine::put_foreign)
    }

    /// As [`Machine::reject`].
    pub fn reject(&mut self, now: Instant, token: Token, connection: C, result: CheckResult) {
        let input = Input::Reject { token, result };
        self.tell(|_| input, |machine| machine.reject(now, token, connection, result));
    }

    /// As [`Machine::clean`].
    pub fn clean(&mut self, now: Instant) -> u32 {
        self.tell(|_| Input::Clean, |machine| machine.clean(now))
    }

    /// As [`Machine::end_finished`].
    pub fn end_finished(&mut self, now: Instant) -> u32 {
        self.tell(|_| Input::EndFinished, |machine| machine.end_finished(now))
    }

    /// As [`Machine::flush`].
    pub fn flush(&mut self, now: Instant) -> u32 {
        self.tell(|_| Input::Flush, |machine| machine.flush(now))
    }

    /// As [`Machine::close`].
    pub fn close(&mut self, now: Instant) {
        self.tell(|_| Input::Close, |machine| machine.close(now));
    }

    /// As [`Machine::graceful_shutdown`].
    pub fn graceful_shutdown(&mut self, now: Instant, deadline: Option<Instant>) {
        let input = Input::GracefulShutdown { deadline };
        self.tell(|_| input, |machine| machine.graceful_shutdown(now, deadline));
    }

    /// As [`Machine::handle_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        // With the next deadline, which a wrong timer would change first.
        self.tell(
            |_| Input::Timeout,
            |machine| {
                machine.handle_timeout(now);
                machine.poll_timeout()
            },
        );
    }

    /// As [`Machine::handle_event`].
    pub fn handle_event(&mut self, now: Instant, event: Event<C>) {
        if self.tape.is_none() {
            return self.machine.handle_event(now, event);
        }
        let input = match event {
            Event::Dialed { token } => Input::Dialed { token },
            Event::DialFailed { token } => Input::DialFailed { token },
            Event::FirstByte { token } => Input::FirstByte { token },
            Event::Established { token, id, .. } => {
                Input::Established { token, id: id.map(|id| self.machine.name_of(id)) }
            }
            Event::HandshakeFailed { token, failure } => Input::HandshakeFailed { token, failure },
            Event::Readable { token } => Input::Readable { token },
            Event::Checked { token, result, .. } => Input::Checked { token, result },
            Event::Closed { token } => Input::Closed { token },
            Event::AcceptEnded => Input::AcceptEnded,
        };
        self.tell(|_| input, |machine| machine.handle_event(now, event));
    }

    /// As [`Machine::note_deadline`]. It changes nothing else, and is not recorded.
    pub const fn note_deadline(&mut self) {
        self.machine.note_deadline();
    }

    /// As [`Machine::add_error`].
    pub fn add_error(&mut self) {
        self.tell(|_| Input::AddError, Machine::add_error);
    }

    /// As [`Machine::reset_error`].
    pub fn reset_error(&mut self) {
        self.tell(|_| Input::ResetError, Machine::reset_error);
    }
}
