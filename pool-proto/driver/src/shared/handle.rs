//! What a user can do with a pool without waiting, on every runtime.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use super::{Connection, SharedMachine};
use pool_proto::Role;
use pool_proto::Stats;

/// A pool, but for what waits: an adapter's pool dereferences to it, and adds `acquire`,
/// `acquire_by_id`, `wait_ready`, `put` and `closed` in its runtime's way.
///
/// Nothing here blocks. All of it may be called from any task or thread.
pub struct Handle<C: Connection, R: Role> {
    shared: Arc<SharedMachine<C, R>>,
}

impl<C: Connection, R: Role> Handle<C, R> {
    /// For a pool with this shell.
    pub const fn new(shared: Arc<SharedMachine<C, R>>) -> Self {
        Self { shared }
    }

    /// Closes the idle connections and returns how many there were; the rest is left alone.
    ///
    /// To a client, connections less than a second old that its server cleans look like those that a
    /// full server turns away: it backs off for a moment before it dials again.
    pub fn clean(&self) -> u32 {
        self.shared.run(|machine, now| machine.clean(now))
    }

    /// Ends all connections, those in use included, and starts afresh; returns how many there were.
    /// Callers that wait go on waiting. The next read or write of a stream in use fails with
    /// `Revoked`.
    pub fn flush(&self) -> u32 {
        self.shared.run(|machine, now| machine.flush(now))
    }

    /// Ends the pool and everything in it: callers that wait are refused, dials, handshakes and the
    /// listener end. Closing again does nothing. The adapter's `closed` waits until all is done.
    pub fn close(&self) {
        self.shared.run(|machine, now| machine.close(now));
    }

    /// Whether the pool was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Whether at least one connection is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.idle() > 0
    }

    /// Ready connections now.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.stats().idle
    }

    /// Ready connections aimed at now; of a server, the most there may be.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.stats().capacity
    }

    /// The time between two rounds of the tuner now; zero for a server.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.stats().interval
    }

    /// How many connections are in which state, and what has happened since the pool was built.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Why the last dial or handshake failed, if none has succeeded since.
    #[must_use]
    pub fn last_failure(&self) -> Option<Arc<str>> {
        self.shared.last_failure()
    }

    /// Adds one to the user's error counter, which the pool only keeps.
    pub fn add_error(&self) {
        self.shared.run(|machine, _| machine.add_error());
    }

    /// The user's error counter.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.shared.run(|machine, _| machine.error_count())
    }

    /// Sets the user's error counter to zero.
    pub fn reset_error(&self) {
        self.shared.run(|machine, _| machine.reset_error());
    }
}

impl<C: Connection, R: Role> fmt::Debug for Handle<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish()
    }
}
