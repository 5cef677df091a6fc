//! Pools on any runtime.
//!
//! | file | contents |
//! |---|---|
//! | `builder.rs` | building a pool of either role |
//! | `driver.rs`, `tasks.rs` | the one task of a pool that always runs, and the tasks that it owns |
//! | `dial.rs` | the client's supply: dialling |
//! | `race.rs` | a race between the addresses of a name |
//! | `accept.rs` | the server's supply: accepting |
//! | `balancer.rs` | several pools as one |

mod accept;
mod balancer;
mod builder;
mod dial;
mod driver;
mod race;
mod tasks;
mod turnstile;

use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Weak};
use std::thread;

use accept::ListeningSocket;
pub use accept::{AcceptFailure, AcceptPacer};
use async_channel::Receiver;
pub use balancer::{AnyPool, Balanced, Balancer};
use builder::Protection;
pub use builder::{Configured, PoolBuilder};
pub use dial::Dial;
pub(crate) use driver::PoolAttempt;
pub use driver::ShutdownGuard;
use driver::{Driver, PoolConnectionOf, PoolMachine, Supply};
use futures_lite::FutureExt;
use pool_proto::{Accepting, Bounds, ConfigError, ConnId, Dialing, PutError, Stats};
use tracing::field::debug;

use crate::clock::Clock as _;
use crate::connection::Kernel as _;
use crate::error::BuildError;
#[cfg(feature = "tls")]
use crate::error::SetTlsError;
use crate::events::{self, Label};
use crate::metrics::Report;
use crate::runtime::Runtime;
use crate::shared::{AcquireError, Deadline, OpenTape, Recording, SharedMachine, TAPE_BUFFER};

/// A pool of idle connections on runtime `N`, in role `R`. Adapters give it concrete names with
/// [`pool_types!`](crate::pool_types).
///
/// Cheap to clone; all clones are the same pool. When the last one is dropped, the pool closes as by
/// [`close`](Self::close), unless it is in its [graceful shutdown](Self::graceful_shutdown). All methods
/// may be called from any task or thread.
pub struct Pool<N: Runtime, R: Configured> {
    inner: Arc<Inner<N, R>>,
}

struct Inner<N: Runtime, R: Configured> {
    shared: Arc<PoolMachine<N, R>>,
    ended: Receiver<Infallible>,
    runtime: N,
    local_addr: Option<SocketAddr>,
    /// The driver's.
    listener: Weak<ListeningSocket<N>>,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nothing replaces it then"))]
    protection: Protection<R::Tls>,
}

impl<N: Runtime, R: Configured> Drop for Inner<N, R> {
    /// A graceful shutdown goes on: the driver ends with it.
    fn drop(&mut self) {
        self.shared.run(|machine, now| {
            if !machine.is_shutting_down() {
                machine.close(now);
            }
        });
    }
}

impl<N: Runtime, R: Configured> Clone for Pool<N, R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<N: Runtime, R: Configured> Pool<N, R> {
    /// Starts the driver on a runtime that has been [checked](Runtime::check).
    fn start(
        handle: &N::Handle,
        config: &R::Config,
        protection: Protection<R::Tls>,
        tape: Option<OpenTape>,
        supply: impl Supply<N, R>,
        listener: Weak<ListeningSocket<N>>,
        label: Label,
    ) -> Result<Self, BuildError> {
        let tape = tape.map(|open| open()).transpose();
        let tape = tape.map_err(|source| BuildError::Tape { source })?;
        let local_addr = listener
            .upgrade()
            .and_then(|socket| N::kernel_listener(&socket.listener).local_addr().ok());
        let clock = N::clock(handle);
        let now = clock.now();
        let (machine, tape) = match tape {
            Some(writer) => {
                let (machine, first) = R::recorded(config, now, TAPE_BUFFER);
                (machine, Some((first, writer)))
            }
            None => (R::machine(config, now).into(), None),
        };
        let shared = SharedMachine::labelled(machine, clock, label);
        let (guard, ended) = ShutdownGuard::new();
        events::built(shared.label(), &*shared.label().address, shared.label().tls);
        let driver = Driver::new(Arc::clone(&shared), supply, guard.clone());
        if let Some((first, writer)) = tape {
            // Ends after the driver, which is dropped if it cannot be started.
            let (shared, guard) = (Arc::clone(&shared), guard.clone());
            let write = move || {
                shared.write_tape(first, writer);
                drop(guard);
            };
            let thread = thread::Builder::new().name("pool-tape".to_owned());
            thread.spawn(write).map_err(|source| BuildError::Start { source })?;
        }
        let run = |runtime, executor| driver.run(runtime, executor);
        let runtime = N::start(handle, R::max_dials(config), guard, run)?;
        let inner = Inner { shared, ended, runtime, local_addr, listener, protection };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns a builder with the defaults.
    pub fn builder() -> PoolBuilder<N, R> {
        PoolBuilder::default()
    }

    /// Returns the name of the pool.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared().label().name
    }

