//! Waiting for one socket on the thread that needs it.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use pool_driver::{Clock as _, MonotonicClock};
use pool_proto::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Systems without ppoll(2), such as macOS, refuse more than 24 days. Longer times are waited for in
/// parts.
const LONGEST_POLL: Duration = Duration::from_secs(24 * 60 * 60);

/// The timeout of one call: `None` is for ever. It begins with the first wait of the call.
pub(crate) struct Timeout {
    timeout: Option<Duration>,
    began: Option<Instant>,
}

impl Timeout {
    pub(crate) const fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, began: None }
    }

    /// Repeats `act` whenever the socket is `ready` for it, until it does not block. `act` may change
    /// `ready`. Fails with [`TimedOut`](io::ErrorKind::TimedOut) when the timeout has passed.
    pub(crate) fn wait<T>(
        &mut self,
        tcp: &TcpStream,
        mut ready: PollFlags,
        mut act: impl FnMut(&mut PollFlags) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match act(&mut ready) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.poll(&mut [PollFd::new(tcp, ready)])?;
        }
    }

    fn poll(&mut self, sockets: &mut [PollFd<'_>]) -> io::Result<()> {
        let began = *self.began.get_or_insert_with(|| MonotonicClock.now());
        loop {
            let waited = MonotonicClock.now().since(began);
            let left = self.timeout.map(|timeout| timeout.saturating_sub(waited));
            let time = left.and_then(|left| Timespec::try_from(left.min(LONGEST_POLL)).ok());
            match poll(sockets, time.as_ref()) {
                Ok(0) if left > Some(LONGEST_POLL) => {}
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
