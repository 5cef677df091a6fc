//! Inputs: everything that changes a machine, without the connections themselves.

use core::fmt;

use super::bytes::{Cursor, Short};
use crate::event::{CheckResult, HandshakeFailure, Token, WaiterId};
use crate::id::Hint;
use crate::slab::Key;
use crate::time::Instant;

/// A call of a machine, or an event.
///
/// Each variant is a call of [`Machine`](crate::Machine), [`Client`](crate::Client) or
/// [`Server`](crate::Server), or an [`Event`](crate::Event), with the same name. As text it says so in a
/// few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each field is the argument with its name, of the call with its name"
)]
pub enum Input {
    Timeout,
    Acquire,
    AcquireAgain,
    AcquireById {
        id: IdName,
    },
    AcquireClaimed,
    WaitReady {
        ready: u32,
    },
    Collect {
        waiter: WaiterId,
    },
    Cancel {
        waiter: WaiterId,
    },
    TimeOut {
        waiter: WaiterId,
    },
    Put {
        token: Token,
        drained: Option<CheckResult>,
    },
    PutForeign,
    Reject {
        token: Token,
        result: CheckResult,
    },
    Clean,
    EndFinished,
    Flush,
    Close,
    GracefulShutdown {
        deadline: Option<Instant>,
    },
    AddError,
    ResetError,
    Dialed {
        token: Token,
    },
    DialFailed {
        token: Token,
    },
    FirstByte {
        token: Token,
    },
    Established {
        token: Token,
        id: Option<IdName>,
    },
    HandshakeFailed {
        token: Token,
        failure: HandshakeFailure,
    },
    Readable {
        token: Token,
    },
    Checked {
        token: Token,
        result: CheckResult,
    },
    Closed {
        token: Token,
    },
    AcceptEnded,
    DialNow,
    SetCapacity {
        low: u32,
        high: u32,
    },
    /// The number of a setting, and its value in the next configuration.
    NewSetting {
        number: u32,
        value: u64,
    },
    /// The allow list of the next configuration says otherwise of the peer of this connection than the
    /// last one.
    NewVerdict {
        token: Token,
    },
    /// The configuration changes: the settings are those of the last one, except the new ones.
    SetConfig,
    Accept {
        peer: PeerName,
    },
    Admit {
        token: Token,
        certificate: Option<PeerName>,
    },
}

/// The place in the machine at which an id is found, at the moment of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdName {
    /// The id is zero, which may be that of the control connection.
    Zero,
    /// It is the id of this connection.
    Live(Token),
    /// This waiter waits for it.
    Awaited(WaiterId),
    /// It is the id of the connection after whose end this many others have ended.
    Ended(u8),
    /// The machine does not know it, and as an id it is the server's.
    NewOfServer(Hint),
    /// The machine does not know it, and as an id it is the client's.
    NewOfClient(Hint),
}

/// The pseudonym of an address or of a certificate, the same each time within one tape.
///
/// The highest bit says of an address whether the allow list let it in. In a replay, the pseudonym is the
/// first half of an IPv6 address, and the allow list is the network in which that bit is set.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerName(pub(crate) u64);

impl fmt::Debug for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerName({:016x})", self.0)
    }
}

const RESULTS: [CheckResult; 4] =
    [CheckResult::Quiet, CheckResult::Data, CheckResult::Finished, CheckResult::Closed];
const FAILURES: [HandshakeFailure; 3] =
    [HandshakeFailure::Tls, HandshakeFailure::Id, HandshakeFailure::Transport];

/// The bits of an operation below its detail.
const OPERATION: u8 = 0x1f;