    /// Returns everything that an operator watches.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared().report()
    }

    /// Publishes the metrics in the global recorder of the crate `metrics`.
    #[cfg(feature = "metrics")]
    pub fn publish(&self) {
        self.shared().publish();
    }

    /// Returns the runtime of the pool.
    #[must_use]
    pub fn runtime(&self) -> &N {
        &self.inner.runtime
    }

    /// Returns the machine of the pool.
    #[must_use]
    pub fn shared(&self) -> &Arc<SharedMachine<PoolConnectionOf<N>, R>> {
        &self.inner.shared
    }

    /// Acquires any idle connection, or waits up to `timeout` for one. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Timeout`] or [`AcquireError::Refused`].
    pub async fn acquire(&self, timeout: Duration) -> Result<N::Stream, AcquireError> {
        self.within(timeout, self.shared().acquire()).await.map(N::Stream::from)
    }

    /// Acquires the connection with this id, or waits up to `timeout` for it. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_by_id(
        &self,
        id: ConnId,
        timeout: Duration,
    ) -> Result<N::Stream, AcquireError> {
        self.within(timeout, self.shared().acquire_by_id(id)).await.map(N::Stream::from)
    }

    /// Acquires the next connection that the peer has begun to use, or waits up to `timeout` for one.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub async fn accept(&self, timeout: Duration) -> Result<N::Stream, AcquireError> {
        self.within(timeout, self.shared().acquire_claimed()).await.map(N::Stream::from)
    }

    /// Waits up to `timeout` until `ready` connections are idle at once. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); more than the pool may ever hold are refused at once.
    pub async fn wait_ready(&self, ready: u32, timeout: Duration) -> Result<(), AcquireError> {
        self.within(timeout, self.shared().wait_ready(ready)).await
    }

    async fn within<W: Deadline>(&self, timeout: Duration, wait: W) -> W::Output {
        within(timeout, self.runtime().sleep(timeout), wait).await
    }

    /// Puts a connection back for reuse.
    ///
    /// # Errors
    ///
    /// [`PutError`]; the connection is closed then.
    pub fn put(&self, stream: N::Stream) -> Result<(), PutError> {
        stream.into().put(self.shared())
    }

    /// Returns the number of connections in each state, and the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// Returns the number of idle connections.
    #[must_use]
    pub fn idle(&self) -> u32 {
        self.stats().idle
    }

    /// Returns whether at least one connection is idle.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.idle() > 0
    }

    /// Returns the number of idle connections that a client aims at now; of a server, the largest
    /// number that it admits.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.stats().capacity
    }

    /// Returns the time between two rounds of a client under `Tuning::NodePass` now; otherwise zero.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.stats().interval
    }

    /// Returns why the last dial or handshake failed, with the peer's address, if none has succeeded
    /// since; or a likely cause of failure.
    #[must_use]
    pub fn last_failure(&self) -> Option<Arc<str>> {
        self.shared().last_failure()
    }

    /// Adds one to the user's error counter.
    pub fn add_error(&self) {
        self.shared().run(|machine, _| machine.add_error());
    }

    /// Returns the user's error counter.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.shared().run(|machine, _| machine.error_count())
    }

    /// Sets the user's error counter to zero.
    pub fn reset_error(&self) {
        self.shared().run(|machine, _| machine.reset_error());
    }

    /// Returns the state of the recording; `None` if the pool is not recorded.
    #[must_use]
    pub fn recording(&self) -> Option<Recording> {
        self.shared().recording()
    }

    /// Ends the recording, if there is one.
    pub fn end_recording(&self) {
        self.shared().end_recording();
    }

    /// Changes the configuration.
    ///
    /// # Errors
    ///
    /// Those of the machine.
    pub fn set_config(&self, config: &R::Config) -> Result<(), ConfigError> {
        // First, for the dials that begin in this call.
        self.runtime().raise_max_dials(R::max_dials(config));
        self.shared().run(|machine, now| R::set_config(machine, now, config))
    }

    /// Replaces the TLS settings, for handshakes that begin from now on.
    ///
    /// # Errors
    ///
    /// [`SetTlsError`]; the former settings stay.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, tls: R::Tls) -> Result<(), SetTlsError> {
        self.inner.protection.set::<R>(tls)
    }

    /// Closes all idle connections and returns their number.
    pub fn clean(&self) -> u32 {
        self.shared().run(|machine, now| machine.clean(now))
    }

    /// Ends all connections, leases included, and returns their number.
    pub fn flush(&self) -> u32 {
        self.shared().run(|machine, now| machine.flush(now))
    }

    /// Closes the pool.
    pub fn close(&self) {
        self.shared().run(|machine, now| machine.close(now));
    }

    /// Begins a graceful shutdown: nothing new begins, and connections in use go on to their end, for up
    /// to `timeout`.
    pub fn graceful_shutdown(&self, timeout: Duration) {
        // The longest timeouts exceed the range of the clock, which means no deadline. The precise clock, as
        // that of other calls may be some milliseconds behind.
        let deadline = Some(self.shared().now() + timeout);
        if !self.is_closed() && !self.shared().is_shutting_down() {
            events::shutting_down(self.shared().label(), debug(timeout));
        }
        self.shared().run(|machine, now| machine.graceful_shutdown(now, deadline));
        // The driver may need a moment to close the listener.
        if let Some(listener) = self.inner.listener.upgrade() {
            listener.free_port();
        }
    }

    /// Returns whether the pool was closed, or its graceful shutdown is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared().is_closed()
    }

    /// Waits until the pool is closed and everything that it runs has ended. Cancel safe.
    pub async fn closed(&self) {
        // Nothing is ever sent: the receiver fails when the last guard is dropped.
        while self.inner.ended.recv().await.is_ok() {}
    }
}

