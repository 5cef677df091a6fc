//! Replays a tape through a machine.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use super::header::Header;
use super::input::{Input, PeerName};
use super::outputs::{Answer, Outputs};
use super::reader::{Record, TapeError};
use crate::config::{ClientConfigBuilder, ServerConfig};
use crate::entropy::Jitter;
use crate::event::{Action, Event};
use crate::machine::Machine;
use crate::role::{Client, Role, Server};
use crate::stats::Stats;
use crate::time::Instant;

/// A machine to which a tape is replayed. Its connections have no contents.
///
/// ```
/// use pool_proto::tape::{Replay, Step, Tape, TapeError};
///
/// /// Returns the number of the first input that this version answers otherwise than on the tape.
/// fn first_difference(bytes: &[u8]) -> Result<Option<u64>, TapeError> {
///     let tape = Tape::read(bytes)?;
///     let mut replay = Replay::new(tape.header())?;
///     for record in tape.records() {
///         let record = record?;
///         if !matches!(replay.step(&record), Step::Same(_)) {
///             return Ok(Some(record.number));
///         }
///     }
///     Ok(None)
/// }
/// # assert_eq!(first_difference(b"no tape"), Err(TapeError::NotATape));
/// ```
#[derive(Debug)]
pub struct Replay {
    machine: AnyMachine,
    outputs: Outputs,
    actions: Vec<Action<()>>,
    /// The settings of the last configuration, and those of the next one as far as they are told.
    settings: Vec<u64>,
    jitter: Jitter,
    /// The number of new ids that were made for the tape's.
    fresh: u32,
    begins_alike: bool,
}

#[derive(Debug)]
enum AnyMachine {
    Client(Client<()>),
    Server(Server<()>),
}

/// The outcome of one input of a replay.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// All outputs so far are those of the tape. (The machine's [actions](Replay::actions) belong to them.)
    Same(Answer),
    /// The outputs differ from those of the tape, in this input for the first time, or, with a probability
    /// of 1 in 256, in an earlier one.
    Differs(Answer),
    /// The machine has nothing that the input names, which it had when the tape was recorded.
    Impossible,
}

impl Replay {
    /// Creates the machine of a tape.
    ///
    /// # Errors
    ///
    /// [`TapeError::Settings`], [`TapeError::Setting`] or [`TapeError::Refused`] if this version cannot make
    /// such a machine.
    pub fn new(header: &Header) -> Result<Self, TapeError> {
        let Header { jitter, began, settings, outputs, .. } = header;
        let machine = match header.client()? {
            Some(builder) => {
                let config = builder.build().map_err(TapeError::Refused)?;
                AnyMachine::Client(Client::new(&config, *began))
            }
            None => {
                let config = ServerConfig::from_numbers(settings, *jitter);
                AnyMachine::Server(Server::new(&config.map_err(|e| header.refused(e))?, *began))
            }
        };
        let (actions, fresh) = (Vec::new(), 0);
        let mut replay = Self {
            machine,
            outputs: Outputs::new(),
            actions,
            settings: settings.clone(),
            jitter: *jitter,
            fresh,
            begins_alike: false,
        };
        replay.collect_outputs(&Answer::None);
        replay.begins_alike = replay.outputs.hash() == *outputs;
        Ok(replay)
    }

    /// Returns whether the machine began with the same actions as on the tape.
    #[must_use]
    pub const fn begins_alike(&self) -> bool {
        self.begins_alike
    }

    /// Tells the machine the next input, and compares its outputs with those of the tape.
    pub fn step(&mut self, record: &Record) -> Step {
        let now = record.at;
        let Self { machine, fresh, settings, jitter, .. } = self;
        let answer = match (machine, record.input) {
            (_, Input::NewSetting { number, value }) => {
                let place = usize::try_from(number).ok().and_then(|at| settings.get_mut(at));
                place.map(|place| {
                    *place = value;
                    Answer::None
                })
            }
            (AnyMachine::Client(client), Input::SetConfig) => {
                let config = ClientConfigBuilder::from_numbers(settings, *jitter);
                let config = config.ok().and_then(|builder| builder.build().ok());
                let set = config.is_some_and(|config| client.set_config(now, &config).is_ok());
                set.then(|| Answer::Deadline(client.poll_timeout()))
            }
            (AnyMachine::Server(server), Input::SetConfig) => {
                let config = ServerConfig::from_numbers(settings, *jitter).ok();
                let set = config.is_some_and(|config| server.set_config(now, &config).is_ok());
                set.then(|| Answer::Deadline(server.poll_timeout()))
            }
            (AnyMachine::Server(server), Input::NewVerdict { token }) => {
                server.turn_address(token, PeerName::turned).then_some(Answer::None)
            }
            (AnyMachine::Client(client), Input::DialNow) => {
                client.dial_now(now);
                Some(Answer::None)
            }
            (AnyMachine::Client(client), Input::SetCapacity { low, high }) => {
                client.set_capacity(now, low..=high).is_ok().then_some(Answer::None)
            }
            (AnyMachine::Server(server), Input::Accept { peer }) => {
                Some(Answer::Accepted(server.accept(now, peer.address())))
            }
            (AnyMachine::Server(server), Input::Admit { token, certificate }) => {
                let certificate = certificate.map(PeerName::certificate);
                Some(Answer::Admitted(server.admit(now, token, certificate)))
            }
            (AnyMachine::Client(client), input) => apply(client, now, input, fresh),
            (AnyMachine::Server(server), input) => apply(server, now, input, fresh),
        };
        let Some(answer) = answer else { return Step::Impossible };
        self.collect_outputs(&answer);
        let whole = record.outputs.is_none_or(|outputs| outputs == self.outputs.hash());
        match whole && record.check == self.outputs.check() {
            true => Step::Same(answer),
            false => Step::Differs(answer),
        }
    }