impl Input {
    /// The operation, and its detail.
    const fn operation(&self) -> (u8, u8) {
        match *self {
            Self::Timeout => (0, 0),
            Self::Acquire => (1, 0),
            Self::AcquireAgain => (2, 0),
            Self::AcquireById { id } => (3, id.kind()),
            Self::WaitReady { .. } => (4, 0),
            Self::Collect { .. } => (5, 0),
            Self::Cancel { .. } => (6, 0),
            Self::TimeOut { .. } => (6, 1),
            Self::Put { drained: None, .. } => (7, 0),
            Self::Put { drained: Some(result), .. } => (7, 1 + result as u8),
            Self::PutForeign => (8, 0),
            Self::Reject { result, .. } => (9, 1 + result as u8),
            Self::Clean => (10, 0),
            Self::EndFinished => (11, 0),
            Self::Flush => (12, 0),
            Self::Close => (13, 0),
            Self::GracefulShutdown { .. } => (14, 0),
            Self::AddError => (15, 0),
            Self::ResetError => (16, 0),
            Self::Dialed { .. } => (17, 0),
            Self::DialFailed { .. } => (18, 0),
            Self::FirstByte { .. } => (19, 0),
            Self::Established { id: None, .. } => (20, 0),
            Self::Established { id: Some(id), .. } => (20, id.kind()),
            Self::HandshakeFailed { failure, .. } => (21, failure as u8),
            Self::Readable { .. } => (22, 0),
            Self::Checked { result, .. } => (23, 1 + result as u8),
            Self::Closed { .. } => (24, 0),
            Self::AcceptEnded => (25, 0),
            Self::DialNow => (26, 0),
            Self::SetCapacity { .. } => (29, 0),
            Self::AcquireClaimed => (30, 0),
            Self::NewSetting { .. } => (31, 0),
            Self::NewVerdict { .. } => (31, 1),
            Self::SetConfig => (31, 2),
            Self::Accept { .. } => (27, 0),
            Self::Admit { certificate: None, .. } => (28, 0),
            Self::Admit { certificate: Some(_), .. } => (28, 1),
        }
    }

    /// Appends the operation and its operands.
    pub(super) fn write(&self, out: &mut Short) {
        let (operation, detail) = self.operation();
        out.push(operation | (detail << 5));
        match *self {
            Self::Timeout
            | Self::Acquire
            | Self::AcquireAgain
            | Self::AcquireClaimed
            | Self::PutForeign
            | Self::Clean
            | Self::EndFinished
            | Self::Flush
            | Self::Close
            | Self::AddError
            | Self::ResetError
            | Self::AcceptEnded
            | Self::DialNow
            | Self::SetConfig => {}
            Self::NewSetting { number, value } => {
                out.varint(number.into());
                out.varint(value);
            }
            Self::AcquireById { id } => id.write(out),
            Self::WaitReady { ready } => out.varint(ready.into()),
            Self::SetCapacity { low, high } => {
                out.varint(low.into());
                out.varint(high.into());
            }
            Self::Collect { waiter } | Self::Cancel { waiter } | Self::TimeOut { waiter } => {
                put_key(out, waiter.0);
            }
            Self::GracefulShutdown { deadline } => {
                let nanos = deadline.map_or(0, |at| at.as_nanos().saturating_add(1));
                out.varint(nanos);
            }
            Self::Put { token, .. }
            | Self::Reject { token, .. }
            | Self::Dialed { token }
            | Self::DialFailed { token }
            | Self::FirstByte { token }
            | Self::HandshakeFailed { token, .. }
            | Self::Readable { token }
            | Self::Checked { token, .. }
            | Self::Closed { token }
            | Self::NewVerdict { token }
            | Self::Established { token, id: None }
            | Self::Admit { token, certificate: None } => put_key(out, token.0),
            Self::Established { token, id: Some(id) } => {
                put_key(out, token.0);
                id.write(out);
            }
            Self::Accept { peer } => out.long(peer.0),
            Self::Admit { token, certificate: Some(peer) } => {
                put_key(out, token.0);
                out.long(peer.0);
            }
        }
    }

