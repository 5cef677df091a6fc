//! The pool that dials.

use core::future::{Future, Ready, pending};
use core::time::Duration;
use std::format;
use std::io;
use std::string::String;
use std::sync::Arc;

use futures_lite::FutureExt;

use crate::driver::{PoolCrew, PoolTicket, Supply, handshake};
use crate::keep_alive::KeepAlive;
use crate::shared::Clock;
use crate::socket::no_address;
use crate::transport::{BuildError, Connector, Failure, dial_address};
use crate::{Awaited, MonotonicClock, Pool, PoolBuilder, Runtime};
use pool_proto::ClientConfig;
use pool_proto::Instant;
use pool_proto::Token;
use pool_proto::{Client, Dialing};

impl<N: Runtime, C> PoolBuilder<N, Dialing, C> {
    /// Builds a pool that dials `address` ("host:port"), resolved anew at every dial. It begins at
    /// once.
    ///
    /// # Errors
    ///
    /// [`BuildError::Address`] for anything but "host:port", [`BuildError::NoRuntime`] where there is
    /// nothing to run on, [`BuildError::Start`] when the system has no thread or descriptor left.
    pub fn connect(
        mut self,
        address: impl Into<String>,
    ) -> Result<Pool<N, Dialing, C>, BuildError> {
        let address = dial_address(address)?;
        let config = self.config.map_or_else(|| ClientConfig::builder().build(), Ok)?;
        let timeout = config.dial_timeout();
        self.config = Some(config);
        self.connect_by(ToAddress { address, timeout })
    }

    /// As `connect_with`, for dialers that need the runtime.
    ///
    /// # Errors
    ///
    /// Those of `connect_with`.
    pub fn connect_by(self, dial: impl Dial<N>) -> Result<Pool<N, Dialing, C>, BuildError> {
        let config = self.config.map_or_else(|| ClientConfig::builder().build(), Ok)?;
        let config = config.or_seed(fastrand::u64(..));
        let (side, keep_alive) = (Connector::new(self.tls, config.ids()), self.keep_alive);
        let supply = Dialer(Arc::new(Settings { dial, side, keep_alive }));
        let max_dials = config.max_dials();
        Pool::start(self.handle, max_dials, |now| Client::new(&config, now), supply, None)
    }
}

impl<N: Runtime> PoolBuilder<N, Dialing, Awaited> {
    /// Builds a pool whose connections `dial` makes: through a proxy, from a certain address, in a
    /// network namespace… TLS, id and socket options are the pool's part. A dial is dropped when
    /// its deadline is over or the pool closes. The stream must not be in use anywhere else.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoRuntime`] where there is nothing to run on.
    pub fn connect_with<D, F>(self, dial: D) -> Result<Pool<N, Dialing>, BuildError>
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<N::Dialled>> + Send + 'static,
    {
        self.connect_by(ByCall(dial))
    }
}

/// How transports are connected.
pub trait Dial<N: Runtime>: Send + Sync + 'static {
    /// Connects one. Dropped, it ends.
    fn dial(&self, runtime: &N) -> impl Future<Output = io::Result<N::Dialled>> + Send;
}

struct ToAddress {
    address: Arc<str>,
    /// For a dial in all: then the machine ends it.
    timeout: Duration,
}

impl<N: Runtime> Dial<N> for ToAddress {
    async fn dial(&self, runtime: &N) -> io::Result<N::Dialled> {
        let Self { address, .. } = self;
        let connected = self.first_that_answers(runtime).await;
        connected.map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
    }
}

impl ToAddress {
    /// One address after the other; each leaves those after it their share of the time.
    async fn first_that_answers<N: Runtime>(&self, runtime: &N) -> io::Result<N::Dialled> {
        let clock = MonotonicClock::start();
        let addresses = runtime.resolve(&self.address).await?;
        let mut outcome = Err(no_address());
        for (untried, address) in (1..=addresses.len()).rev().zip(addresses) {
            let left = self.timeout.saturating_sub(clock.now().since(Instant::EPOCH));
            let share = left / u32::try_from(untried).unwrap_or(u32::MAX);
            let time_is_up = async {
                match untried {
                    1 => pending().await,
                    _ => runtime.sleep(share).await,
                }
                Err(io::ErrorKind::TimedOut.into())
            };
            outcome = runtime.connect(address).or(time_is_up).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

struct ByCall<D>(D);

impl<N, D, F> Dial<N> for ByCall<D>
where
    N: Runtime,
    D: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<N::Dialled>> + Send + 'static,
{
    fn dial(&self, _runtime: &N) -> impl Future<Output = io::Result<N::Dialled>> + Send {
        (self.0)()
    }
}

struct Dialer<D>(Arc<Settings<D>>);

struct Settings<D> {
    dial: D,
    side: Connector,
    keep_alive: Option<KeepAlive>,
}

impl<N: Runtime, D: Dial<N>> Supply<N, Dialing> for Dialer<D> {
    fn dial(
        &self,
        runtime: &N,
        mut attempt: PoolTicket<N, Dialing>,
        crew: Arc<PoolCrew<N, Dialing>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (settings, runtime) = (Arc::clone(&self.0), runtime.clone());
        async move {
            let Settings { dial, side, keep_alive } = &*settings;
            let outcome = async {
                // Called here, so that a dialer that panics costs its own dial only.
                let dialled = dial.dial(&runtime).await.map_err(Failure::Dial)?;
                attempt.dialed();
                handshake(dialled, *keep_alive, || side.begin()).await
            };
            let outcome = outcome.await;
            crew.report(attempt, outcome);
        }
    }

    async fn accept(
        &mut self,
        _runtime: &N,
        _crew: &Arc<PoolCrew<N, Dialing>>,
    ) -> (Token, impl Future<Output = ()> + Send + 'static) {
        pending::<(Token, Ready<()>)>().await
    }
}
