//! The macros that define an adapter's concrete types, so that the page of each type lists every call
//! with the adapter's own types in the signatures.

/// Defines the concrete types of an adapter whose calls return futures: `ClientPool`,
/// `ClientPoolBuilder`, `ServerPool`, `ServerPoolBuilder` and `Balancer`, in terms of
/// [`Pool`](crate::Pool). The adapter crate needs the feature `tls` to pass on this crate's.
///
/// The attributes before `client`, `server` and `balancer` go to the types; doc comments there can
/// add an example.
///
/// ```ignore
/// pool_driver::pool_types! {
///     runtime: Tokio,
///     handle: tokio::runtime::Handle,
///     stream: PooledStream,
///     tcp_stream: tokio::net::TcpStream,
///     listener: tokio::net::TcpListener;
///     client; server; balancer
/// }
/// ```
#[macro_export]
macro_rules! pool_types {
    (
        runtime: $Runtime:ty,
        handle: $Handle:ty,
        stream: $Stream:ty,
        tcp_stream: $TcpStream:ty,
        listener: $Listener:ty;
        $(#[$client:meta])* client;
        $(#[$server:meta])* server;
        $(#[$balancer:meta])* balancer
    ) => {
        $crate::__client_types! { $Runtime, $Stream, $(#[$client])* }
        $crate::__server_types! { $Runtime, $Stream, $(#[$server])* }
        $crate::__awaited_calls! { ClientPool, $Stream }
        $crate::__awaited_calls! { ServerPool, $Stream }

        impl ClientPoolBuilder {
            /// Runs the pool on `handle` instead of the current runtime. The pool does not keep its
            /// runtime alive: it closes when the runtime shuts down.
            pub fn on(self, handle: impl Into<$Handle>) -> Self {
                Self(self.0.on(handle))
            }

            /// Builds a pool whose connections `dial` makes: through a proxy, from a certain address,
            /// in a network namespace. TLS, the id and the socket options are the pool's part. The
            /// future of a dial is dropped when its deadline passes or the pool closes. The stream
            /// must not be in use anywhere else.
            ///
            /// # Errors
            ///
            /// [`BuildError::NoRuntime`](crate::BuildError::NoRuntime) where there is nothing to
            /// run on.
            pub fn connect_with<D, F>(
                self,
                dial: D,
            ) -> Result<ClientPool, $crate::BuildError>
            where
                D: Fn() -> F + Send + Sync + 'static,
                F: Future<Output = std::io::Result<$TcpStream>> + Send + 'static,
            {
                self.0.connect_with(dial).map(ClientPool)
            }
        }

        impl ServerPoolBuilder {
            /// Runs the pool on `handle` instead of the current runtime. The pool does not keep its
            /// runtime alive: it closes when the runtime shuts down.
            pub fn on(self, handle: impl Into<$Handle>) -> Self {
                Self(self.0.on(handle))
            }

            /// Binds `address` ("host:port") and builds a pool on it. The port is free again once the
            /// pool has closed.
            ///
            /// # Errors
            ///
            /// [`BuildError::Bind`](crate::BuildError::Bind) when the address cannot be bound,
            /// [`BuildError::NoRuntime`](crate::BuildError::NoRuntime) where there is nothing to
            /// run on.
            pub async fn bind(self, address: &str) -> Result<ServerPool, $crate::BuildError> {
                self.0.bind(address).await.map(ServerPool)
            }

            /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener
            /// when the pool closes, without shutting it down: a service manager may have kept a
            /// handle of it. Otherwise the listener must not be in use anywhere else.
            ///
            /// # Errors
            ///
            /// [`BuildError::NoRuntime`](crate::BuildError::NoRuntime) where there is nothing to
            /// run on.
            pub fn listen(self, listener: $Listener) -> Result<ServerPool, $crate::BuildError> {
                self.0.listen(listener).map(ServerPool)
            }
        }

        $crate::__balancer_type! { $(#[$balancer])* }

        impl<P: $crate::AnyPool<Runtime = $Runtime>> Balancer<P> {
            /// Acquires an idle connection of any pool, or waits up to `timeout` at all of them.
            /// Returns the stream and its pool, by which the other end must be told the id.
            ///
            /// Cancel safe.
            ///
            /// # Errors
            ///
            /// When every pool refuses or the deadline passes: the error of the pool that refused
            /// last.
            pub async fn acquire(
                &self,
                timeout: std::time::Duration,
            ) -> Result<($Stream, &P), $crate::shared::AcquireError> {
                self.0.acquire(timeout).await
            }
        }
    };
}

/// Defines the calls of a pool that wait, as futures.
#[doc(hidden)]
#[macro_export]
macro_rules! __awaited_calls {
    ($Pool:ident, $Stream:ty) => {
        /// Calls that wait. Their futures are cancel safe: dropping one cancels the wait, and a
        /// connection already granted to it goes to the next waiter or back to the pool.
        impl $Pool {
            /// Acquires any idle connection, or waits up to `timeout` for one. Waiters are served
            /// first come, first served.
            ///
            /// Never returns a connection that the peer has closed, nor one that the peer has begun to
            /// use, which is kept for [`acquire_by_id`](Self::acquire_by_id). A zero timeout answers
            /// at once; [`Duration::MAX`](std::time::Duration::MAX) waits for ever.
            ///
            /// # Errors
            ///
            /// [`AcquireError::Timeout`](crate::AcquireError::Timeout) with the cause of the
            /// wait and the last failure;
            /// [`AcquireError::Refused`](crate::AcquireError::Refused) when no connection
            /// can come.
            pub async fn acquire(
                &self,
                timeout: std::time::Duration,
            ) -> Result<$Stream, $crate::shared::AcquireError> {
                self.0.acquire(timeout).await
            }

            /// Acquires the connection with this id, or waits up to `timeout` for it: until it comes
            /// (client), until its handshake is over, or until its holder puts it back. A zero timeout
            /// answers at once.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire). A server knows every id it has issued, and refuses
            /// others at once. A client refuses the ids of the 256 connections that ended last; for an
            /// id that never comes it waits until the deadline, for example when its side of the
            /// handshake failed after the server's was over.
            pub async fn acquire_by_id(
                &self,
                id: $crate::pool_proto::ConnId,
                timeout: std::time::Duration,
            ) -> Result<$Stream, $crate::shared::AcquireError> {
                self.0.acquire_by_id(id, timeout).await
            }

            /// Waits up to `timeout` until `ready` connections are idle at once. Takes none of them.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire). More than the pool may ever hold are refused at once.
            pub async fn wait_ready(
                &self,
                ready: u32,
                timeout: std::time::Duration,
            ) -> Result<(), $crate::shared::AcquireError> {
                self.0.wait_ready(ready, timeout).await
            }

            /// Waits until the pool is closed and everything that it runs has ended.
            pub async fn closed(&self) {
                self.0.closed().await;
            }
        }
    };
}

/// Defines `ClientPool` and `ClientPoolBuilder` with the calls that do not wait.
#[doc(hidden)]
#[macro_export]
macro_rules! __client_types {
    ($Runtime:ty, $Stream:ty, $(#[$doc:meta])*) => {
        $crate::__pool_type! {
            $(#[$doc])*
            ClientPool, ClientPoolBuilder, $Runtime, $Stream,
            $crate::pool_proto::Dialing, $crate::pool_proto::ClientConfig, $crate::tls::ClientTls
        }

        impl ClientPoolBuilder {
            /// Builds a pool that dials `address` ("host:port"), resolved anew at each dial. The
            /// first dials begin at once.
            ///
            /// # Errors
            ///
            /// [`BuildError::Address`](crate::BuildError::Address) for anything but "host:port",
            /// [`BuildError::NoRuntime`](crate::BuildError::NoRuntime) where there is nothing to run
            /// on, [`BuildError::Start`](crate::BuildError::Start) when the system has no thread or
            /// descriptor left.
            pub fn connect(
                self,
                address: impl Into<String>,
            ) -> Result<ClientPool, $crate::BuildError> {
                self.0.connect(address).map(ClientPool)
            }
        }
    };
}

/// Defines `ServerPool` and `ServerPoolBuilder` with the calls that do not wait.
#[doc(hidden)]
#[macro_export]
macro_rules! __server_types {
    ($Runtime:ty, $Stream:ty, $(#[$doc:meta])*) => {
        $crate::__pool_type! {
            $(#[$doc])*
            ServerPool, ServerPoolBuilder, $Runtime, $Stream,
            $crate::pool_proto::Accepting, $crate::pool_proto::ServerConfig, $crate::tls::ServerTls
        }

        impl ServerPool {
            /// Returns the address that the pool listens on: after binding port 0, with the port that
            /// the system chose. `None` only if the listener could not tell.
            #[must_use]
            pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
                self.0.local_addr()
            }
        }
    };
}

/// Defines one pool type and its builder, with the calls that do not wait.
#[doc(hidden)]
#[macro_export]
macro_rules! __pool_type {
    (
        $(#[$doc:meta])*
        $Pool:ident, $Builder:ident, $Runtime:ty, $Stream:ty, $Role:ty, $Config:ty, $Tls:ty
    ) => {
        $(#[$doc])*
        ///
        /// Cheap to clone; all clones are the same pool. When the last one is dropped, the pool closes
        /// as by [`close`](Self::close). All methods may be called from any task or thread.
        #[derive(Clone)]
        pub struct $Pool($crate::Pool<$Runtime, $Role>);

        /// Calls that neither wait nor block.
        impl $Pool {
            /// Returns a builder: default configuration, no TLS, keep-alive every 15 s.
            pub fn builder() -> $Builder {
                $Builder($crate::PoolBuilder::default())
            }

            /// Puts a connection back for reuse.
            ///
            /// Data that has arrived by now and was not read is discarded; later data is for the next
            /// holder. Put a connection back only when the other end is done with it, and let the
            /// other end take it again only afterwards: data that it sends before counts as part of
            /// the former use.
            ///
            /// In a full pool (the stock is refilled while a connection is in use), or at the end of
            /// its lifetime, the connection is closed, which is not an error. To reuse connections,
            /// leave room between the usual stock and the maximum capacity.
            ///
            /// # Errors
            ///
            /// [`PutError`](crate::PutError) when the pool was closed or flushed
            /// meanwhile, or the stream belongs to another pool. The connection is closed then.
            pub fn put(&self, stream: $Stream) -> Result<(), $crate::pool_proto::PutError> {
                self.0.put(stream)
            }

            /// Closes the idle connections and returns their number. All others are left alone.
            ///
            /// A client takes a server that cleans connections less than a second old for a full one,
            /// and backs off for a moment before it dials again.
            pub fn clean(&self) -> u32 {
                self.0.clean()
            }

            /// Ends all connections, leases included, and starts afresh; returns their number.
            /// Waiters go on waiting. Later reads and writes of a leased stream fail with
            /// [`Revoked`](crate::Revoked).
            pub fn flush(&self) -> u32 {
                self.0.flush()
            }

            /// Closes the pool and ends everything in it: waiters are refused, leases are revoked,
            /// dials, handshakes and the listener end. Closing again does nothing.
            /// [`closed`](Self::closed) waits until all of that is done.
            pub fn close(&self) {
                self.0.close();
            }

            /// Returns whether the pool was closed.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.0.is_closed()
            }

            /// Returns whether at least one connection is idle.
            #[must_use]
            pub fn is_ready(&self) -> bool {
                self.0.is_ready()
            }

            /// Returns the number of idle connections.
            #[must_use]
            pub fn idle(&self) -> u32 {
                self.0.idle()
            }

            /// Returns the number of idle connections that a client aims at now; of a server, the
            /// largest number that it admits.
            #[must_use]
            pub fn capacity(&self) -> u32 {
                self.0.capacity()
            }

            /// Returns the time between two rounds of the tuner now; zero for a server.
            #[must_use]
            pub fn interval(&self) -> std::time::Duration {
                self.0.interval()
            }

            /// Returns the number of connections in each state, and the counters since the pool was
            /// built.
            #[must_use]
            pub fn stats(&self) -> $crate::pool_proto::Stats {
                self.0.stats()
            }

            /// Returns why the last dial or handshake failed, if none has succeeded since.
            #[must_use]
            pub fn last_failure(&self) -> Option<std::sync::Arc<str>> {
                self.0.last_failure()
            }

            /// Adds one to the user's error counter. The pool stores the counter and does nothing else
            /// with it.
            pub fn add_error(&self) {
                self.0.add_error();
            }

            /// Returns the user's error counter.
            #[must_use]
            pub fn error_count(&self) -> u64 {
                self.0.error_count()
            }

            /// Sets the user's error counter to zero.
            pub fn reset_error(&self) {
                self.0.reset_error();
            }
        }

        impl std::fmt::Debug for $Pool {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($Pool)).field("stats", &self.stats()).finish()
            }
        }

        impl $crate::AnyPool for $Pool {
            type Runtime = $Runtime;
            type Role = $Role;

            fn pool(&self) -> &$crate::Pool<$Runtime, $Role> {
                &self.0
            }
        }

        #[doc = concat!("Builds a [`", stringify!($Pool), "`].")]
        #[derive(Clone)]
        #[must_use]
        pub struct $Builder($crate::PoolBuilder<$Runtime, $Role>);

        impl $Builder {
            /// Sets capacity, limits, timeouts, ids: everything that is not I/O.
            pub fn config(self, config: $Config) -> Self {
                Self(self.0.config(config))
            }

            /// Sets TLS; `None`, the default, is plain TCP.
            #[cfg(feature = "tls")]
            pub fn tls(self, tls: impl Into<Option<$Tls>>) -> Self {
                Self(self.0.tls(tls))
            }

            /// Sets TCP keep-alive; `None` leaves it off. Default: every 15 s.
            pub fn keep_alive(self, keep_alive: impl Into<Option<$crate::KeepAlive>>) -> Self {
                Self(self.0.keep_alive(keep_alive))
            }
        }

        impl std::fmt::Debug for $Builder {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// Defines `Balancer` with the calls that do not wait.
#[doc(hidden)]
#[macro_export]
macro_rules! __balancer_type {
    ($(#[$doc:meta])*) => {
        /// Spreads acquires over several pools: to several servers, or behind several listeners. `P`
        /// is [`ClientPool`] or [`ServerPool`].
        ///
        /// Pools with an idle connection serve at once, in turn. When there is none, the caller waits
        /// at all pools, and the first connection wins. A pool that is closed, or whose peer is down,
        /// is passed over.
        $(#[$doc])*
        #[derive(Debug)]
        pub struct Balancer<P>($crate::Balancer<P>);

        impl<P: $crate::AnyPool> Balancer<P> {
            /// A balancer over at least one pool.
            pub fn new(first: P, others: impl IntoIterator<Item = P>) -> Self {
                Self($crate::Balancer::new(first, others))
            }

            /// Returns the pools in the order in which they were given.
            #[must_use]
            pub fn pools(&self) -> &[P] {
                self.0.pools()
            }
        }
    };
}

/// Defines `PooledStream` for an adapter whose streams implement I/O traits of futures: a tuple struct
/// around a [`LeasedConnection`](crate::LeasedConnection), without those traits.
#[macro_export]
macro_rules! stream_type {
    ($(#[$doc:meta])* $Runtime:ty) => {
        /// A connection acquired from a pool: reads and writes like any stream, and knows its id.
        ///
        /// Data that the peer sent before the connection was acquired is read first. With TLS,
        /// written data may not have left before a flush: flush before waiting for an answer.
        ///
        $(#[$doc])*
        ///
        /// When the pool is flushed or closed, reads and writes fail with
        /// [`ConnectionAborted`](std::io::ErrorKind::ConnectionAborted), and the error contains a
        /// [`Revoked`](crate::Revoked) with the reason.
        #[must_use = "dropping a stream closes its connection"]
        pub struct PooledStream($crate::LeasedConnection<$Runtime>);

        impl From<$crate::LeasedConnection<$Runtime>> for PooledStream {
            fn from(leased: $crate::LeasedConnection<$Runtime>) -> Self {
                Self(leased)
            }
        }

        impl From<PooledStream> for $crate::LeasedConnection<$Runtime> {
            fn from(stream: PooledStream) -> Self {
                stream.0
            }
        }

        impl PooledStream {
            /// Returns the id, equal on both ends where ids are exchanged.
            #[must_use]
            pub const fn id(&self) -> $crate::pool_proto::ConnId {
                self.0.id()
            }

            /// Returns the address of the peer.
            ///
            /// # Errors
            ///
            /// [`NotConnected`](std::io::ErrorKind::NotConnected) never happens while the stream
            /// exists.
            pub fn peer_addr(&self) -> std::io::Result<std::net::SocketAddr> {
                self.0.peer_addr()
            }

            /// Returns the address of this end.
            ///
            /// # Errors
            ///
            /// The operating system's.
            pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
                self.0.local_addr()
            }

            /// Returns the facts of the TLS session; `None` without TLS.
            #[cfg(feature = "tls")]
            #[must_use]
            pub fn tls(&self) -> Option<$crate::tls::TlsFacts> {
                self.0.tls()
            }
        }

        impl std::fmt::Debug for PooledStream {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("PooledStream")
                    .field("id", &self.id())
                    .field("peer", &self.peer_addr().ok())
                    .finish_non_exhaustive()
            }
        }
    };
}
