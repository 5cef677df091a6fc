//! The driver's side of the machine: its commands and their order, and wakes only when it has work.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake as _, Waker};

use pool_driver::Clock;
use pool_driver::shared::{
    AcquireError, Command, Deadline as _, ReadinessWaker, SharedMachine, TURN,
};
use pool_proto::{CloseReason, Dialing, Event, Instant, WaitReason};

use crate::rig::{Counter, Fake, Plan, Rig, Side, client, filled, ms, secs, server};

/// Polls for work, as the driver does before it sleeps.
pub(crate) fn poll_work<R: Side>(rig: &Rig<R>, driver: &Arc<Counter>) -> Poll<()> {
    rig.shared.poll_work(&mut Context::from_waker(&driver.waker()))
}

/// Returns the waker of a driver that has taken its turn and sleeps.
fn asleep<R: Side>(rig: &mut Rig<R>) -> Arc<Counter> {
    rig.turn();
    let driver = Counter::new(rig.guard());
    assert!(poll_work(rig, &driver).is_pending());
    driver
}

fn commands<R: Side>(rig: &Rig<R>) -> Vec<String> {
    let mut commands = Vec::new();
    rig.shared.turn(&mut commands);
    let texts = commands.iter().map(|command| match command {
        Command::Dial { token } => format!("dial {}", token.slot()),
        Command::Close { connection, reason } => {
            format!("close {} {reason:?}", connection.number())
        }
        Command::Abort { token, reason } => format!("abort {} {reason:?}", token.slot()),
        Command::Interrupt { .. } => "interrupt".to_owned(),
    });
    texts.collect()
}

// --- commands -----------------------------------------------------------------------------------

#[test]
fn a_client_begins_with_its_dials() {
    let rig = client(Plan::of(2));
    assert_eq!(commands(&rig), ["dial 0", "dial 1"]);
    assert_eq!(commands(&rig), [""; 0], "each command is given once");
}

#[test]
fn commands_keep_their_order() {
    let (mut rig, _) = filled(Plan { max_connections: 3, ..Plan::of(2) });
    let leased = rig.any().take();
    assert_eq!(commands(&rig), ["dial 2"]);
    rig.flush();
    drop(leased);
    let all = commands(&rig);
    assert_eq!(all[..2], ["abort 2 Flushed", "close 1 Flushed"], "{all:?}");
    assert_eq!(rig.book.revoked(0), Some(CloseReason::Flushed));
    assert!(all[2..].iter().all(|command| command.starts_with("dial")), "{all:?}");
    assert_eq!(all.len(), 4, "{all:?}");
}

// --- the limit of a turn ------------------------------------------------------------------------

/// A step more than three turns take.
const MANY: u32 = 25;

/// Takes single turns until nothing is left. Returns how far `count` has come after each of them.
fn steps(rig: &Rig<Dialing>, count: impl Fn(usize) -> usize) -> Vec<usize> {
    let (mut commands, mut counts) = (Vec::new(), Vec::new());
    while rig.shared.turn(&mut commands).is_full {
        counts.push(count(commands.len()));
    }
    counts.push(count(commands.len()));
    counts
}

const STEPS: [usize; 4] = [TURN, 2 * TURN, 3 * TURN, 3 * TURN + 1];

#[test]
fn a_turn_has_a_limit_of_commands() {
    let (mut rig, _) = filled(Plan::of(MANY));
    rig.close();
    assert_eq!(steps(&rig, |commands| commands), STEPS);
}

#[test]
fn a_turn_has_a_limit_of_readable_connections() {
    let (rig, conns) = filled(Plan::of(MANY));
    conns.iter().for_each(|conn| ReadinessWaker::new(&rig.shared, conn.token).wake());
    let checked = || conns.iter().filter(|conn| rig.book.checked(conn.number) == 2).count();
    assert_eq!(steps(&rig, |_| checked()), STEPS);
}

