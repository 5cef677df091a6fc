//! Building pools.

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use std::io;
use std::sync::{Arc, Weak};

use pool_proto::tape::{Block, Recorded};
use pool_proto::{
    Accepting, Client, ClientConfig, ConfigError, Dialing, Instant, Machine, Role, Server,
    ServerConfig,
};

use super::Pool;
use super::accept::{Listener, ListeningSocket};
use super::dial::{ByCall, Dial, Dialer, ToAddress, dial_address, resolver_name};
use crate::connection::keep_alive::KeepAlive;
use crate::connection::socket::no_address;
use crate::connection::{Acceptor, Connector, Kernel as _, TlsSettings};
use crate::error::BuildError;
#[cfg(feature = "tls")]
use crate::error::SetTlsError;
use crate::events::{self, Label};
use crate::runtime::Runtime;
use crate::shared::OpenTape;
use crate::tls::{ClientTls, ServerTls};

/// A role that pools can be built for, with the types that configure it.
pub trait Configured: Role {
    /// Settings of the machine.
    type Config: Clone + fmt::Debug + 'static;
    /// Settings of TLS.
    type Tls: Clone + fmt::Debug + Send + Sync + 'static;
    /// The role in events and metrics.
    const NAME: &'static str;

    /// Returns the setting to make if these do not authenticate the peer.
    fn lacks_authentication(tls: &Self::Tls) -> Option<&'static str>;

    /// Returns the most dials at a time; zero if the role does not dial.
    fn max_dials(config: &Self::Config) -> u32;

    /// Changes the configuration of a machine that runs. The settings that only an adapter knows stay.
    ///
    /// # Errors
    ///
    /// Those of the machine.
    fn set_config<C>(
        machine: &mut Recorded<C, Self>,
        now: Instant,
        config: &Self::Config,
    ) -> Result<(), ConfigError>;

    /// Creates a machine.
    fn machine<C>(config: &Self::Config, now: Instant) -> Machine<C, Self>;

    /// Creates a machine with a tape, and returns the first block of the tape. The buffer of the tape takes
    /// `limit` bytes.
    fn recorded<C>(config: &Self::Config, now: Instant, limit: usize)
    -> (Recorded<C, Self>, Block);
}

impl Configured for Dialing {
    type Config = ClientConfig;
    type Tls = ClientTls;
    const NAME: &'static str = events::CLIENT;

    fn lacks_authentication(tls: &ClientTls) -> Option<&'static str> {
        (!tls.authenticates_server()).then_some(
            "pin the server's certificate with ClientTls::self_signed()?.pinned(fingerprint)?, or \
             verify its chain and name with ClientTls::verified_pem(host, roots)?",
        )
    }

    fn max_dials(config: &ClientConfig) -> u32 {
        config.max_dials()
    }

    fn set_config<C>(
        machine: &mut Recorded<C, Self>,
        now: Instant,
        config: &ClientConfig,
    ) -> Result<(), ConfigError> {
        machine.set_config(now, config)
    }

    fn machine<C>(config: &ClientConfig, now: Instant) -> Machine<C, Self> {
        Client::new(config, now)
    }

    fn recorded<C>(
        config: &ClientConfig,
        now: Instant,
        limit: usize,
    ) -> (Recorded<C, Self>, Block) {
        Recorded::client(config, now, limit)
    }
}

impl Configured for Accepting {
    type Config = ServerConfig;
    type Tls = ServerTls;
    const NAME: &'static str = events::SERVER;

