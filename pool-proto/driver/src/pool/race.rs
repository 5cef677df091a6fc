//! A race between the addresses of a name: "Happy Eyeballs Version 2", RFC 8305.
//!
//! A network may swallow one of the two families without an error. Attempts therefore begin shortly
//! after each other, alternate between the families, and the first one that connects wins.

use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use std::boxed::Box;
use std::fmt::Write as _;
use std::io;
use std::string::String;
use std::vec::Vec;

/// The "Connection Attempt Delay" that RFC 8305 recommends (section 5 and 8): an attempt on the next
/// address begins this long after the one before, unless that one fails earlier.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The number of failed addresses that an error names.
const NAMED_ERRORS: usize = 4;

/// The failed attempts of a lost race.
pub(super) type Errors = Vec<(SocketAddr, io::Error)>;

/// Returns the time between the attempts on `addresses` addresses: shorter than [`ATTEMPT_DELAY`] where
/// each of them could otherwise not get its share of `time`.
pub(super) fn attempt_delay(time: Duration, addresses: usize) -> Duration {
    let addresses = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
    ATTEMPT_DELAY.min(time / addresses)
}

/// Returns each of the `resolved` addresses once, in the order of the attempts. The resolver's order
/// (RFC 6724) stands, except that the address that `won` the last race comes first (RFC 8305,
/// section 4: addresses used before are preferred), or, if the name does not have it any more, an
/// address of its family; and that the families alternate (section 4, with a "First Address Family
/// Count" of one).
pub(super) fn attempt_order(
    resolved: impl IntoIterator<Item = SocketAddr>,
    won: Option<SocketAddr>,
) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for address in resolved {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let first = won.and_then(|won| {
        let same = addresses.iter().position(|address| *address == won);
        same.or_else(|| addresses.iter().position(|address| is_ipv4(address) == is_ipv4(&won)))
    });
    if let Some(before) = first.and_then(|first| addresses.get_mut(..=first)) {
        before.rotate_right(1);
    }
    let Some(leads) = addresses.first().map(is_ipv4) else { return addresses };
    let (leading, following): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| is_ipv4(address) == leads);
    let (mut leading, mut following) = (leading.into_iter(), following.into_iter());
    let mut order = Vec::new();
    loop {
        let pair = [leading.next(), following.next()];
        if pair == [None; 2] {
            return order;
        }
        order.extend(pair.into_iter().flatten());
    }
}

/// Returns whether packets to the address are IPv4: also if it is written as an IPv6 address.
fn is_ipv4(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_ipv4()
}

/// Connects to the first of `addresses` that answers. An attempt begins when the one before it has
/// failed, or after a `pause`. The other attempts are dropped when one connects, and all of them when
/// the future is dropped.
///
/// # Errors
///
/// The error of each address, if none connects.
pub(super) async fn race<T, C, P>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> C,
    pause: impl Fn() -> P,
) -> Result<(SocketAddr, T), Errors>
where
    C: Future<Output = io::Result<T>>,
    P: Future<Output = ()>,
{
    let mut untried = addresses.into_iter();
    let mut attempts: Vec<(SocketAddr, Pin<Box<C>>)> = Vec::new();
    let mut errors = Vec::new();
    let mut pausing: Option<Pin<Box<P>>> = None;
    poll_fn(|cx| {
        loop {
            // The earliest attempt first: of two that connect at once, the preferred one wins.
            let failed_before = errors.len();
            let mut index = 0;
            while let Some((address, attempt)) = attempts.get_mut(index) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(connected)) => return Poll::Ready(Ok((*address, connected))),
                    Poll::Ready(Err(error)) => {
                        errors.push((*address, error));
                        drop(attempts.remove(index));
                    }
                    Poll::Pending => index += 1,
                }
            }
            let failed = errors.len() > failed_before;
            let mut paused =
                || pausing.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_ready());
            if !attempts.is_empty() && !failed && !paused() {
                return Poll::Pending;
            }
            if let Some(address) = untried.next() {
                attempts.push((address, Box::pin(connect(address))));
                pausing = (untried.len() > 0).then(|| Box::pin(pause()));
            } else if attempts.is_empty() {
                return Poll::Ready(Err(core::mem::take(&mut errors)));
            } else {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Returns one error for a lost race, which names the addresses. Its kind is that of the first failure.
pub(super) fn lost(errors: &[(SocketAddr, io::Error)]) -> io::Error {
    let mut text = String::new();
    for (address, error) in errors.iter().take(NAMED_ERRORS) {
        let separator = if text.is_empty() { "" } else { "; " };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{address}: {error}");
    }
    let unnamed = errors.len().saturating_sub(NAMED_ERRORS);
    if unnamed > 0 {
        let _ = write!(text, "; and {unnamed} more addresses");
    }
    let kind = errors.first().map_or(io::ErrorKind::Other, |(_, error)| error.kind());
    io::Error::new(kind, text)
}

#[cfg(test)]
mod tests;