#[test]
fn a_turn_has_a_limit_of_checks() {
    let (rig, conns) = filled(Plan { reuse_delay: ms(5), ..Plan::of(MANY) });
    let leases: Vec<_> = conns.iter().map(|_| rig.any().take()).collect();
    leases.into_iter().for_each(|leased| leased.put(&rig.shared).unwrap());
    rig.clock.pass(ms(5));
    let drained = || conns.iter().filter(|conn| rig.book.drained(conn.number) == 1).count();
    assert_eq!(steps(&rig, |_| drained()), STEPS);
    assert_eq!(rig.stats().idle, MANY);
}

#[test]
fn a_deadline_does_not_wait_for_a_check_that_is_left_for_the_next_turn() {
    let (rig, conns) = filled(Plan { reuse_delay: ms(5), ..Plan::of(MANY) });
    let leases: Vec<_> = conns.iter().map(|_| rig.any().take()).collect();
    leases.into_iter().for_each(|leased| leased.put(&rig.shared).unwrap());
    rig.clock.pass(ms(5));
    rig.shared.turn(&mut Vec::new());
    // No further turn: the driver's runtime may be blocked.
    let mut acquire = rig.shared.acquire_by_id(conns[MANY as usize - 1].id);
    acquire.expire();
    let answer = Pin::new(&mut acquire).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Err(AcquireError::Timeout { why, .. })) = answer else {
        panic!("the acquire goes on waiting")
    };
    assert_eq!(why, WaitReason::IdChecking);
}

#[test]
fn what_is_left_for_the_next_turn_is_work() {
    let (mut rig, _) = filled(Plan::of(MANY));
    let driver = asleep(&mut rig);
    rig.shared.run(|machine, now| machine.clean(now));
    assert_eq!(driver.wakes(), 1);
    rig.shared.turn(&mut Vec::new());
    assert!(poll_work(&rig, &driver).is_ready());
}

#[test]
fn a_flush_ends_the_pending_calls_of_a_few_leases_and_the_driver_those_of_the_others() {
    let (mut rig, conns) = filled(Plan::of(100));
    let leases: Vec<_> = conns.iter().map(|_| rig.any().take()).collect();
    rig.flush();
    assert_eq!(rig.book.revoked_count(), 100);
    assert_eq!(rig.book.interrupted(), [100; 16]);
    rig.turn();
    assert_eq!(rig.book.interrupted(), [100; 100]);
    drop(leases);
}

#[test]
fn a_turn_appends_its_commands() {
    let rig = client(Plan::of(2));
    let mut commands = Vec::new();
    rig.shared.turn(&mut commands);
    rig.shared.run(|machine, now| machine.flush(now));
    rig.shared.turn(&mut commands);
    assert_eq!(commands.len(), 6);
}

#[test]
fn a_turn_handles_due_deadlines_and_returns_the_next() {
    let mut rig = client(Plan::ONE);
    rig.turn();
    let due = Instant::EPOCH + secs(10);
    assert_eq!(rig.due, Some(due), "the dial's timeout");
    rig.pass(secs(9));
    assert_eq!((rig.due, rig.aborted.len()), (Some(due), 0));
    rig.pass(secs(1));
    assert_eq!(rig.aborted.len(), 1);
    assert!(rig.due.is_some_and(|next| next > due), "the backoff");
}

#[test]
fn a_turn_without_deadlines_returns_none() {
    let mut rig = server(Plan::ONE);
    rig.turn();
    assert_eq!(rig.due, None);
}

// --- wakes --------------------------------------------------------------------------------------

#[test]
fn the_driver_sleeps_only_without_work() {
    let mut rig = client(Plan::ONE);
    let driver = Counter::new(rig.guard());
    assert!(poll_work(&rig, &driver).is_ready(), "there are dials to begin");
    assert_eq!(driver.wakers(), 0, "the waker is not kept");
    rig.turn();
    assert!(poll_work(&rig, &driver).is_pending());
    assert_eq!(driver.wakers(), 1);
    rig.flush();
    assert!(poll_work(&rig, &driver).is_ready());
}

#[test]
fn commands_wake_the_driver_once_per_sleep() {
    let (mut rig, _) = filled(Plan::of(2));
    let (first, second) = (rig.any().take(), rig.any().take());
    let driver = asleep(&mut rig);
    drop(first);
    assert_eq!((driver.wakes(), driver.wakers()), (1, 0));
    drop(second);
    assert_eq!(driver.wakes(), 1);
    rig.turn();
    assert!(poll_work(&rig, &driver).is_pending());
    rig.flush();
    assert_eq!(driver.wakes(), 2);
}