    fn lacks_authentication(tls: &ServerTls) -> Option<&'static str> {
        (!tls.authenticates_clients()).then_some(
            "pin the clients' certificates with ServerTls::pinned_clients(fingerprints)?, or trust \
             the authority that issues them with ServerTls::require_client_certificates(roots)?",
        )
    }

    fn max_dials(_config: &ServerConfig) -> u32 {
        0
    }

    fn set_config<C>(
        machine: &mut Recorded<C, Self>,
        now: Instant,
        config: &ServerConfig,
    ) -> Result<(), ConfigError> {
        let certificates = machine.knows_certificates();
        machine.set_config(now, &config.clone().with_certificates(certificates))
    }

    fn machine<C>(config: &ServerConfig, now: Instant) -> Machine<C, Self> {
        Server::new(config, now)
    }

    fn recorded<C>(
        config: &ServerConfig,
        now: Instant,
        limit: usize,
    ) -> (Recorded<C, Self>, Block) {
        Recorded::server(config, now, limit)
    }
}

/// The address of a client whose connections the user makes.
const CUSTOM_DIALER: &str = "custom dialer";

/// The least protection with which a pool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Demand {
    Nothing,
    Tls,
    Authentication,
}

/// The TLS settings of a pool that runs, and the demand on those that replace them.
pub(super) struct Protection<T> {
    /// `None` for plain TCP.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nothing replaces them then"))]
    tls: Option<TlsSettings<T>>,
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "likewise"))]
    demand: Demand,
}

#[cfg(feature = "tls")]
impl<T: Clone> Protection<T> {
    /// Replaces the settings, if the new ones meet the demand.
    pub(super) fn set<R: Configured<Tls = T>>(&self, tls: T) -> Result<(), SetTlsError> {
        // A demand for TLS is met by any settings.
        let current = self.tls.as_ref().ok_or(SetTlsError::PlainTcp)?;
        if self.demand == Demand::Authentication
            && let Some(remedy) = R::lacks_authentication(&tls)
        {
            return Err(SetTlsError::AuthenticationRequired { remedy });
        }
        current.set(tls);
        Ok(())
    }
}

/// Builds a [`Pool`].
#[derive(Clone)]
#[must_use]
pub struct PoolBuilder<N: Runtime, R: Configured> {
    name: Option<Arc<str>>,
    config: Option<R::Config>,
    tls: Option<R::Tls>,
    keep_alive: Option<KeepAlive>,
    handle: Option<N::Handle>,
    demand: Demand,
    tape: Option<OpenTape>,
}

impl<N: Runtime, R: Configured> Default for PoolBuilder<N, R> {
    /// The default configuration, no TLS, keep-alive every 15 s, on the current runtime.
    fn default() -> Self {
        let keep_alive = Some(KeepAlive::default());
        let demand = Demand::Nothing;
        Self { name: None, config: None, tls: None, keep_alive, handle: None, demand, tape: None }
    }
}

impl<N: Runtime, R: Configured> PoolBuilder<N, R> {
    /// Sets the name of the pool in events and metrics. The default is the address.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into().into());
        self
    }

    /// The pool in its events and metrics.
    fn label(&self, address: Arc<str>) -> Label {
        let name = self.name.as_ref().unwrap_or(&address);
        Label { name: Arc::clone(name), role: R::NAME, address, tls: self.tls.is_some() }
    }

    /// Sets the configuration of the machine: everything that is not I/O.
    pub fn config(mut self, config: R::Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Sets TLS; `None`, the default, is plain TCP.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: impl Into<Option<R::Tls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// Sets TCP keep-alive; `None` leaves it off. A period above [`KeepAlive::MAX`] is refused when the
    /// pool is built.
    pub fn keep_alive(mut self, keep_alive: impl Into<Option<KeepAlive>>) -> Self {
        self.keep_alive = keep_alive.into();
        self
    }

    /// Records everything that the machine of the pool is told, in a writer that `open` opens.
    pub fn record<W: io::Write + Send + 'static>(
        mut self,
        open: impl Fn() -> io::Result<W> + Send + Sync + 'static,
    ) -> Self {
        self.tape = Some(Arc::new(move || Ok(Box::new(open()?))));
        self
    }

    /// Refuses to build a pool that would use plain TCP.
    pub fn require_tls(mut self) -> Self {
        self.demand = self.demand.max(Demand::Tls);
        self
    }

    /// Refuses to build a pool whose TLS settings accept a peer that nobody has authenticated: any
    /// server at a client, any client at a server.
    pub fn require_authentication(mut self) -> Self {
        self.demand = Demand::Authentication;
        self
    }

    /// Checks the settings that are not the machine's, before anything is bound, dialled or started.
    fn check(&self) -> Result<(), BuildError> {
        self.keep_alive.map_or(Ok(()), KeepAlive::check)?;
        self.check_demand()
    }

    /// Returns where the pool is to run, if it may be built.
    fn place(&mut self) -> Result<N::Handle, BuildError> {
        self.check()?;
        let handle = self.handle.take().map_or_else(N::current, Ok)?;
        N::check(&handle)?;
        Ok(handle)
    }

    /// Compares the settings with the demand.
    fn check_demand(&self) -> Result<(), BuildError> {
        match &self.tls {
            _ if self.demand == Demand::Nothing => Ok(()),
            None => Err(BuildError::TlsRequired),
            Some(tls) if self.demand == Demand::Authentication => R::lacks_authentication(tls)
                .map_or(Ok(()), |remedy| Err(BuildError::AuthenticationRequired { remedy })),
            Some(_) => Ok(()),
        }
    }

    /// Runs the pool on `handle`. The pool does not keep its runtime alive: it closes when the runtime
    /// shuts down.
    pub fn on(mut self, handle: impl Into<N::Handle>) -> Self {
        self.handle = Some(handle.into());
        self
    }
}

