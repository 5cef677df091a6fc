//! Waiting for one socket, on the thread that wants it.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use pool_driver::MonotonicClock;
use pool_driver::shared::Clock as _;
use pool_proto::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where there is no ppoll(2), as on macOS, more than 24 days are refused: longer times are waited for
/// in parts.
const LONGEST_POLL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a call waits: `None` is for ever. The time begins with its first wait.
pub(crate) struct Timeout {
    timeout: Option<Duration>,
    clock: Option<MonotonicClock>,
}

impl Timeout {
    pub(crate) const fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, clock: None }
    }

    /// Does `act` again whenever the socket is `ready` for it, which it may change, until it does not
    /// block, or the time is over: then it is an error of the kind
    /// [`TimedOut`](io::ErrorKind::TimedOut).
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
        let clock = self.clock.get_or_insert_with(MonotonicClock::start);
        loop {
            let waited = clock.now().since(Instant::EPOCH);
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
