//! States with one key have one future: the assumption of the exploration.
//!
//! Of states that several scripts lead to, the pools at the ends of two such scripts are put side by
//! side. Each step that one can take the other can, too, perhaps under another number; both answer
//! and do the same in other names, count the same, have the same deadlines, and come to states with
//! one key. Then both go on with one of these steps, chosen at random.

use std::collections::HashSet;
use std::fmt::Write;

use pool_proto::{
    Acquired, Action, CanonicalNames, Collected, Instant, Refusal, Stock, WaitOutcome,
};

use crate::explore::{Scripts, Seen, States};
use crate::steps::has_subject;
use pool_testkit::call::Answer;
use pool_testkit::call::TestRole;
use pool_testkit::oracle::Checked;
use pool_testkit::oracle::checked::Outcome;
use pool_testkit::oracle::op::Op;
use pool_testkit::oracle::state_key::Naming;

/// How many steps each pair goes on.
const ROUNDS: usize = 4;

impl Scripts<'_> {
    /// Compares pairs, and returns how many.
    pub(crate) fn assert_sameness<R: TestRole + Clone + Sync>(&self) -> usize {
        // On one core, so that a difference comes again at each run.
        let (states, again) = self.explore_on::<R>(1, &mut Seen::default());
        for (at, (key, script)) in again.iter().enumerate() {
            let other = states[key];
            assert_ne!(*script, other);
            let mut pair = [self.replay::<R>(*script), self.replay::<R>(other)];
            for round in 0..ROUNDS {
                let [ours, theirs] = pair.each_ref().map(|checked| self.futures(checked));
                let texts = |futures: &[(String, Checked<R>)]| -> Vec<String> {
                    futures.iter().map(|(text, _)| text.clone()).collect()
                };
                assert_eq!(texts(&ours), texts(&theirs), "after {script:?} and {other:?}");
                // Any will do, and the same in every run.
                let chosen = (at * 31 + round * 17) % ours.len();
                pair = [ours, theirs].map(|futures| futures.into_iter().nth(chosen).unwrap().1);
            }
        }
        self.assert_told_apart::<R>(&states);
        again.len()
    }

    /// The machine alone tells states apart as well as it does with the naive pool at its side, which
    /// sees a little more (the order of two waiters of different queues): nothing of it is left out.
    fn assert_told_apart<R: TestRole>(&self, states: &States) {
        let keys = states.values().map(|script| self.replay::<R>(*script).key_of(true, false));
        let machines: HashSet<u128> = keys.collect();
        let (machines, all) = (machines.len(), states.len());
        println!("{}: {machines} of {all} states told apart by the machine alone", self.name);
        assert!(machines * 100 > all * 99, "{machines} of {all}");
    }

    /// Every step from here with its outcome in words without names, in the order of these words.
    fn futures<R: TestRole + Clone>(&self, here: &Checked<R>) -> Vec<(String, Checked<R>)> {
        let mut futures = Vec::new();
        for op in self.alphabet.steps.iter().chain(&self.alphabet.futile) {
            if !has_subject(here, op) {
                continue;
            }
            let mut next = here.clone();
            let outcome = next.apply(op);
            if outcome.is_some() || matches!(op, Op::Pass(_) | Op::Back(_)) {
                futures.push((tell(here, op, outcome.as_ref(), &next), next));
            }
        }
        futures.sort_by(|(ours, _), (theirs, _)| ours.cmp(theirs));
        futures
    }
}

/// Everything that is seen of a step, and the key of the state it leads to.
fn tell<R: TestRole>(
    here: &Checked<R>,
    op: &Op,
    outcome: Option<&Outcome>,
    next: &Checked<R>,
) -> String {
    let (before, after) = (here.naming(), next.naming());
    let mut text = format!("{}: ", op.kind());
    if let Some(outcome) = outcome {
        text += &answer(&outcome.answer, &before, &after);
        let mut actions: Vec<String> =
            outcome.actions.iter().map(|did| action(did, &before, &after)).collect();
        // Which of several sources makes room, and which connections end first, is not promised.
        actions.sort_unstable();
        let _ = write!(text, "; {actions:?}");
    }
    let due = next.machine().poll_timeout().map(|due| distance(due, next.ledger().seen()));
    let _ = write!(text, "; due {due:?}; {:?}; {:x}", counted(here, next), next.key());
    text
}

const fn distance(at: Instant, from: Instant) -> i128 {
    at.as_nanos() as i128 - from.as_nanos() as i128
}

/// How each number of the statistics has changed.
fn counted<R: TestRole>(before: &Checked<R>, after: &Checked<R>) -> Vec<i128> {
    let numbers = |checked: &Checked<R>| -> Vec<i128> {
        let mut stats = *checked.stats();
        if checked.machine().is_closed() {
            // Nothing is made for it any more.
            stats.capacity = 0;
        }
        // They print in various units.
        let interval = std::mem::take(&mut stats.interval).as_nanos();
        let lead_time = std::mem::take(&mut stats.lead_time).unwrap_or_default().as_nanos();
        // A number that is not always there.
        let ceiling = std::mem::take(&mut stats.ceiling).map_or(0, |ceiling| ceiling + 1);
        let text = format!("{stats:?} {interval} {lead_time} {ceiling}");
        let words = text.split(|other: char| !other.is_ascii_digit());
        words.filter_map(|word| word.parse().ok()).collect()
    };
    numbers(before).iter().zip(numbers(after)).map(|(before, after)| after - before).collect()
}

fn answer(answer: &Answer, before: &Naming, after: &Naming) -> String {
    match answer {
        Answer::Acquired(Acquired::Ready(lease)) | Answer::Collected(Collected::Ready(lease)) => {
            format!("the lease of {}", before.connection(lease.token))
        }
        Answer::Acquired(Acquired::Queued(waiter)) | Answer::Stock(Stock::Queued(waiter)) => {
            format!("{} waits", after.waiter(*waiter))
        }
        Answer::Acquired(Acquired::Refused(refusal))
        | Answer::Stock(Stock::Refused(refusal))
        | Answer::Collected(Collected::Refused(refusal))
        | Answer::Outcome(WaitOutcome::Refused(refusal)) => match refusal {
            Refusal::Gone { id, reason } => format!("{:?} is gone: {reason:?}", before.id(*id)),
            Refusal::UnknownId { id } => format!("nobody knows {:?}", before.id(*id)),
            Refusal::AcquiredHere { id } => format!("{:?} is acquired here", before.id(*id)),
            other => format!("{other:?}"),
        },
        Answer::Accepted(Ok(token)) => format!("{} joins", after.connection(*token)),
        Answer::Admitted(Ok(id)) => format!("it is {:?}", after.id(*id)),
        other => format!("{other:?}"),
    }
}

fn action(action: &Action<u32>, before: &Naming, after: &Naming) -> String {
    match action {
        Action::Dial { token } => format!("dial {}", after.connection(*token)),
        Action::Check { token, kind, .. } => {
            format!("check {} {kind:?}", before.connection(*token))
        }
        Action::Close { token, reason, .. } => {
            format!("close {} {reason:?}", before.connection(*token))
        }
        Action::Abort { token, reason } => {
            format!("abort {} {reason:?}", before.connection(*token))
        }
        Action::Wake { waiter } => format!("wake {}", before.waiter(*waiter)),
    }
}