impl<N: Runtime> Pool<N, Dialing> {
    /// Ends the wait for the next dial.
    pub fn dial_now(&self) {
        self.shared().run(|machine, now| machine.dial_now(now));
    }

    /// Sets the bounds of the capacity.
    ///
    /// # Errors
    ///
    /// Those of the machine.
    pub fn set_capacity(&self, capacity: Bounds<u32>) -> Result<(), ConfigError> {
        self.shared().run(|machine, now| machine.set_capacity(now, capacity))
    }
}

impl<N: Runtime> Pool<N, Accepting> {
    /// Returns the address that the pool listens on, if the listener could tell.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.local_addr
    }
}

/// Awaits `wait`. When `sleep` is ready, tells `wait` that its deadline has passed, and awaits its
/// answer. A timeout of zero needs no timer, which would take a millisecond.
async fn within<W: Deadline>(
    timeout: Duration,
    sleep: impl Future<Output = ()>,
    mut wait: W,
) -> W::Output {
    if !timeout.is_zero() {
        let answer = async { Some((&mut wait).await) };
        // Polled only if the answer does not come at once, so usually never.
        let timed_out = async {
            sleep.await;
            None
        };
        if let Some(answer) = answer.or(timed_out).await {
            return answer;
        }
    }
    wait.expire();
    wait.await
}

impl<N: Runtime, R: Configured> fmt::Debug for Pool<N, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish()
    }
}