    /// Reads an input; `None` if the bytes are not one.
    pub(super) fn read(from: &mut Cursor<'_>) -> Option<Self> {
        let operation = from.byte()?;
        let detail = operation >> 5;
        let result = RESULTS.get(usize::from(detail).wrapping_sub(1)).copied();
        let mut token = || Some(Token(key(from)?));
        let input = match operation & OPERATION {
            0 => Self::Timeout,
            1 => Self::Acquire,
            2 => Self::AcquireAgain,
            3 => Self::AcquireById { id: IdName::read(detail, from)? },
            4 => Self::WaitReady { ready: from.int()? },
            5 => Self::Collect { waiter: WaiterId(key(from)?) },
            6 if detail == 0 => Self::Cancel { waiter: WaiterId(key(from)?) },
            6 => Self::TimeOut { waiter: WaiterId(key(from)?) },
            7 => Self::Put { token: token()?, drained: result },
            8 => Self::PutForeign,
            9 => Self::Reject { token: token()?, result: result? },
            10 => Self::Clean,
            11 => Self::EndFinished,
            12 => Self::Flush,
            13 => Self::Close,
            14 => {
                let deadline = from.varint()?.checked_sub(1).map(Instant::from_nanos);
                Self::GracefulShutdown { deadline }
            }
            15 => Self::AddError,
            16 => Self::ResetError,
            17 => Self::Dialed { token: token()? },
            18 => Self::DialFailed { token: token()? },
            19 => Self::FirstByte { token: token()? },
            20 if detail == 0 => Self::Established { token: token()?, id: None },
            20 => Self::Established { token: token()?, id: Some(IdName::read(detail, from)?) },
            21 => {
                let failure = *FAILURES.get(usize::from(detail))?;
                Self::HandshakeFailed { token: token()?, failure }
            }
            22 => Self::Readable { token: token()? },
            23 => Self::Checked { token: token()?, result: result? },
            24 => Self::Closed { token: token()? },
            25 => Self::AcceptEnded,
            26 => Self::DialNow,
            27 => Self::Accept { peer: PeerName(from.long()?) },
            28 => {
                let token = token()?;
                let certificate = if detail == 0 { None } else { Some(PeerName(from.long()?)) };
                Self::Admit { token, certificate }
            }
            29 => Self::SetCapacity { low: from.int()?, high: from.int()? },
            30 => Self::AcquireClaimed,
            31 => match detail {
                0 => Self::NewSetting { number: from.int()?, value: from.varint()? },
                1 => Self::NewVerdict { token: token()? },
                _ => Self::SetConfig,
            },
            _ => return None,
        };
        // A detail that the operation does not have.
        (input.operation() == (operation & OPERATION, detail)).then_some(input)
    }
}

impl IdName {
    const fn kind(self) -> u8 {
        match self {
            Self::Zero => 1,
            Self::Live(_) => 2,
            Self::Awaited(_) => 3,
            Self::Ended(_) => 4,
            Self::NewOfServer(_) => 5,
            Self::NewOfClient(_) => 6,
        }
    }

    fn write(self, out: &mut Short) {
        match self {
            Self::Live(Token(key)) | Self::Awaited(WaiterId(key)) => put_key(out, key),
            Self::Ended(since) => out.push(since),
            Self::NewOfServer(hint) | Self::NewOfClient(hint) => out.push(hint.to_byte()),
            Self::Zero => {}
        }
    }

    fn read(kind: u8, from: &mut Cursor<'_>) -> Option<Self> {
        Some(match kind {
            1 => Self::Zero,
            2 => Self::Live(Token(key(from)?)),
            3 => Self::Awaited(WaiterId(key(from)?)),
            4 => Self::Ended(from.byte()?),
            5 => Self::NewOfServer(Hint::from_byte(from.byte()?)?),
            6 => Self::NewOfClient(Hint::from_byte(from.byte()?)?),
            _ => return None,
        })
    }
}

fn put_key(out: &mut Short, key: Key) {
    out.varint(key.index.into());
    out.varint(key.generation.into());
}

fn key(from: &mut Cursor<'_>) -> Option<Key> {
    Some(Key { index: from.int()?, generation: from.int()? })
}

