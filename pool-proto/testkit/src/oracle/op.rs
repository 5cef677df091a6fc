//! Steps of a script.
//!
//! A step names its subject by a small number: "the lease number 2". The number is taken modulo how
//! many there are, and a step without a subject does nothing; so a script stays valid whatever is
//! removed from it, and a failing one shrinks.

use pool_proto::{CheckResult, HandshakeFailure};

/// Which connection a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Number n of those that the step fits, the oldest first.
    Nth(u8),
    /// Number n of all live connections: mostly the step does not fit it.
    Any(u8),
    /// Number n of those that have ended, the latest first.
    Ended(u8),
    /// A name of another machine.
    Foreign,
}

/// Which waiter a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Number n of those that are not over, the oldest first.
    Nth(u8),
    /// Number n of those that are over, the latest first.
    Over(u8),
    /// A name of another machine.
    Foreign,
}

/// Which id a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhoseId {
    /// Of the live connection number n of those whose id is known outside.
    Live(u8),
    /// Of connection number n of those that have ended, the latest first.
    Ended(u8),
    /// Number n of the ids that no machine makes, but that somebody may wait for and a peer may
    /// send.
    Made(u8),
}

/// The id that a peer sends with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    Fresh,
    Missing,
    Same(WhoseId),
}

/// A span of time that is short or long compared with the configured ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    Nanosecond,
    Millis(u32),
}

/// When a timeout is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At the time it is.
    Now,
    /// A nanosecond before the deadline.
    Early,
    /// At the deadline.
    Due,
    /// This long after the deadline.
    Late(Span),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    // what users say
    Acquired,
    AcquireAgain,
    AcquireById(WhoseId),
    AcquireClaimed,
    WaitReady(u8),
    Collect(Who),
    Cancel(Who),
    TimeOut(Who),
    Why(Who),
    Put(Whom),
    PutDrained(Whom, CheckResult),
    Reject(Whom, CheckResult),
    /// A lease is closed by its holder.
    Release(Whom),
    PutForeign,
    Clean,
    EndFinished,
    Flush,
    Close,
    /// A graceful shutdown, with a deadline after this time or without one.
    GracefulShutdown(Option<Span>),
    AddError,
    ResetError,
    DialNow,
    /// The capacity is to be between one and this number, or this number.
    SetCapacity(u8, bool),
    /// Setting number n is to have its value number m.
    SetConfig(u8, u8),
    // what the driver says
    Dialed(Whom),
    DialFailed(Whom),
    Established(Whom, Given),
    HandshakeFailed(Whom, HandshakeFailure),
    Readable(Whom),
    Checked(Whom, CheckResult),
    /// A connection in the pool is dead.
    Closed(Whom),
    AcceptEnded,
    /// A peer of this source has connected.
    Accept(u8),
    FirstByte(Whom),
    /// The handshake of a peer is over, with certificate number n, if there are certificates.
    Admit(Whom, u8),
    // time
    Timeout(When),
    /// Time passes, and nobody reports a timeout.
    Pass(Span),
    /// The clock is set back.
    Back(Span),
}

/// Kinds of [`Op`], for those who count which occurred.
pub const KINDS: usize = 38;

impl Op {
    /// Which kind it is, below [`KINDS`].
    pub const fn kind(&self) -> usize {
        match self {
            Self::Acquired => 0,
            Self::AcquireAgain => 1,
            Self::AcquireById(_) => 2,
            Self::WaitReady(_) => 3,
            Self::Collect(_) => 4,
            Self::Cancel(_) => 5,
            Self::Why(_) => 6,
            Self::Put(_) => 7,
            Self::PutDrained(..) => 8,
            Self::Reject(..) => 9,
            Self::Release(_) => 10,
            Self::PutForeign => 11,
            Self::Clean => 12,
            Self::Flush => 13,
            Self::Close => 14,
            Self::AddError => 15,
            Self::ResetError => 16,
            Self::Dialed(_) => 17,
            Self::DialFailed(_) => 18,
            Self::Established(..) => 19,
            Self::HandshakeFailed(..) => 20,
            Self::Readable(_) => 21,
            Self::Checked(..) => 22,
            Self::Closed(_) => 23,
            Self::AcceptEnded => 24,
            Self::Accept(_) => 25,
            Self::Timeout(_) => 26,
            Self::Pass(_) => 27,
            Self::Back(_) => 28,
            Self::FirstByte(_) => 29,
            Self::Admit(..) => 30,
            Self::DialNow => 31,
            Self::EndFinished => 32,
            Self::GracefulShutdown(_) => 33,
            Self::SetCapacity(..) => 34,
            Self::SetConfig(..) => 35,
            Self::AcquireClaimed => 36,
            Self::TimeOut(_) => 37,
        }
    }

    /// How many bytes [`arbitrary`](Self::arbitrary) takes at most.
    pub const BYTES: usize = 4;

