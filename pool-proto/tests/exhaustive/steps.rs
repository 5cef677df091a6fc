//! Every step there is, with each of its subjects.

use pool_proto::{CheckResult, HandshakeFailure};

use pool_testkit::call::TestRole;
use pool_testkit::ledger::Place;
use pool_testkit::oracle::Checked;
use pool_testkit::oracle::op::{Given, Op, Span, When, Who, Whom, WhoseId};
use pool_testkit::setup::Side;

/// The steps that a pool is put through.
#[derive(Clone)]
pub(crate) struct Alphabet {
    /// Steps that may change a state.
    pub(crate) steps: Vec<Op>,
    /// Steps that must not: they count, answer, or close the connection that came with them.
    pub(crate) futile: Vec<Op>,
}

/// The subjects of each kind: as many as there can be, and another one.
const SUBJECTS: u8 = 3;
/// Leases and checks that users and driver hold, those of ended connections included.
const HELD: u8 = 8;

const RESULTS: [CheckResult; 4] =
    [CheckResult::Quiet, CheckResult::Data, CheckResult::Finished, CheckResult::Closed];

/// A stale step that tells a machine the time.
pub(crate) const STALE: Op = Op::Dialed(Whom::Foreign);

impl Alphabet {
    /// All steps of a client (`dials`), or of a server.
    pub(crate) fn whole(dials: bool) -> Self {
        let mut alphabet = Self { steps: Vec::new(), futile: Vec::new() };
        alphabet.of_nobody(dials);
        for number in 0..HELD {
            alphabet.of_held(Whom::Nth(number));
        }
        for number in 0..SUBJECTS {
            alphabet.of_connection(number, dials);
            alphabet.of_waiter(Who::Nth(number));
        }
        alphabet.of_what_is_over();
        alphabet
    }

    /// Timeouts a nanosecond before the deadline and after it as well. Without them all happens at
    /// whole seconds, which makes for fewer states.
    pub(crate) fn by_the_nanosecond(mut self) -> Self {
        self.steps.extend([When::Early, When::Late(Span::Nanosecond)].map(Op::Timeout));
        self
    }

    fn of_nobody(&mut self, dials: bool) {
        self.steps.extend([
            STALE,
            Op::Acquired,
            Op::AcquireAgain,
            Op::AcquireById(WhoseId::Made(0)),
            Op::AcquireById(WhoseId::Ended(0)),
            Op::AcquireClaimed,
            Op::WaitReady(1),
            Op::WaitReady(2),
            Op::Clean,
            Op::EndFinished,
            Op::Flush,
            Op::Close,
            Op::GracefulShutdown(None),
            Op::GracefulShutdown(Some(Span::Millis(1000))),
            Op::Timeout(When::Now),
            Op::Timeout(When::Due),
            Op::Timeout(When::Late(Span::Millis(1000))),
            Op::Pass(Span::Millis(1000)),
            Op::Back(Span::Millis(1000)),
        ]);
        self.futile.extend([Op::WaitReady(3), Op::PutForeign, Op::AddError, Op::ResetError]);
        match dials {
            true => {
                self.steps.push(Op::DialNow);
                self.steps.extend([Op::SetCapacity(1, true), Op::SetCapacity(2, true)]);
                self.futile.push(Op::SetCapacity(4, true));
                self.futile.push(Op::AcceptEnded);
            }
            false => self.steps.extend([Op::AcceptEnded, Op::Accept(0), Op::Accept(1)]),
        }
    }

    fn of_held(&mut self, whom: Whom) {
        self.steps.extend([Op::Put(whom), Op::Release(whom)]);
        for result in RESULTS {
            self.steps.extend([
                Op::PutDrained(whom, result),
                Op::Reject(whom, result),
                Op::Checked(whom, result),
            ]);
        }
    }

    fn of_connection(&mut self, number: u8, dials: bool) {
        let (whom, any) = (Whom::Nth(number), Whom::Any(number));
        self.steps.extend([
            Op::AcquireById(WhoseId::Live(number)),
            Op::Established(whom, Given::Fresh),
            Op::HandshakeFailed(whom, HandshakeFailure::Transport),
            Op::Readable(any),
            Op::Closed(any),
        ]);
        if !dials {
            self.steps.extend([Op::FirstByte(whom), Op::Admit(whom, 0), Op::Admit(whom, 1)]);
        } else {
            self.steps.extend([Op::Dialed(whom), Op::DialFailed(whom)]);
            self.steps.push(Op::Established(whom, Given::Missing));
            let live = (0..SUBJECTS).map(WhoseId::Live);
            for same in live.chain([WhoseId::Made(0), WhoseId::Ended(0)]) {
                self.steps.push(Op::Established(whom, Given::Same(same)));
            }
        }
        // Events about a connection that is in another state than they need.
        self.futile.extend([
            Op::Dialed(any),
            Op::DialFailed(any),
            Op::FirstByte(any),
            Op::Established(any, Given::Fresh),
            Op::HandshakeFailed(any, HandshakeFailure::Id),
            Op::Checked(any, CheckResult::Data),
            Op::Put(any),
            Op::Reject(any, CheckResult::Quiet),
        ]);
    }

