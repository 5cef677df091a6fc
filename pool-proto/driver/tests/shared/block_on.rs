//! `block_on`: waiting for a future on a thread.

use std::future::{poll_fn, ready};
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use pool_driver::shared::block_on;

use crate::rig::{ManualClock, ms, secs};

/// The deadline of tests that wait for a wake: if the wake is lost, they fail instead of hanging.
const LONG: Duration = secs(20);

#[test]
fn a_ready_result_is_returned_at_once() {
    assert_eq!(block_on(&mut ready(7), &ManualClock::default(), ms(0)), Poll::Ready(7));
}

#[test]
fn without_a_wake_the_wait_ends_at_the_deadline() {
    let mut polls = 0;
    let mut never = poll_fn(|_| {
        polls += 1;
        Poll::<()>::Pending
    });
    assert_eq!(block_on(&mut never, &ManualClock::default(), ms(1)), Poll::Pending);
    assert_eq!(polls, 1);
}

#[test]
fn a_wake_before_the_sleep_is_not_lost() {
    let mut polls = 0;
    let mut eager = poll_fn(|cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls == 3 { Poll::Ready(polls) } else { Poll::Pending }
    });
    assert_eq!(block_on(&mut eager, &ManualClock::default(), ms(0)), Poll::Ready(3));
}

#[test]
fn wakes_before_the_sleep_cause_one_poll() {
    let mut polls = 0;
    let mut once = poll_fn(|cx| {
        polls += 1;
        if polls == 1 {
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    });
    assert_eq!(block_on(&mut once, &ManualClock::default(), ms(1)), Poll::Pending);
    assert_eq!(polls, 2);
}

#[test]
fn a_wake_from_another_thread_ends_the_sleep() {
    let (sender, receiver) = channel::<Waker>();
    let waker = thread::spawn(move || {
        for waker in receiver {
            // The other thread usually falls asleep in this time; the test is valid either way.
            (0..1000).for_each(|_| thread::yield_now());
            waker.wake();
        }
    });
    let mut polls = 0;
    let mut called = poll_fn(|cx| {
        polls += 1;
        // The first four wakes are spurious.
        if polls == 5 {
            return Poll::Ready(polls);
        }
        sender.send(cx.waker().clone()).unwrap();
        Poll::Pending
    });
    assert_eq!(block_on(&mut called, &ManualClock::default(), LONG), Poll::Ready(5));
    drop(sender);
    waker.join().unwrap();
}

#[test]
fn all_polls_share_one_deadline() {
    let clock = ManualClock::default();
    let mut polls = 0;
    let mut restless = poll_fn(|_| {
        polls += 1;
        // No wake, but the deadline passes during the poll: the wait must end without a sleep.
        clock.pass(LONG);
        Poll::<()>::Pending
    });
    assert_eq!(block_on(&mut restless, &clock, LONG), Poll::Pending);
    assert_eq!(polls, 1);
}

/// Each wake finds the clock later. The last wake comes after the deadline, when nobody waits any more.
#[test]
fn wakes_do_not_extend_the_deadline() {
    let clock = ManualClock::default();
    let (mut polls, mut late) = (0, None);
    let mut restless = poll_fn(|cx| {
        polls += 1;
        clock.pass(LONG / 10);
        if polls > 10 {
            return Poll::Ready(());
        }
        if polls < 10 {
            cx.waker().wake_by_ref();
        } else {
            let waker = cx.waker().clone();
            late = Some(thread::spawn(move || {
                thread::sleep(ms(50));
                waker.wake();
            }));
        }
        Poll::Pending
    });
    assert_eq!(block_on(&mut restless, &clock, LONG), Poll::Pending);
    assert_eq!(polls, 10);
    late.unwrap().join().unwrap();
}

#[test]
fn the_clock_may_start_after_its_epoch() {
    let clock = ManualClock::default();
    clock.pass(secs(5));
    let mut polls = 0;
    let mut second = poll_fn(|cx| {
        polls += 1;
        cx.waker().wake_by_ref();
        if polls == 2 { Poll::Ready(()) } else { Poll::Pending }
    });
    assert_eq!(block_on(&mut second, &clock, LONG), Poll::Ready(()));
}
