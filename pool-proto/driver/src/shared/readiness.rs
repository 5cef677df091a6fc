//! The waker that an idle connection leaves with its reactor.

use core::fmt;
use core::net::SocketAddr;
use core::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Wake;

use pool_proto::{CloseReason, ConnId, Role, Token};
use tracing::field::{debug, display};

use super::{AnyRole, PoolConnection, SharedMachine};
use crate::events::{self, shown};
use crate::sync::AtomicBool;

/// A waker that tells the driver that data, or a close, has arrived on an idle connection. Each
/// connection makes one, once.
pub struct ReadinessWaker {
    pool: Weak<dyn AnyRole>,
    token: Token,
    armed: AtomicBool,
}

impl ReadinessWaker {
    /// A waker for the connection `token`.
    #[must_use]
    pub fn new<C: PoolConnection, R: Role>(
        pool: &Arc<SharedMachine<C, R>>,
        token: Token,
    ) -> Arc<Self> {
        let pool: Weak<SharedMachine<C, R>> = Arc::downgrade(pool);
        Arc::new(Self { pool, token, armed: AtomicBool::new(false) })
    }

    /// Records that the reactor holds this waker from now on.
    #[inline]
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Release);
    }

    /// Records that the reactor may hold another waker from now on: the holder reads.
    #[inline]
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Release);
    }

    /// Keeps a cause for which the pool may lack connections, as its last failure.
    pub fn note(&self, cause: &dyn fmt::Display) {
        if let Some(pool) = self.pool.upgrade() {
            pool.note(cause);
        }
    }

    /// Tells by an event that the peer has begun to use the connection without an opening byte.
    pub(crate) fn tell_no_opening_byte(&self, id: Option<ConnId>, peer: SocketAddr) {
        if let Some(pool) = self.pool.upgrade() {
            events::no_opening_byte(pool.label(), debug(self.token), shown(id), display(peer));
        }
    }

    /// Tells by an event that the connection is closed.
    pub(crate) fn tell_closed(&self, id: Option<ConnId>, peer: SocketAddr, reason: CloseReason) {
        if let Some(pool) = self.pool.upgrade() {
            let (token, peer, reason) = (debug(self.token), display(peer), display(reason));
            events::closed(pool.label(), token, shown(id), peer, reason);
        }
    }

    /// Returns whether the reactor holds this waker and has not woken it.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }
}

impl Wake for ReadinessWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.disarm();
        if let Some(pool) = self.pool.upgrade() {
            pool.readable(self.token);
        }
    }
}
