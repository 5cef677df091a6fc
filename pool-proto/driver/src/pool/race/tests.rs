//! Races in virtual time: each address has a delay and an outcome, and the begun attempts are recorded.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use core::cell::{Cell, RefCell};
use core::pin::pin;
use core::task::{Context, Waker};
use std::io::ErrorKind;

use super::*;

const V6: [&str; 3] = ["[2001:db8::1]:9", "[2001:db8::2]:9", "[2001:db8::3]:9"];
const V4: [&str; 3] = ["192.0.2.1:9", "192.0.2.2:9", "192.0.2.3:9"];

fn parse(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn order(resolved: &[&str], won: Option<&str>) -> Vec<String> {
    let won = won.map(|won| won.parse().unwrap());
    attempt_order(parse(resolved), won).iter().map(ToString::to_string).collect()
}

#[test]
fn the_families_alternate_and_the_resolvers_first_address_leads() {
    let [a, b, c] = V6;
    let [p, q, r] = V4;
    assert_eq!(order(&[a, b, c, p, q, r], None), [a, p, b, q, c, r]);
    assert_eq!(order(&[p, q, r, a], None), [p, a, q, r]);
    assert_eq!(order(&[a, b], None), [a, b]);
    assert_eq!(order(&[], None), [""; 0]);
    assert_eq!(order(&[a, p, a, p], None), [a, p]);
    // IPv4 in another notation.
    assert_eq!(order(&["[::ffff:192.0.2.1]:9", p, a], None), ["[::ffff:192.0.2.1]:9", a, p]);
}

#[test]
fn the_last_winner_leads_or_an_address_of_its_family() {
    let [a, b, c] = V6;
    let [p, q, r] = V4;
    assert_eq!(order(&[a, b, c, p, q], Some(q)), [q, a, p, b, c]);
    assert_eq!(order(&[a, b, p, q], Some(b)), [b, p, a, q]);
    // The name does not have the address any more.
    assert_eq!(order(&[a, b, p, q], Some(r)), [p, a, q, b]);
    assert_eq!(order(&[a, b], Some(r)), [a, b]);
    assert_eq!(order(&[], Some(r)), [""; 0]);
}

#[test]
fn the_delay_leaves_each_address_its_share() {
    let ms = Duration::from_millis;
    assert_eq!(attempt_delay(ms(5000), 2), ms(250));
    assert_eq!(attempt_delay(ms(5000), 20), ms(250));
    assert_eq!(attempt_delay(ms(5000), 50), ms(100));
    assert_eq!(attempt_delay(ms(300), 3), ms(100));
    assert_eq!(attempt_delay(Duration::ZERO, 2), Duration::ZERO);
    assert_eq!(attempt_delay(ms(5000), 0), ms(250));
}

/// The outcome of an attempt: after so many milliseconds it connects or fails.
#[derive(Clone, Copy)]
enum Fate {
    Connects(u64),
    Fails(u64, ErrorKind),
    Silent,
}
use Fate::{Connects, Fails, Silent};

/// A network in virtual time, in milliseconds.
#[derive(Default)]
struct Net {
    now: Cell<u64>,
    /// Attempts: the address, when it began, and when it was dropped or over.
    begun: RefCell<Vec<(SocketAddr, u64)>>,
    under_way: Cell<usize>,
}

struct UnderWay<'a>(&'a Net);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
    }
}

