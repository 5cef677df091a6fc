//! Waiting for one socket on the thread that needs it.

use std::io;
use std::time::Duration;

use pool_driver::connection::{SharedSocket, TcpSocket};
use pool_driver::{Clock as _, MonotonicClock};
use pool_proto::Instant;

use crate::runtime::Threads;

/// The directions that a call waits for, until one of them is ready.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const READ: Self = Self { read: true, write: false };
    pub(crate) const WRITE: Self = Self { read: false, write: true };
}

/// The timeout of one call: `None` is for ever. It begins with the first wait of the call.
pub(crate) struct Timeout {
    timeout: Option<Duration>,
    began: Option<Instant>,
}

impl Timeout {
    pub(crate) const fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, began: None }
    }

    /// Repeats `act` whenever the socket is ready for the interest, until it does not block. `act` may
    /// change the interest. Fails with [`TimedOut`](io::ErrorKind::TimedOut) when the timeout has passed.
    pub(crate) fn wait<T>(
        &mut self,
        socket: &SharedSocket<TcpSocket<Threads>>,
        mut interest: Interest,
        mut act: impl FnMut(&mut Interest) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match act(&mut interest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let began = *self.began.get_or_insert_with(|| MonotonicClock.now());
            let left = || {
                let waited = MonotonicClock.now().since(began);
                self.timeout.map(|timeout| timeout.saturating_sub(waited))
            };
            system::wait(socket, interest, left)?;
        }
    }
}

/// By poll(2), without the thread of the reactor: it takes half as long.
#[cfg(unix)]
mod system {
    use std::io;
    use std::time::Duration;

    use pool_driver::connection::{SharedSocket, TcpSocket};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::Interest;
    use crate::runtime::Threads;

    /// Systems without ppoll(2), such as macOS, refuse more than 24 days. Longer times are waited for in
    /// parts.
    const LONGEST_POLL: Duration = Duration::from_secs(24 * 60 * 60);

    /// Waits until the socket is ready. Fails with [`TimedOut`](io::ErrorKind::TimedOut) when no time is
    /// `left`.
    pub(super) fn wait(
        socket: &SharedSocket<TcpSocket<Threads>>,
        interest: Interest,
        left: impl Fn() -> Option<Duration>,
    ) -> io::Result<()> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, interest.read);
        flags.set(PollFlags::OUT, interest.write);
        let mut sockets = [PollFd::new(socket.socket().stream().get_ref(), flags)];
        repeat(|time| poll(&mut sockets, time), left)
    }

    /// Polls again after a signal, and after each part of a long time.
    fn repeat(
        mut poll: impl FnMut(Option<&Timespec>) -> rustix::io::Result<usize>,
        left: impl Fn() -> Option<Duration>,
    ) -> io::Result<()> {
        loop {
            let left = left();
            let time = left.and_then(|left| Timespec::try_from(left.min(LONGEST_POLL)).ok());
            match poll(time.as_ref()) {
                Ok(0) if left > Some(LONGEST_POLL) => {}
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::cell::Cell;

        use rustix::io::Errno;

        use super::*;

        const HOUR: Duration = Duration::from_secs(3600);

        /// The times, in hours, of the polls of a wait with a timeout of so many hours. Each poll takes as long
        /// as the function says, and has its result.
        fn polls(
            timeout: u64,
            poll: impl Fn(u64) -> (u64, rustix::io::Result<usize>),
        ) -> (Vec<u64>, io::Result<()>) {
            let (mut times, waited) = (Vec::new(), Cell::new(0));
            let outcome = repeat(
                |time| {
                    let hours = time.map_or(0, |time| time.tv_sec.unsigned_abs() / 3600);
                    times.push(hours);
                    let (took, result) = poll(hours);
                    waited.set(waited.get() + took);
                    result
                },
                || Some(HOUR * u32::try_from(timeout - waited.get()).unwrap_or(0)),
            );
            (times, outcome)
        }

        #[test]
        fn a_signal_does_not_begin_the_timeout_anew() {
            let (times, outcome) =
                polls(3, |left| (1, if left > 1 { Err(Errno::INTR) } else { Ok(0) }));
            assert_eq!(times, [3, 2, 1]);
            assert_eq!(outcome.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        }

        #[test]
        fn a_long_time_is_waited_for_in_parts() {
            let (times, outcome) = polls(60, |left| (left, Ok(0)));
            assert_eq!(times, [24, 24, 12]);
            assert_eq!(outcome.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        }
    }
}

/// Through the reactor. A socket of Windows that is shut down does not become ready, so a call that waits
/// for the system only could not be ended by the pool.
#[cfg(not(unix))]
mod system {
    use std::future::{Future as _, poll_fn};
    use std::io;
    use std::pin::pin;
    use std::task::Poll;
    use std::time::Duration;

    use pool_driver::connection::{SharedSocket, TcpSocket};
    use pool_driver::shared::block_on;
    use pool_driver::{Direction, MonotonicClock};

    use super::Interest;
    use crate::runtime::Threads;

    /// Waits until the socket is ready, or revoked. Fails with [`TimedOut`](io::ErrorKind::TimedOut) when no
    /// time is `left`.
    pub(super) fn wait(
        socket: &SharedSocket<TcpSocket<Threads>>,
        interest: Interest,
        left: impl Fn() -> Option<Duration>,
    ) -> io::Result<()> {
        let stream = socket.socket().stream();
        // The thread of the other half may wait for the same direction.
        let (mut readable, mut writable) = (pin!(stream.readable()), pin!(stream.writable()));
        // A thread that reads may have data to send, but each half keeps its own place.
        let half = if interest.read { Direction::Read } else { Direction::Write };
        let mut ready = pin!(poll_fn(|cx| {
            if interest.read
                && let Poll::Ready(result) = readable.as_mut().poll(cx)
            {
                return Poll::Ready(result);
            }
            if interest.write
                && let Poll::Ready(result) = writable.as_mut().poll(cx)
            {
                return Poll::Ready(result);
            }
            socket.socket().register(half, cx);
            if socket.revoked().is_some() { Poll::Ready(Ok(())) } else { Poll::Pending }
        }));
        match block_on(&mut ready, &MonotonicClock, left().unwrap_or(Duration::MAX)) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
