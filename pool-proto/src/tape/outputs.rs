//! The hash of everything that a machine has answered and asked its driver to do.

use crate::answer::{Acquired, Collected, Lease, Stock, WaitOutcome, WaitReason};
use crate::error::{PutError, Refusal, Rejected};
use crate::event::{Action, CloseReason, Token, WaiterId};
use crate::id::ConnId;
use crate::slab::Key;
use crate::time::Instant;

/// The answer of a machine to an input.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant has the answer of the calls with its name")]
pub enum Answer {
    /// The call has no answer.
    None,
    Acquired(Acquired<()>),
    Stock(Stock),
    Collected(Collected<()>),
    Cancelled(WaitOutcome),
    Put(Result<(), PutError>),
    Foreign(PutError),
    Count(u32),
    Accepted(Result<Token, Rejected>),
    Admitted(Result<ConnId, Rejected>),
    /// The next deadline, after a timeout.
    Deadline(Option<Instant>),
}

/// The hash of the outputs so far.
///
/// It is the hash of rustc (FxHash), because it is quick. Each step is a bijection, so a word that differs
/// changes the hash for certain, and all later hashes until another word differs. It does not prevent the
/// forgery of a tape, and need not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outputs(u64);

/// The odd number by which the hash is multiplied at each step.
const FACTOR: u64 = 0x517c_c1b7_2722_0a95;

impl Outputs {
    pub(super) const fn new() -> Self {
        Self(0)
    }

    /// Takes in an answer, and the actions that came with it.
    pub(super) fn add<'a, C: 'a>(
        &mut self,
        answer: &impl Output,
        actions: impl IntoIterator<Item = &'a Action<C>>,
    ) {
        answer.add_to(self);
        for action in actions {
            action.add_to(self);
        }
    }

    pub(super) const fn hash(&self) -> u64 {
        self.0
    }

    /// The highest byte of the hash, which each input on a tape has. All bits of a word come to bear on it.
    pub(super) const fn check(&self) -> u8 {
        let [highest, ..] = self.0.to_be_bytes();
        highest
    }

    const fn word(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }

    fn key(&mut self, key: Key) {
        self.word((u64::from(key.index) << 32) | u64::from(key.generation));
    }

    /// The number of an output's variant, and of a reason within it.
    fn kind(&mut self, variant: u8, reason: u8) {
        self.word((u64::from(variant) << 8) | u64::from(reason));
    }
}

/// An output that a hash can take in: without connections, ids and addresses.
pub(super) trait Output {
    fn add_to(&self, outputs: &mut Outputs);
}

impl Output for Answer {
    fn add_to(&self, outputs: &mut Outputs) {
        match self {
            Self::None => ().add_to(outputs),
            Self::Acquired(answer) => answer.add_to(outputs),
            Self::Stock(answer) => answer.add_to(outputs),
            Self::Collected(answer) => answer.add_to(outputs),
            Self::Cancelled(answer) => answer.add_to(outputs),
            Self::Put(answer) => answer.add_to(outputs),
            Self::Foreign(answer) => answer.add_to(outputs),
            Self::Count(answer) => answer.add_to(outputs),
            Self::Accepted(answer) => answer.add_to(outputs),
            Self::Admitted(answer) => answer.add_to(outputs),
            Self::Deadline(answer) => answer.add_to(outputs),
        }
    }
}

impl Output for () {
    fn add_to(&self, outputs: &mut Outputs) {
        outputs.kind(0, 0);
    }
}

impl<C> Output for Acquired<C> {
    fn add_to(&self, outputs: &mut Outputs) {
        match self {
            Self::Ready(lease) => lease.add_to(outputs),
            Self::Queued(waiter) => waiter.add_to(outputs),
            Self::Refused(refusal) => refusal.add_to(outputs),
        }
    }
}

impl Output for Stock {
    fn add_to(&self, outputs: &mut Outputs) {
        match self {
            Self::Ready => outputs.kind(4, 0),
            Self::Queued(waiter) => waiter.add_to(outputs),
            Self::Refused(refusal) => refusal.add_to(outputs),
        }
    }
}

impl<C> Output for Collected<C> {
    fn add_to(&self, outputs: &mut Outputs) {
        match self {
            Self::Ready(lease) => lease.add_to(outputs),
            Self::Stocked => outputs.kind(4, 0),
            Self::Waiting => outputs.kind(5, 0),
            Self::Refused(refusal) => refusal.add_to(outputs),
            Self::Unknown => outputs.kind(6, 0),
        }
    }
}

impl Output for WaitOutcome {
    fn add_to(&self, outputs: &mut Outputs) {
        match self {
            Self::Waiting(reason) => reason.add_to(outputs),
            Self::Granted => outputs.kind(7, 0),
            Self::Refused(refusal) => refusal.add_to(outputs),
            Self::Unknown => outputs.kind(6, 0),
        }
    }
}