#[test]
fn only_the_last_waker_is_woken() {
    let (mut rig, _) = filled(Plan::ONE);
    let former = asleep(&mut rig);
    let driver = Counter::new(rig.guard());
    assert!(poll_work(&rig, &driver).is_pending());
    assert_eq!(former.wakers(), 0);
    rig.flush();
    assert_eq!((former.wakes(), driver.wakes()), (0, 1));
}

#[test]
fn takes_and_puts_do_not_wake_the_driver() {
    for reuse_delay in [ms(0), ms(50)] {
        let (mut rig, _) = filled(Plan { reuse_delay, ..Plan::ONE });
        // With a delay, the connection rests, and the driver sleeps until the end of the delay.
        rig.any().take().put(&rig.shared).unwrap();
        let driver = asleep(&mut rig);
        for _ in 0..5 {
            let task = rig.any();
            if reuse_delay.is_zero() {
                task.take().put(&rig.shared).unwrap();
            } else {
                task.queue();
                task.cancel();
            }
        }
        assert_eq!(driver.wakes(), 0, "{reuse_delay:?}");
    }
}

#[test]
fn waiters_do_not_wake_the_driver() {
    let mut rig = client(Plan::ONE);
    let driver = asleep(&mut rig);
    for task in [rig.any(), rig.stock(), rig.by_id(crate::rig::id(9))] {
        task.queue();
    }
    assert_eq!(driver.wakes(), 0);
}

#[test]
fn serving_a_waiter_does_not_wake_the_driver() {
    let (mut rig, _) = filled(Plan::ONE);
    let leased = rig.any().take();
    let task = rig.any();
    task.queue();
    let driver = asleep(&mut rig);
    leased.put(&rig.shared).unwrap();
    assert_eq!((task.wakes(), driver.wakes()), (1, 0));
    task.cancel();
    assert_eq!(driver.wakes(), 0);
}

#[test]
fn grants_wake_the_driver_once_in_the_time_of_a_grant() {
    let (mut rig, _) = filled(Plan::ONE);
    // After the deadlines of the dial.
    rig.pass(secs(60));
    let mut wakes = 0;
    for _ in 0..100 {
        let leased = rig.any().take();
        let task = rig.any();
        task.queue();
        let driver = asleep(&mut rig);
        leased.put(&rig.shared).unwrap();
        wakes += driver.wakes();
        drop(task.take());
        rig.connect();
    }
    assert_eq!(wakes, 1);
}

#[test]
fn an_earlier_deadline_wakes_the_driver() {
    let (mut rig, _) = filled(Plan { reuse_delay: ms(50), ..Plan::of(2) });
    let (first, second) = (rig.any().take(), rig.any().take());
    // The driver keeps the deadlines of dials that were met.
    rig.pass(secs(60));
    let driver = asleep(&mut rig);
    assert_eq!(rig.due, Some(Instant::EPOCH + secs(3600)), "the end of the lifetimes");
    first.put(&rig.shared).unwrap();
    assert_eq!(driver.wakes(), 1, "the reuse delay ends earlier");
    rig.turn();
    assert_eq!(rig.due, Some(Instant::EPOCH + secs(60) + ms(50)));
    assert!(poll_work(&rig, &driver).is_pending());
    second.put(&rig.shared).unwrap();
    assert_eq!(driver.wakes(), 1, "the same deadline is not an earlier one");
}

#[test]
fn a_later_deadline_does_not_wake_the_driver() {
    let (mut rig, _) = filled(Plan { reuse_delay: ms(50), ..Plan::of(2) });
    let (first, second) = (rig.any().take(), rig.any().take());
    first.put(&rig.shared).unwrap();
    let driver = asleep(&mut rig);
    rig.clock.pass(ms(10));
    second.put(&rig.shared).unwrap();
    assert_eq!(driver.wakes(), 0);
}

#[test]
fn the_first_deadline_wakes_the_driver() {
    let mut rig = server(Plan::ONE);
    let driver = asleep(&mut rig);
    assert_eq!(rig.due, None);
    let _in_flight = rig.begin();
    assert_eq!(driver.wakes(), 1, "the handshake's timeout");
}