    fn of_waiter(&mut self, who: Who) {
        self.steps.extend([Op::Collect(who), Op::Cancel(who), Op::TimeOut(who)]);
        self.futile.push(Op::Why(who));
    }

    fn of_what_is_over(&mut self) {
        for who in [Who::Over(0), Who::Foreign] {
            self.futile.extend([Op::Collect(who), Op::Cancel(who), Op::TimeOut(who), Op::Why(who)]);
        }
        let ended = Whom::Ended(0);
        self.futile.extend([
            Op::Dialed(ended),
            Op::DialFailed(ended),
            Op::Established(ended, Given::Fresh),
            Op::HandshakeFailed(ended, HandshakeFailure::Tls),
            Op::Readable(ended),
            Op::Checked(ended, CheckResult::Quiet),
            Op::Closed(ended),
            Op::Put(ended),
            Op::Reject(ended, CheckResult::Quiet),
        ]);
    }
}

/// Whether a step has a subject of its own, so that no step before it in the alphabet is the same.
pub(crate) fn has_subject<R: TestRole>(checked: &Checked<R>, op: &Op) -> bool {
    use Place::*;

    let (driver, ledger) = (checked.driver(), checked.ledger());
    // When there is nothing to come, a timeout is one at the time it is.
    let due = || checked.machine().poll_timeout().filter(|due| *due > driver.now);
    let nth = |number: u8, places: &[Place]| {
        let lives = ledger.lives();
        lives.iter().filter(|life| places.contains(&life.place)).count() > number.into()
    };
    let any = |number: u8, places: &[Place]| {
        ledger.lives().get(usize::from(number)).is_some_and(|life| places.contains(&life.place))
    };
    let named =
        |number: u8| ledger.lives().iter().filter(|life| life.id.is_some()).count() > number.into();
    match *op {
        Op::Dialed(Whom::Nth(n)) | Op::DialFailed(Whom::Nth(n)) => nth(n, &[Dialing]),
        Op::HandshakeFailed(Whom::Nth(n), _) => nth(n, &[Accepted, Handshaking, Admitted]),
        Op::FirstByte(Whom::Nth(n)) => nth(n, &[Accepted]),
        // Without certificates, all are alike.
        Op::Admit(Whom::Nth(n), number) => {
            nth(n, &[Accepted, Handshaking]) && (number == 0 || ledger.setup().certificates)
        }
        Op::Established(Whom::Nth(n), given) => {
            nth(n, &[if R::SIDE == Side::Client { Handshaking } else { Admitted }])
                && match given {
                    Given::Same(WhoseId::Live(whose)) => named(whose),
                    Given::Same(WhoseId::Ended(_)) => driver.latest_ended_id().is_some(),
                    _ => true,
                }
        }
        Op::Put(Whom::Nth(n))
        | Op::PutDrained(Whom::Nth(n), _)
        | Op::Reject(Whom::Nth(n), _)
        | Op::Release(Whom::Nth(n)) => driver.is_first_alike(driver.leases(), n),
        Op::Checked(Whom::Nth(n), _) => driver.is_first_alike(&driver.checks, n),
        Op::AcquireById(WhoseId::Live(n)) => named(n),
        Op::Collect(Who::Nth(n))
        | Op::Cancel(Who::Nth(n))
        | Op::TimeOut(Who::Nth(n))
        | Op::Why(Who::Nth(n)) => ledger.waiters().len() > n.into(),
        // A lease that its holder closes is released.
        Op::Closed(Whom::Any(n)) => {
            any(n, &[Dialing, Accepted, Handshaking, Admitted, Pooled, Checking])
        }
        Op::Readable(Whom::Any(n)) => ledger.lives().len() > n.into(),
        Op::Dialed(Whom::Any(n)) | Op::DialFailed(Whom::Any(n)) => {
            any(n, &[Accepted, Handshaking, Admitted, Pooled, Checking, Leased])
        }
        Op::FirstByte(Whom::Any(n)) => any(n, &[Handshaking, Admitted, Pooled, Checking, Leased]),
        Op::Established(Whom::Any(n), _) | Op::HandshakeFailed(Whom::Any(n), _) => {
            any(n, &[Dialing, Pooled, Checking, Leased])
        }
        Op::Checked(Whom::Any(n), _) => {
            any(n, &[Dialing, Accepted, Handshaking, Admitted, Pooled, Leased])
        }
        Op::Put(Whom::Any(n)) | Op::Reject(Whom::Any(n), _) => {
            any(n, &[Dialing, Accepted, Handshaking, Admitted, Pooled, Checking])
        }
        // A lease that is still held would be given back.
        Op::Put(Whom::Ended(_)) | Op::Reject(Whom::Ended(_), _) | Op::Closed(Whom::Ended(_)) => {
            driver.let_go(driver.leases())
        }
        Op::Checked(Whom::Ended(_), _) => driver.let_go(&driver.checks),
        Op::Timeout(When::Due) => due().is_some(),
        Op::Timeout(When::Early) => {
            due().is_some_and(|due| due.as_nanos() - 1 > driver.now.as_nanos())
        }
        // A clock that is behind already stays no further behind than it is.
        Op::Back(_) => driver.now >= ledger.seen(),
        _ => true,
    }
}