/// Says in words: `put 3.0, drained: quiet`. Connections and waiters have the numbers of their slots and
/// generations.
impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("timeout"),
            Self::Acquire => f.write_str("acquire any"),
            Self::AcquireAgain => f.write_str("acquire any, again"),
            Self::AcquireById { id } => write!(f, "acquire {id}"),
            Self::AcquireClaimed => f.write_str("acquire one that the peer has begun to use"),
            Self::WaitReady { ready } => write!(f, "wait until ready: {ready}"),
            Self::Collect { waiter } => write!(f, "waiter {} collects", waiter.0),
            Self::Cancel { waiter } => write!(f, "waiter {} cancels", waiter.0),
            Self::TimeOut { waiter } => write!(f, "waiter {} times out", waiter.0),
            Self::Put { token, drained: None } => write!(f, "put {}", token.0),
            Self::Put { token, drained: Some(result) } => {
                write!(f, "put {}, drained: {}", token.0, found(*result))
            }
            Self::PutForeign => f.write_str("put a connection of another pool"),
            Self::Reject { token, result } => {
                write!(f, "reject {}, checked: {}", token.0, found(*result))
            }
            Self::Clean => f.write_str("clean"),
            Self::EndFinished => f.write_str("end finished connections"),
            Self::Flush => f.write_str("flush"),
            Self::Close => f.write_str("close the pool"),
            Self::GracefulShutdown { deadline: Some(at) } => {
                write!(f, "graceful shutdown until {at:?}")
            }
            Self::GracefulShutdown { deadline: None } => f.write_str("graceful shutdown"),
            Self::AddError => f.write_str("add an error"),
            Self::ResetError => f.write_str("reset errors"),
            Self::Dialed { token } => write!(f, "dialed {}", token.0),
            Self::DialFailed { token } => write!(f, "dial of {} failed", token.0),
            Self::FirstByte { token } => write!(f, "first byte on {}", token.0),
            Self::Established { token, id: None } => write!(f, "established {}", token.0),
            Self::Established { token, id: Some(id) } => {
                write!(f, "established {}, {id}", token.0)
            }
            Self::HandshakeFailed { token, failure } => {
                write!(f, "handshake of {} failed: {failure:?}", token.0)
            }
            Self::Readable { token } => write!(f, "readable {}", token.0),
            Self::Checked { token, result } => write!(f, "checked {}: {}", token.0, found(*result)),
            Self::Closed { token } => write!(f, "closed {}", token.0),
            Self::AcceptEnded => f.write_str("the listener has ended"),
            Self::DialNow => f.write_str("dial now"),
            Self::SetCapacity { low, high } => write!(f, "set the capacity to {low}..={high}"),
            Self::NewSetting { number, value } => write!(f, "setting {number} will be {value}"),
            Self::NewVerdict { token } => {
                write!(f, "the allow list will say otherwise of the peer of {}", token.0)
            }
            Self::SetConfig => f.write_str("set the configuration"),
            Self::Accept { peer } => write!(f, "accept {peer}"),
            Self::Admit { token, certificate: None } => write!(f, "admit {}", token.0),
            Self::Admit { token, certificate: Some(peer) } => {
                write!(f, "admit {} with the certificate {peer}", token.0)
            }
        }
    }
}

const fn found(result: CheckResult) -> &'static str {
    match result {
        CheckResult::Quiet => "quiet",
        CheckResult::Data => "data",
        CheckResult::Finished => "data, then the end",
        CheckResult::Closed => "closed",
    }
}

impl fmt::Display for IdName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("the id zero"),
            Self::Live(token) => write!(f, "the id of {}", token.0),
            Self::Awaited(waiter) => write!(f, "the id of waiter {}", waiter.0),
            Self::Ended(0) => f.write_str("the id that ended last"),
            Self::Ended(since) => write!(f, "the id that ended before the last {since}"),
            Self::NewOfServer(hint) => write!(f, "a new id, the server's{hint}"),
            Self::NewOfClient(hint) => write!(f, "a new id, the client's{hint}"),
        }
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {:08x}", self.0 >> 32)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}