#[test]
fn an_earlier_deadline_while_the_driver_is_awake_is_work() {
    let mut rig = server(Plan::ONE);
    rig.turn();
    let _in_flight = rig.begin();
    let driver = Counter::new(rig.guard());
    assert!(poll_work(&rig, &driver).is_ready());
    rig.turn();
    assert!(poll_work(&rig, &driver).is_pending());
}

#[test]
fn a_check_that_ends_at_once_does_not_wake_the_driver() {
    let (mut rig, conns) = filled(Plan::ONE);
    let checked = rig.book.checked(0);
    let driver = asleep(&mut rig);
    rig.shared.event(Event::Readable { token: conns[0].token });
    assert_eq!(rig.book.checked(0), checked + 1);
    assert_eq!(driver.wakes(), 0, "the check's own deadline was the earliest for a moment");
}

#[test]
fn a_close_wakes_the_driver_and_keeps_it_awake() {
    let mut rig = server(Plan::ONE);
    let driver = asleep(&mut rig);
    assert!(!rig.shared.is_closed());
    rig.close();
    assert_eq!(driver.wakes(), 1);
    assert!(rig.shared.is_closed());
    rig.turn();
    assert!(poll_work(&rig, &driver).is_ready());
}

// --- the end ------------------------------------------------------------------------------------

#[test]
fn before_its_end_the_driver_closes_connections() {
    let (mut rig, _) = filled(Plan::of(2));
    rig.close();
    assert_eq!(rig.book.open_count(), 2);
    assert_eq!(commands(&rig).len(), 2);
}

#[test]
fn after_the_drivers_end_connections_are_dropped_in_place() {
    let (mut rig, _) = filled(Plan::of(3));
    let leased = rig.any().take();
    rig.shared.end();
    rig.close();
    assert_eq!(rig.book.open_count(), 1, "the leased connection");
    assert_eq!(leased.put(&rig.shared), Err(pool_proto::PutError::PoolClosed));
    assert_eq!(rig.book.open_count(), 0);
    assert!(commands(&rig).iter().all(|command| command.starts_with("abort")));
    rig.book.assert_sound("at the end");
}

#[test]
fn commands_before_the_drivers_end_are_left_to_its_last_turn() {
    let (mut rig, _) = filled(Plan::of(2));
    rig.close();
    rig.shared.end();
    assert_eq!(rig.book.open_count(), 2);
    assert_eq!(commands(&rig), ["close 1 PoolClosed", "close 0 PoolClosed"]);
}

// --- clocks -------------------------------------------------------------------------------------

/// A clock whose coarse time is 4 ms behind.
struct Lagging;

impl Clock for Lagging {
    fn now(&self) -> Instant {
        Instant::EPOCH + secs(10)
    }

    fn coarse(&self) -> Instant {
        Instant::EPOCH + ms(9_996)
    }
}

#[test]
fn calls_use_the_coarse_time_and_turns_the_exact_one() {
    // The dial began at the epoch, and its timeout is ten seconds.
    let shared = SharedMachine::<Fake, _>::new(Dialing::machine(Plan::ONE), Lagging);
    assert_eq!(shared.run(|_, now| now), Instant::EPOCH + ms(9_996));
    let mut commands = Vec::new();
    shared.turn(&mut commands);
    assert!(matches!(commands[..], [Command::Dial { .. }, Command::Abort { .. }]), "{commands:?}");
}

#[test]
fn the_coarse_time_defaults_to_the_exact_one() {
    let rig = client(Plan::ONE);
    rig.clock.pass(secs(3));
    assert_eq!(rig.clock.coarse(), Instant::EPOCH + secs(3));
    assert_eq!(rig.shared.run(|_, now| now), Instant::EPOCH + secs(3));
}

#[test]
fn a_close_revokes_a_lease_with_its_reason() {
    let (mut rig, conns) = filled(Plan::ONE);
    let _held = rig.any().take();
    rig.close();
    assert_eq!(rig.book.revoked(conns[0].number), Some(CloseReason::PoolClosed));
}
