//! The pool that dials.

use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use pool_proto::tls::ClientTls;
use pool_proto::transport::{ClientSide, Failure, Handshake, Link, Shaken, dial_address};
use pool_proto::{Client, ClientConfig, Dialing, KeepAlive, Token};
use smol::Async;
use smol::future::Boxed;

use crate::driver::{PoolCrew, PoolTicket, Supply};
use crate::pool::{BuildError, Pool, Spawn};
use crate::socket::Socket;

/// A pool that dials a peer and keeps connections ready.
pub type ClientPool = Pool<Dialing>;

/// Builds a [`ClientPool`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientPoolBuilder {
    config: Option<ClientConfig>,
    tls: Option<ClientTls>,
    keep_alive: Option<KeepAlive>,
    spawn: Spawn,
}

impl ClientPool {
    /// A builder: default configuration, no TLS, keep-alive every 15 s, smol's global executor.
    pub fn builder() -> ClientPoolBuilder {
        let keep_alive = Some(KeepAlive::default());
        ClientPoolBuilder { config: None, tls: None, keep_alive, spawn: Spawn::default() }
    }
}

impl ClientPoolBuilder {
    /// Capacity, timeouts, tuning, ids: everything that is not I/O.
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// TLS with these settings; `None`, the default, is plain TCP.
    pub fn tls(mut self, tls: impl Into<Option<ClientTls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// TCP keep-alive; `None` leaves it off.
    pub fn keep_alive(mut self, keep_alive: impl Into<Option<KeepAlive>>) -> Self {
        self.keep_alive = keep_alive.into();
        self
    }

    /// Runs the pool on this executor, instead of smol's global one. `spawn` is called with a few
    /// futures when the pool is built, and has to see to it that each runs to its end. The pool
    /// does not keep it: when the executor is dropped, the pool closes.
    ///
    /// ```
    /// # use adapter_smol::ClientPool;
    /// # fn example(executor: std::sync::Arc<smol::Executor<'static>>) {
    /// let builder = ClientPool::builder().spawn_with(move |future| executor.spawn(future).detach());
    /// # drop(builder); }
    /// ```
    pub fn spawn_with(mut self, spawn: impl Fn(Boxed<()>) + Send + Sync + 'static) -> Self {
        self.spawn = Spawn::new(spawn);
        self
    }

    /// Builds a pool that dials `address` ("host:port"), resolved anew at every dial. It begins at
    /// once.
    ///
    /// # Errors
    ///
    /// [`BuildError::Address`] for anything but "host:port".
    pub fn connect(self, address: impl Into<String>) -> Result<ClientPool, BuildError> {
        let address = dial_address(address)?;
        self.connect_with(move || {
            let address = Arc::clone(&address);
            async move {
                let connected = smol::net::TcpStream::connect(&*address).await;
                connected
                    .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
            }
        })
    }

    /// Builds a pool whose connections `dial` makes: through a proxy, from a certain address, in a
    /// network namespace… TLS, id and socket options are the pool's part. A dial is dropped when
    /// its deadline is over or the pool closes. Its result is a [`smol::net::TcpStream`], or an
    /// [`Async`] of the standard library's, which must not be in use anywhere else.
    ///
    /// ```
    /// # use adapter_smol::ClientPool;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use smol::net::TcpStream;
    ///
    /// let gateway = String::from("gateway.example:9000");
    /// // The closure is called for each dial, so each call clones what its future takes along.
    /// let pool = ClientPool::builder().connect_with(move || {
    ///     let gateway = gateway.clone();
    ///     async move { TcpStream::connect(gateway).await }
    /// })?;
    /// # drop(pool); Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError::Config`] never happens with a configuration that could be built.
    pub fn connect_with<D, F, T>(self, dial: D) -> Result<ClientPool, BuildError>
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
        T: Into<Arc<Async<TcpStream>>>,
    {
        let config = match self.config {
            Some(config) => config,
            None => ClientConfig::builder().build()?,
        };
        let config = config.or_seed(fastrand::u64(..));
        let (side, keep_alive) = (ClientSide::new(self.tls, config.ids()), self.keep_alive);
        let supply = Dialer(Arc::new(DialSettings { dial, side, keep_alive }));
        Ok(Pool::start(&self.spawn, |now| Client::new(&config, now), supply, None))
    }
}

struct Dialer<D>(Arc<DialSettings<D>>);

struct DialSettings<D> {
    dial: D,
    side: ClientSide,
    keep_alive: Option<KeepAlive>,
}

impl<D, F, T> Supply<Dialing> for Dialer<D>
where
    D: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
    T: Into<Arc<Async<TcpStream>>>,
{
    fn dial(
        &self,
        mut ticket: PoolTicket<Dialing>,
        crew: Arc<PoolCrew<Dialing>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let settings = Arc::clone(&self.0);
        async move {
            let outcome = async {
                // Called here, so that a dialer that panics costs its own dial only.
                let tcp = (settings.dial)().await.map_err(Failure::Dial)?;
                ticket.dialed();
                let link = Socket::link(tcp, settings.keep_alive).map_err(Failure::Options)?;
                shake(link, settings.side.begin()?).await
            };
            let outcome = outcome.await;
            crew.report(ticket, outcome);
        }
    }

    async fn accept(
        &mut self,
        _crew: &Arc<PoolCrew<Dialing>>,
    ) -> (Token, impl Future<Output = ()> + Send + 'static) {
        std::future::pending::<(Token, std::future::Ready<()>)>().await
    }
}

/// TLS and id, to the end.
pub(crate) async fn shake(
    link: Arc<Link<Socket>>,
    mut handshake: Handshake,
) -> Result<(Arc<Link<Socket>>, Shaken), Failure> {
    poll_fn(|cx| handshake.advance(&mut link.socket().polled(cx))).await?;
    Ok((link, handshake.finish()?))
}
