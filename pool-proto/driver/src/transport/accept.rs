//! What a failed accept means, and how long to pause after it.

use core::time::Duration;
use std::io::{self, ErrorKind};

use pool_proto::Backoff;

/// Peers that may wait to be accepted. With the usual 128, a few clients that fill their pools at the
/// same time overflow it, and each connection that is dropped costs its client a second.
pub const BACKLOG: u32 = 1024;

/// Pauses after accept failed for want of descriptors or memory: without them it fails millions of
/// times a second. Short at first, because descriptors come back at any moment.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a listener pauses after failures.
#[derive(Clone, Debug)]
pub struct AcceptPacer(Backoff);

/// What to do after accept has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptFailure {
    /// Accept the next one: the peer was gone before it was accepted.
    OfOnePeer,
    /// Drop the listener: it will not accept any more.
    OfTheListener,
    /// Accept again after this time: the system has run out of something.
    Pause(Duration),
}

impl AcceptPacer {
    /// Its pauses are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Backoff::new(PAUSE, LONGEST_PAUSE, seed))
    }

    /// A peer was accepted: the next pause is a short one.
    pub fn accepted(&mut self) {
        self.0.success();
    }

    /// Accept has failed.
    pub fn failed(&mut self, error: &io::Error) -> AcceptFailure {
        if is_of_one_peer(error) {
            AcceptFailure::OfOnePeer
        } else if is_of_the_listener(error) {
            AcceptFailure::OfTheListener
        } else {
            AcceptFailure::Pause(self.0.failure())
        }
    }
}

/// The peer was gone before it was accepted; accept(2) lists more that Linux passes on.
fn is_of_one_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}

/// The descriptor does not listen (any more): EINVAL, or it is no socket at all: EBADF, ENOTSOCK.
fn is_of_the_listener(error: &io::Error) -> bool {
    error.kind() == ErrorKind::InvalidInput
        || matches!(error.raw_os_error(), Some(9 | 88) if cfg!(target_os = "linux"))
}