    /// Returns the actions of the last input, or of the creation.
    pub fn actions(&self) -> &[Action<()>] {
        &self.actions
    }

    /// Returns the states and counters of the machine.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match &self.machine {
            AnyMachine::Client(client) => client.stats(),
            AnyMachine::Server(server) => server.stats(),
        }
    }

    fn collect_outputs(&mut self, answer: &Answer) {
        let Self { machine, actions, outputs, .. } = self;
        actions.clear();
        actions.extend(core::iter::from_fn(|| match machine {
            AnyMachine::Client(client) => client.poll_action(),
            AnyMachine::Server(server) => server.poll_action(),
        }));
        outputs.add(answer, actions.iter());
    }
}

/// Tells a machine an input that both roles have; `None` for another one, or if the machine has nothing that
/// the input names.
fn apply<R: Role>(
    machine: &mut Machine<(), R>,
    now: Instant,
    input: Input,
    fresh: &mut u32,
) -> Option<Answer> {
    let event = match input {
        Input::Timeout => {
            machine.handle_timeout(now);
            return Some(Answer::Deadline(machine.poll_timeout()));
        }
        Input::Acquire => return Some(Answer::Acquired(machine.acquire(now))),
        Input::AcquireAgain => return Some(Answer::Acquired(machine.acquire_again(now))),
        Input::AcquireById { id } => {
            let id = machine.id_named(id, fresh)?;
            return Some(Answer::Acquired(machine.acquire_by_id(now, id)));
        }
        Input::AcquireClaimed => return Some(Answer::Acquired(machine.acquire_claimed(now))),
        Input::WaitReady { ready } => return Some(Answer::Stock(machine.wait_ready(now, ready))),
        Input::Collect { waiter } => return Some(Answer::Collected(machine.collect(now, waiter))),
        Input::Cancel { waiter } => return Some(Answer::Cancelled(machine.cancel(now, waiter))),
        Input::TimeOut { waiter } => {
            return Some(Answer::Cancelled(machine.time_out(now, waiter)));
        }
        Input::Put { token, drained: None } => {
            return Some(Answer::Put(machine.put(now, token, ())));
        }
        Input::Put { token, drained: Some(result) } => {
            return Some(Answer::Put(machine.put_drained(now, token, (), result)));
        }
        Input::PutForeign => return Some(Answer::Foreign(machine.put_foreign())),
        Input::Clean => return Some(Answer::Count(machine.clean(now))),
        Input::EndFinished => return Some(Answer::Count(machine.end_finished(now))),
        Input::Flush => return Some(Answer::Count(machine.flush(now))),
        Input::Reject { token, result } => {
            machine.reject(now, token, (), result);
            return Some(Answer::None);
        }
        Input::Close => {
            machine.close(now);
            return Some(Answer::None);
        }
        Input::GracefulShutdown { deadline } => {
            machine.graceful_shutdown(now, deadline);
            return Some(Answer::None);
        }
        Input::AddError => {
            machine.add_error();
            return Some(Answer::None);
        }
        Input::ResetError => {
            machine.reset_error();
            return Some(Answer::None);
        }
        Input::Dialed { token } => Event::Dialed { token },
        Input::DialFailed { token } => Event::DialFailed { token },
        Input::FirstByte { token } => Event::FirstByte { token },
        Input::Established { token, id } => {
            let id = id.map(|name| machine.id_named(name, fresh).ok_or(()));
            Event::Established { token, connection: (), id: id.transpose().ok()? }
        }
        Input::HandshakeFailed { token, failure } => Event::HandshakeFailed { token, failure },
        Input::Readable { token } => Event::Readable { token },
        Input::Checked { token, result } => Event::Checked { token, connection: (), result },
        Input::Closed { token } => Event::Closed { token },
        Input::AcceptEnded => Event::AcceptEnded,
        Input::DialNow
        | Input::SetCapacity { .. }
        | Input::NewSetting { .. }
        | Input::NewVerdict { .. }
        | Input::SetConfig
        | Input::Accept { .. }
        | Input::Admit { .. } => return None,
    };
    machine.handle_event(now, event);
    Some(Answer::None)
}

impl PeerName {
    /// The address that stands for this peer in a replay.
    fn address(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(u128::from(self.0) << 64))
    }

    /// The address of the same peer of which the allow list says otherwise.
    fn turned(address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() ^ (1 << 127))),
            IpAddr::V4(_) => address,
        }
    }

    /// The fingerprint of a certificate that stands for this one in a replay.
    fn certificate(self) -> [u8; 32] {
        let mut print = [0; 32];
        for (byte, of_name) in print.iter_mut().zip(self.0.to_le_bytes()) {
            *byte = of_name;
        }
        print
    }
}