impl Net {
    async fn until(&self, time: u64) {
        poll_fn(|_| if self.now.get() >= time { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    async fn connect(&self, address: SocketAddr, fate: Fate) -> io::Result<u64> {
        let began = self.now.get();
        self.begun.borrow_mut().push((address, began));
        self.under_way.set(self.under_way.get() + 1);
        let _under_way = UnderWay(self);
        match fate {
            Connects(after) => self.until(began + after).await,
            Fails(after, kind) => {
                self.until(began + after).await;
                return Err(kind.into());
            }
            Silent => core::future::pending().await,
        }
        Ok(self.now.get())
    }

    async fn pause(&self) {
        self.until(self.now.get() + 250).await;
    }
}

/// The result of a race, and when its attempts began.
struct Raced {
    /// The winner and the time of its victory; errors; or `None`, still undecided after a minute.
    outcome: Option<Result<(String, u64), Errors>>,
    begun: Vec<u64>,
}

fn run(fates: &[(&str, Fate)]) -> Raced {
    let net = Net::default();
    let addresses: Vec<_> = fates.iter().map(|(address, _)| address.parse().unwrap()).collect();
    let fate_of = |wanted: SocketAddr| {
        fates.iter().find(|(address, _)| *address == wanted.to_string()).unwrap().1
    };
    let outcome = {
        let connect = |address| net.connect(address, fate_of(address));
        let mut racing = pin!(race(addresses.clone(), connect, || net.pause()));
        let cx = &mut Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(outcome) = racing.as_mut().poll(cx) {
                break Some(outcome.map(|(address, at)| (address.to_string(), at)));
            }
            if net.now.get() > 60_000 {
                break None;
            }
            net.now.set(net.now.get() + 1);
        }
    };
    assert_eq!(net.under_way.get(), 0, "attempts outlive the race");
    let begun = net.begun.into_inner();
    // Each address is tried once at most, in the given order.
    assert!(begun.iter().zip(&addresses).all(|((tried, _), address)| tried == address));
    Raced { outcome, begun: begun.into_iter().map(|(_, at)| at).collect() }
}

fn won(fates: &[(&str, Fate)]) -> (String, u64, Vec<u64>) {
    let Raced { outcome, begun } = run(fates);
    let (address, at) = outcome.unwrap().unwrap();
    (address, at, begun)
}

#[test]
fn a_first_address_that_answers_has_no_rival() {
    let [a, ..] = V6;
    let [p, ..] = V4;
    assert_eq!(won(&[(a, Connects(0)), (p, Connects(0))]), (a.to_owned(), 0, vec![0]));
    assert_eq!(won(&[(a, Connects(249)), (p, Connects(0))]), (a.to_owned(), 249, vec![0]));
}

#[test]
fn a_silent_address_costs_one_delay() {
    let [a, b, ..] = V6;
    let [p, ..] = V4;
    assert_eq!(won(&[(a, Silent), (p, Connects(5))]), (p.to_owned(), 255, vec![0, 250]));
    let fates = [(a, Silent), (b, Silent), (p, Connects(5))];
    assert_eq!(won(&fates), (p.to_owned(), 505, vec![0, 250, 500]));
}

#[test]
fn a_slow_address_still_wins_if_it_is_the_first_to_connect() {
    let [a, ..] = V6;
    let [p, ..] = V4;
    assert_eq!(won(&[(a, Connects(300)), (p, Connects(60))]), (a.to_owned(), 300, vec![0, 250]));
    // Of two that connect at once, the preferred one.
    assert_eq!(won(&[(a, Connects(300)), (p, Connects(50))]), (a.to_owned(), 300, vec![0, 250]));
    assert_eq!(won(&[(a, Connects(300)), (p, Connects(49))]), (p.to_owned(), 299, vec![0, 250]));
}

#[test]
fn a_failure_begins_the_next_attempt_at_once() {
    let [a, b, c] = V6;
    let [p, q, _] = V4;
    let refused = Fails(1, ErrorKind::ConnectionRefused);
    let fates = [(a, refused), (p, refused), (b, Connects(1))];
    assert_eq!(won(&fates), (b.to_owned(), 3, vec![0, 1, 2]));
    // The failure of an earlier attempt, too; the pause begins anew.
    let late = Fails(300, ErrorKind::HostUnreachable);
    let fates = [(a, late), (p, Silent), (b, Silent), (q, Silent), (c, Connects(7))];
    assert_eq!(won(&fates), (c.to_owned(), 807, vec![0, 250, 300, 550, 800]));
}

#[test]
fn a_lost_race_has_all_errors() {
    let [a, ..] = V6;
    let [p, ..] = V4;
    let fates =
        [(a, Fails(400, ErrorKind::HostUnreachable)), (p, Fails(0, ErrorKind::ConnectionRefused))];
    let errors = run(&fates).outcome.unwrap().unwrap_err();
    let error = lost(&errors);
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(
        error.to_string(),
        "192.0.2.1:9: connection refused; [2001:db8::1]:9: host unreachable"
    );
}

#[test]
fn a_lost_race_names_a_few_addresses() {
    let addresses: Vec<_> = (1..=6).map(|port| format!("192.0.2.1:{port}")).collect();
    let refused = Fails(0, ErrorKind::ConnectionRefused);
    let fates: Vec<_> = addresses.iter().map(|address| (address.as_str(), refused)).collect();
    let text = lost(&run(&fates).outcome.unwrap().unwrap_err()).to_string();
    assert!(text.ends_with("192.0.2.1:4: connection refused; and 2 more addresses"), "{text}");
}

#[test]
fn without_an_answer_the_race_goes_on() {
    let [a, ..] = V6;
    let [p, ..] = V4;
    let raced = run(&[(a, Silent), (p, Silent)]);
    assert!(raced.outcome.is_none());
    assert_eq!(raced.begun, [0, 250]);
}

#[test]
fn without_addresses_there_are_no_errors() {
    assert!(run(&[]).outcome.unwrap().unwrap_err().is_empty());
}