impl<C> Output for Lease<C> {
    fn add_to(&self, outputs: &mut Outputs) {
        // Its id follows from its token.
        outputs.kind(1, 0);
        outputs.key(self.token.0);
    }
}

impl Output for WaiterId {
    fn add_to(&self, outputs: &mut Outputs) {
        outputs.kind(2, 0);
        outputs.key(self.0);
    }
}

impl Output for Refusal {
    fn add_to(&self, outputs: &mut Outputs) {
        let reason = match *self {
            Self::PoolClosed => 0,
            Self::ShuttingDown => 1,
            Self::UnknownId { .. } => 2,
            Self::Gone { reason, .. } => {
                outputs.kind(8, reason as u8);
                3
            }
            Self::AcquiredHere { .. } => 4,
            Self::PeerAcquires => 5,
            Self::TooManyWaiters { .. } => 6,
            Self::AcceptEnded => 7,
            Self::StockBeyondCapacity { .. } => 8,
            Self::PeerNeverAcquires => 9,
            Self::NoOpeningByte { .. } => 10,
        };
        outputs.kind(3, reason);
    }
}

impl Output for WaitReason {
    fn add_to(&self, outputs: &mut Outputs) {
        let (reason, count) = match *self {
            Self::Dialing { in_flight } => (0, in_flight),
            Self::BackingOff { failures } => (1, failures),
            Self::Full { held } => (2, held),
            Self::AllInUse { leased, claimed } => {
                outputs.word(leased.into());
                (3, claimed)
            }
            Self::NextRound => (4, 0),
            Self::Returning { returning } => (5, returning),
            Self::Handshaking { in_flight } => (6, in_flight),
            Self::Claimed { claimed } => (7, claimed),
            Self::Reserved { reserved } => (8, reserved),
            Self::NoPeer => (9, 0),
            Self::IdNotSeen => (10, 0),
            Self::IdHandshaking => (11, 0),
            Self::IdLeased => (12, 0),
            Self::IdResting => (13, 0),
            Self::IdChecking => (14, 0),
            Self::Stock { idle, .. } => (15, idle),
            Self::NotClaimed { ready } => (16, ready),
            Self::IdNotBegun => (17, 0),
        };
        outputs.kind(9, reason);
        outputs.word(count.into());
    }
}

impl Output for PutError {
    fn add_to(&self, outputs: &mut Outputs) {
        let reason = match self {
            Self::PoolClosed => 0,
            Self::NotLeased => 1,
            Self::Foreign => 2,
        };
        outputs.kind(10, reason);
    }
}

impl Output for Rejected {
    fn add_to(&self, outputs: &mut Outputs) {
        let reason = match self {
            Self::PoolClosed => 0,
            Self::ShuttingDown => 1,
            Self::NotAllowed { .. } => 2,
            Self::SourceFull { .. } => 3,
            Self::CapacityReached { .. } => 4,
            Self::ConnectionsReached { .. } => 5,
            Self::HandshakeEnded => 6,
        };
        outputs.kind(11, reason);
    }
}

impl<T: Output, E: Output> Output for Result<T, E> {
    fn add_to(&self, outputs: &mut Outputs) {
        match self {
            Ok(answer) => answer.add_to(outputs),
            Err(error) => error.add_to(outputs),
        }
    }
}

impl Output for u32 {
    fn add_to(&self, outputs: &mut Outputs) {
        outputs.kind(12, 0);
        outputs.word((*self).into());
    }
}

impl Output for Token {
    fn add_to(&self, outputs: &mut Outputs) {
        outputs.kind(13, 0);
        outputs.key(self.0);
    }
}

impl Output for ConnId {
    /// An id of this machine's own, of which a replay makes another, unless it is zero.
    fn add_to(&self, outputs: &mut Outputs) {
        outputs.kind(14, u8::from(*self == Self::ZERO));
    }
}

impl Output for Option<Instant> {
    fn add_to(&self, outputs: &mut Outputs) {
        outputs.kind(15, u8::from(self.is_some()));
        outputs.word(self.map_or(0, Instant::as_nanos));
    }
}

impl<C> Output for Action<C> {
    fn add_to(&self, outputs: &mut Outputs) {
        let reason = |reason: &CloseReason| *reason as u8;
        let (variant, reason, key) = match self {
            Self::Dial { token: Token(key) } => (16, 0, key),
            Self::Check { token: Token(key), kind, .. } => (17, *kind as u8, key),
            Self::Close { token: Token(key), reason: why, .. } => (18, reason(why), key),
            Self::Abort { token: Token(key), reason: why } => (19, reason(why), key),
            Self::Wake { waiter: WaiterId(key) } => (20, 0, key),
        };
        outputs.kind(variant, reason);
        outputs.key(*key);
    }
}