impl<N: Runtime> PoolBuilder<N, Dialing> {
    /// Builds a pool that dials `address` ("host:port"), resolved anew at each dial, by the pool: so
    /// this call does not wait. The first dials begin at once. Several addresses race after RFC 8305,
    /// and later dials try the winner first until dials or handshakes fail.
    ///
    /// # Errors
    ///
    /// [`BuildError::Address`] for anything but "host:port", and those of
    /// [`connect_with`](Self::connect_with).
    pub fn connect(self, address: impl Into<String>) -> Result<Pool<N, Dialing>, BuildError> {
        self.connect_by(ToAddress::new(dial_address(address.into())?))
    }

    /// Builds a pool whose connections `dial` makes.
    ///
    /// # Errors
    ///
    /// [`BuildError::Config`] if a setting is refused, [`BuildError::TlsRequired`] and
    /// [`BuildError::AuthenticationRequired`] if settings that were required are missing,
    /// [`BuildError::Entropy`], and those of [`Runtime::current`], [`Runtime::check`] and
    /// [`Runtime::start`].
    pub fn connect_with<D, F>(self, dial: D) -> Result<Pool<N, Dialing>, BuildError>
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<N::TcpStream>> + Send + 'static,
    {
        self.connect_by(ByCall(dial))
    }

    /// [`connect_with`](Self::connect_with) for dialers that need the runtime.
    ///
    /// # Errors
    ///
    /// Those of [`connect_with`](Self::connect_with).
    pub fn connect_by(mut self, dial: impl Dial<N>) -> Result<Pool<N, Dialing>, BuildError> {
        let handle = self.place()?;
        let config = self.take_config()?.or_entropy(entropy()?);
        let label = self.label(dial.name().unwrap_or_else(|| CUSTOM_DIALER.into()));
        let connector = Connector::new(self.tls, config.ids());
        let protection = Protection { tls: connector.tls(), demand: self.demand };
        let supply = Dialer::new(dial, connector, self.keep_alive);
        Pool::start(&handle, &config, protection, self.tape, supply, Weak::new(), label)
    }

    fn take_config(&mut self) -> Result<ClientConfig, ConfigError> {
        self.config.take().map_or_else(|| ClientConfig::builder().build(), Ok)
    }
}