    /// A step decoded from bytes, for a machine that `dials` or one that admits: frequent are those
    /// that keep a pool of that side alive.
    pub fn arbitrary(dials: bool, next: &mut impl FnMut() -> u8) -> Self {
        match next() {
            0..26 => Self::Acquired,
            26..30 => Self::AcquireAgain,
            30..44 => Self::AcquireById(WhoseId::arbitrary(next)),
            44..49 => Self::WaitReady(next() % 7),
            49..52 => Self::AcquireClaimed,
            52..70 => Self::Collect(Who::arbitrary(next)),
            70..75 => Self::Cancel(Who::arbitrary(next)),
            75..80 => Self::TimeOut(Who::arbitrary(next)),
            80..84 => Self::Why(Who::arbitrary(next)),
            84..86 => Self::SetConfig(next(), next()),
            86..96 => Self::Put(Whom::arbitrary(next)),
            96..106 => Self::PutDrained(Whom::arbitrary(next), result(next)),
            106..114 => Self::Reject(Whom::arbitrary(next), result(next)),
            114..117 => Self::Release(Whom::arbitrary(next)),
            117 => Self::DialNow,
            118 => Self::PutForeign,
            119 => Self::AddError,
            120 => Self::ResetError,
            121 => Self::Clean,
            122 => Self::SetCapacity(next() % 9, next() > 127),
            123 => Self::EndFinished,
            124..127 => Self::Flush,
            127 => Self::close_rarely(next),
            128..166 => Self::first_half(dials, next),
            166..196 => Self::Established(Whom::arbitrary(next), Given::arbitrary(next)),
            196..200 => Self::HandshakeFailed(
                Whom::arbitrary(next),
                [HandshakeFailure::Tls, HandshakeFailure::Id, HandshakeFailure::Transport]
                    [usize::from(next() % 3)],
            ),
            200..214 => Self::Readable(Whom::arbitrary(next)),
            214..228 => Self::Checked(Whom::arbitrary(next), result(next)),
            228..232 => Self::Closed(Whom::arbitrary(next)),
            232 => Self::AcceptEnded,
            233..248 => Self::Timeout(When::arbitrary(next)),
            248..255 => Self::Pass(Span::arbitrary(next)),
            255 => Self::Back(Span::arbitrary(next)),
        }
    }

    /// How connections begin on this side; now and then what only fits the other.
    fn first_half(dials: bool, next: &mut impl FnMut() -> u8) -> Self {
        match (dials, next()) {
            (true, 0..208) | (false, 240..248) => Self::Dialed(Whom::arbitrary(next)),
            (true, 208..) | (false, 248..) => Self::DialFailed(Whom::arbitrary(next)),
            (false, 0..90) => Self::Accept(next()),
            (false, 90..130) => Self::FirstByte(Whom::arbitrary(next)),
            (false, 130..240) => Self::Admit(Whom::arbitrary(next), next()),
        }
    }

    /// After it nothing much happens any more.
    fn close_rarely(next: &mut impl FnMut() -> u8) -> Self {
        match next() {
            0..40 => Self::Close,
            40..60 => Self::GracefulShutdown(None),
            60..120 => Self::GracefulShutdown(Some(Span::arbitrary(next))),
            _ => Self::Acquired,
        }
    }
}

fn result(next: &mut impl FnMut() -> u8) -> CheckResult {
    match next() {
        0..170 => CheckResult::Quiet,
        170..205 => CheckResult::Data,
        205..220 => CheckResult::Finished,
        220.. => CheckResult::Closed,
    }
}

impl Whom {
    fn arbitrary(next: &mut impl FnMut() -> u8) -> Self {
        match next() {
            byte @ 0..220 => Self::Nth(byte % 8),
            byte @ 220..238 => Self::Any(byte % 8),
            byte @ 238..253 => Self::Ended(byte % 8),
            253.. => Self::Foreign,
        }
    }
}

impl Who {
    fn arbitrary(next: &mut impl FnMut() -> u8) -> Self {
        match next() {
            byte @ 0..235 => Self::Nth(byte % 8),
            byte @ 235..252 => Self::Over(byte % 4),
            252.. => Self::Foreign,
        }
    }
}

impl WhoseId {
    fn arbitrary(next: &mut impl FnMut() -> u8) -> Self {
        match next() {
            byte @ 0..150 => Self::Live(byte % 8),
            byte @ 150..190 => Self::Ended(byte % 4),
            byte @ 190.. => Self::Made(byte % 3),
        }
    }
}

impl Given {
    fn arbitrary(next: &mut impl FnMut() -> u8) -> Self {
        match next() {
            0..190 => Self::Fresh,
            190..200 => Self::Missing,
            byte @ 200..215 => Self::Same(WhoseId::Live(byte % 4)),
            byte @ 215..230 => Self::Same(WhoseId::Ended(byte % 4)),
            byte @ 230.. => Self::Same(WhoseId::Made(byte % 3)),
        }
    }
}

impl Span {
    fn arbitrary(next: &mut impl FnMut() -> u8) -> Self {
        const MILLIS: [u32; 8] = [1, 100, 400, 999, 1000, 3000, 10_000, 60_000];
        match next() {
            0..16 => Self::Nanosecond,
            byte => Self::Millis(MILLIS[usize::from(byte) % MILLIS.len()]),
        }
    }

    pub const fn duration(self) -> std::time::Duration {
        match self {
            Self::Nanosecond => std::time::Duration::from_nanos(1),
            Self::Millis(millis) => std::time::Duration::from_millis(millis as u64),
        }
    }
}

impl When {
    fn arbitrary(next: &mut impl FnMut() -> u8) -> Self {
        match next() {
            0..170 => Self::Due,
            170..200 => Self::Now,
            200..225 => Self::Early,
            225.. => Self::Late(Span::arbitrary(next)),
        }
    }
}
