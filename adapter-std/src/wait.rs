//! Waiting for one socket, on the thread that wants it.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use pool_proto::Instant;
use pool_proto::adapter::MonotonicClock;
use pool_proto::shell::Clock as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where there is no ppoll(2), as on macOS, more than 24 days are refused: longer times are waited for
/// in parts.
const LONGEST_POLL: Duration = Duration::from_secs(24 * 60 * 60);

/// Does `act` again whenever the socket is `ready` for it, which it may change, until it does not
/// block, or `timeout` is over: then it is an error of the kind
/// [`TimedOut`](io::ErrorKind::TimedOut). The time begins with the first wait of this `patience`.
pub(crate) fn wait<T>(
    tcp: &TcpStream,
    mut ready: PollFlags,
    timeout: Option<Duration>,
    patience: &mut Option<Patience>,
    mut act: impl FnMut(&mut PollFlags) -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match act(&mut ready) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        let patience = patience.get_or_insert_with(|| Patience::begin(timeout));
        if !patience.poll(&mut [PollFd::new(tcp, ready)])? {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// How long a call waits.
pub(crate) struct Patience {
    clock: MonotonicClock,
    until: Option<Instant>,
}

impl Patience {
    fn begin(timeout: Option<Duration>) -> Self {
        let clock = MonotonicClock::start();
        Self { clock, until: timeout.map(|timeout| clock.now() + timeout) }
    }

    /// Whether something has happened before the time was up.
    fn poll(&self, sockets: &mut [PollFd<'_>]) -> io::Result<bool> {
        loop {
            let left = self.until.map(|until| until.since(self.clock.now()));
            let (timeout, rest) = left.map_or((None, false), |left| {
                (Timespec::try_from(left.min(LONGEST_POLL)).ok(), left > LONGEST_POLL)
            });
            match poll(sockets, timeout.as_ref()) {
                Ok(0) if rest => {}
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