impl<N: Runtime> PoolBuilder<N, Accepting> {
    /// Resolves `address` ("host:port"), binds the first of its addresses that can be bound, and builds a
    /// pool on it. The port is free again once the pool has closed, or shuts down. Waits for the look-up
    /// only; [`bind_addr`](Self::bind_addr) needs none.
    ///
    /// # Errors
    ///
    /// [`BuildError::Bind`] when the address cannot be bound, and those of [`listen`](Self::listen).
    pub async fn bind(mut self, address: &str) -> Result<Pool<N, Accepting>, BuildError> {
        let handle = self.place()?;
        let addresses = N::resolve_on(&handle, &resolver_name(address)).await;
        self.bind_first(handle, address.to_owned(), addresses)
    }

    /// [`bind`](Self::bind) for an address that needs no look-up.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_addr(mut self, address: SocketAddr) -> Result<Pool<N, Accepting>, BuildError> {
        let handle = self.place()?;
        self.bind_first(handle, address.to_string(), Ok(vec![address]))
    }

    fn bind_first(
        self,
        handle: N::Handle,
        address: String,
        addresses: io::Result<Vec<SocketAddr>>,
    ) -> Result<Pool<N, Accepting>, BuildError> {
        let listener = addresses
            .and_then(|addresses| listen_on_first::<N>(&handle, addresses))
            .map_err(|source| BuildError::Bind { address, source })?;
        self.listen_on(&handle, ListeningSocket { listener, bound_here: true })
    }

    /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener when
    /// the pool closes, without shutting it down. The listener must not be in use anywhere else.
    ///
    /// # Errors
    ///
    /// [`BuildError::Config`] if a setting is refused, [`BuildError::TlsRequired`] and
    /// [`BuildError::AuthenticationRequired`] if settings that were required are missing,
    /// [`BuildError::Entropy`], and those of [`Runtime::current`], [`Runtime::check`] and
    /// [`Runtime::start`].
    pub fn listen(mut self, listener: N::Listener) -> Result<Pool<N, Accepting>, BuildError> {
        let handle = self.place()?;
        self.listen_on(&handle, ListeningSocket { listener, bound_here: false })
    }

    fn listen_on(
        self,
        handle: &N::Handle,
        socket: ListeningSocket<N>,
    ) -> Result<Pool<N, Accepting>, BuildError> {
        let address = N::kernel_listener(&socket.listener).local_addr();
        let address = address.map_or_else(|_| "unknown".to_owned(), |address| address.to_string());
        let label = self.label(address.into());
        let config = self.config.map_or_else(|| ServerConfig::builder().build(), Ok)?;
        let certificates = self.tls.as_ref().is_some_and(|tls| tls.may_see_certificates());
        let config = config.or_entropy(entropy()?).with_certificates(certificates);
        let socket = Arc::new(socket);
        let listener = Arc::downgrade(&socket);
        let acceptor = Acceptor::new(self.tls, config.id_format());
        let protection = Protection { tls: acceptor.tls(), demand: self.demand };
        let supply = Listener::new(socket, acceptor, self.keep_alive);
        Pool::start(handle, &config, protection, self.tape, supply, listener, label)
    }
}

/// Listens on the first of `addresses` that can be bound. The error is that of the last address.
fn listen_on_first<N: Runtime>(
    handle: &N::Handle,
    addresses: Vec<SocketAddr>,
) -> io::Result<N::Listener> {
    let mut outcome = Err(no_address());
    for address in addresses {
        outcome = N::listen(handle, address);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Random bytes of the operating system, from which a machine derives ids, jitter and hash keys.
fn entropy() -> Result<[u8; 32], BuildError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| BuildError::Entropy { source: error.into() })?;
    Ok(bytes)
}

impl<N: Runtime, R: Configured> fmt::Debug for PoolBuilder<N, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, config, tls, keep_alive, handle, demand, tape } = self;
        f.debug_struct("PoolBuilder")
            .field("name", name)
            .field("config", config)
            .field("tls", tls)
            .field("keep_alive", keep_alive)
            .field("handle", handle)
            .field("demand", demand)
            .field("recorded", &tape.is_some())
            .finish()
    }
}
