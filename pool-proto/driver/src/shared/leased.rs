//! A connection outside the machine: in a user's hands, or known to a reactor.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use std::sync::{Arc, Weak};
use std::task::Wake;

use super::{Connection, SharedMachine};
use pool_proto::ConnId;
use pool_proto::PutError;
use pool_proto::Role;
use pool_proto::{Event, Token};

/// Where a connection belongs, whatever the pool's role.
trait Home<C>: Send + Sync {
    fn readable(&self, token: Token);
    fn released(&self, token: Token);
}

impl<C: Connection, R: Role + Send + 'static> Home<C> for SharedMachine<C, R> {
    fn readable(&self, token: Token) {
        let driver = {
            let mut state = self.lock();
            state.readable.push(token);
            state.driver.take()
        };
        driver.into_iter().for_each(Waker::wake);
    }

    fn released(&self, token: Token) {
        self.event(Event::Closed { token });
    }
}

/// A connection taken from a pool. Dropped, it is closed; [`put`](Self::put) back, it is reused.
pub struct Leased<C> {
    home: Arc<dyn Home<C>>,
    token: Token,
    id: ConnId,
    /// Present until it is put back or dropped.
    connection: Option<C>,
}

impl<C> Leased<C> {
    pub(super) fn new<R>(
        shared: &Arc<SharedMachine<C, R>>,
        token: Token,
        id: ConnId,
        connection: C,
    ) -> Self
    where
        C: Connection,
        R: Role + Send + 'static,
    {
        let home = Arc::<SharedMachine<C, R>>::clone(shared);
        Self { home, token, id, connection: Some(connection) }
    }

    /// The connection's id.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// The connection; `None` only while this value is being taken apart.
    #[must_use]
    pub const fn get(&self) -> Option<&C> {
        self.connection.as_ref()
    }

    /// The connection; `None` only while this value is being taken apart.
    pub const fn get_mut(&mut self) -> Option<&mut C> {
        self.connection.as_mut()
    }

    /// Puts it back into `shared`. What has arrived by now and was not read is thrown away.
    ///
    /// # Errors
    ///
    /// [`PutError`] when the pool was closed or flushed meanwhile, or is not the one that it was
    /// taken from; the connection is closed then.
    pub fn put<R: Role>(mut self, shared: &Arc<SharedMachine<C, R>>) -> Result<(), PutError>
    where
        C: Connection,
    {
        if !core::ptr::addr_eq(Arc::as_ptr(&self.home), Arc::as_ptr(shared)) {
            return Err(shared.run(|machine, _| machine.put_foreign()));
        }
        // While it is still held: if this panics, the lease is released and not lost.
        let drained = self.connection.as_mut().filter(|_| shared.drains_at_put).map(C::drain);
        match self.connection.take() {
            Some(connection) => shared.put(self.token, connection, drained),
            None => Ok(()),
        }
    }

    /// Takes the connection out; its lease is no longer this value's to end.
    pub(super) fn into_connection(mut self) -> Option<C> {
        self.connection.take()
    }
}

impl<C> Drop for Leased<C> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection);
            self.home.released(self.token);
        }
    }
}

impl<C> fmt::Debug for Leased<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased").field("id", &self.id).field("token", &self.token).finish()
    }
}

/// The waker that a connection leaves with its reactor while it is in the pool: it tells the driver
/// that something has arrived. One for each connection, made once.
pub struct ReadinessWaker<C> {
    home: Weak<dyn Home<C>>,
    token: Token,
    armed: AtomicBool,
}

impl<C: Connection> ReadinessWaker<C> {
    /// A watch over the connection `token`.
    #[must_use]
    pub fn new<R: Role + Send + 'static>(
        shared: &Arc<SharedMachine<C, R>>,
        token: Token,
    ) -> Arc<Self> {
        let shared: Weak<SharedMachine<C, R>> = Arc::downgrade(shared);
        Arc::new(Self { home: shared, token, armed: AtomicBool::new(false) })
    }

    /// Says that the reactor holds this waker now.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Release);
    }

    /// Says that the reactor may hold another one now: the holder reads.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Release);
    }

    /// Whether the reactor holds this waker and has not woken it.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }
}

impl<C: Connection> Wake for ReadinessWaker<C> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.disarm();
        if let Some(home) = self.home.upgrade() {
            home.readable(self.token);
        }
    }
}
