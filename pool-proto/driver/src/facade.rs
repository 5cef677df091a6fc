//! The macros that define an adapter's concrete types, so that the page of each type lists every call
//! with the adapter's own types in the signatures.

mod balancer;
mod halves;
mod pool_type;
mod stream;

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
            /// [`BuildError::NoRuntime`](crate::BuildError::NoRuntime) and
            /// [`BuildError::NoIo`](crate::BuildError::NoIo) where there is nothing to run on,
            /// [`BuildError::Entropy`](crate::BuildError::Entropy) when the system has no random bytes.
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

            /// Resolves `address` ("host:port"), binds the first of its addresses that can be bound,
            /// and builds a pool on it. The port is free again once the pool has closed, or shuts down.
            ///
            /// Only the look-up of a name waits: a listener needs its address before there is a pool. (A
            /// client's pool looks its name up by itself, so
            /// [`connect`](ClientPoolBuilder::connect) does not wait.) For an address that needs no
            /// look-up, [`bind_addr`](Self::bind_addr) does the same without waiting.
            ///
            /// Cancel safe: nothing is bound before the look-up is over.
            ///
            /// # Errors
            ///
            /// [`BuildError::Bind`](crate::BuildError::Bind) when the address cannot be bound,
            /// [`BuildError::NoRuntime`](crate::BuildError::NoRuntime) and
            /// [`BuildError::NoIo`](crate::BuildError::NoIo) where there is nothing to run on,
            /// [`BuildError::Entropy`](crate::BuildError::Entropy) when the system has no random bytes.
            pub async fn bind(self, address: &str) -> Result<ServerPool, $crate::BuildError> {
                self.0.bind(address).await.map(ServerPool)
            }

            /// Builds a pool on a listener of the user's. It accepts at once, and closes the listener
            /// when the pool closes, without shutting it down: a service manager may have kept a
            /// handle of it. Otherwise the listener must not be in use anywhere else.
            ///
            /// # Errors
            ///
            /// [`BuildError::NoRuntime`](crate::BuildError::NoRuntime) and
            /// [`BuildError::NoIo`](crate::BuildError::NoIo) where there is nothing to run on,
            /// [`BuildError::Entropy`](crate::BuildError::Entropy) when the system has no random bytes.
            pub fn listen(self, listener: $Listener) -> Result<ServerPool, $crate::BuildError> {
                self.0.listen(listener).map(ServerPool)
            }
        }

        $crate::__balancer_type! { $(#[$balancer])* }

        impl<P: $crate::AnyPool<Runtime = $Runtime>> Balancer<P> {
            /// Acquires an idle connection of any pool, or waits up to `timeout` at all of them. The
            /// other end of the pool that served must be told the id: [`Balanced`](crate::Balanced)
            /// has the pool, and its index for data that the caller keeps for each pool.
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
            ) -> Result<$crate::Balanced<'_, $Stream, P>, $crate::shared::AcquireError> {
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
        /// connection already granted to it goes to the next waiter or back to the pool. The same happens
        /// after 10 seconds if the future was woken but is not polled; polled later, it takes another
        /// connection, or waits at the front of its queue.
        impl $Pool {
            /// Acquires any idle connection, or waits up to `timeout` for one. Waiters are served
            /// first come, first served.
            ///
            /// Never returns a connection that the peer has closed, nor one that the peer has begun to
            /// use, which is kept for [`acquire_by_id`](Self::acquire_by_id). A zero timeout answers
            /// at once; [`Duration::MAX`](std::time::Duration::MAX) waits for ever.
            /// The timeout is in real time, and holds whatever the runtime of the pool does.
            ///
            /// # Errors
            ///
            /// [`AcquireError::Timeout`](crate::AcquireError::Timeout) with the cause of the
            /// wait and the last failure;
            /// [`AcquireError::Refused`](crate::AcquireError::Refused) when no connection
            /// can come, or only the peer may acquire any.
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
            /// The peer may have used the connection, and may even have closed it, before its user told
            /// the id. So a connection that has ended in the pool is returned, too, until the
            /// `claim_timeout`: it reads the data that came first, and then EOF or the error.
            ///
            /// An id is a name, not a capability: 4 bytes, told over a channel of the user's and shown
            /// in logs. A connection is acquired at this end only, so a peer cannot use an id that it
            /// has guessed or read. But the peer that tells an id chooses the connection: if several
            /// peers connect to this pool, compare [`peer_addr`](PooledStream::peer_addr), or the
            /// peer's certificate, with the peer that told the id before you use the connection.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire). Both ends refuse the ids of the 256 connections that
            /// ended last, with the reason. A server knows every id it has issued, and refuses others
            /// at once. A client waits until the deadline for an id that never comes, for example when
            /// its side of the handshake failed after the server's was over.
            pub async fn acquire_by_id(
                &self,
                id: $crate::pool_proto::ConnId,
                timeout: std::time::Duration,
            ) -> Result<$Stream, $crate::shared::AcquireError> {
                self.0.acquire_by_id(id, timeout).await
            }

            /// Acquires the next connection that the peer has begun to use, or waits up to `timeout` for
            /// one. A zero timeout answers at once.
            ///
            /// The peer acquires any connection and writes; the first byte that arrives here says so, and
            /// nobody tells an id. Connections come in that order, and callers are served first come, first
            /// served. A caller that asks for the id of a connection comes before them. A connection that nobody
            /// accepts within the `claim_timeout` is closed.
            ///
            /// A connection that is put back, for another use, must be at rest: bytes of the former use that
            /// arrive after the [`put`](Self::put) look like the begin of the next one.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire). Refused at once where the peer acquires nothing: with
            /// `Acquirer::ThisEnd`, or without ids. In a graceful shutdown, connections that the peer has
            /// begun to use are still handed out, and then callers are refused.
            pub async fn accept(
                &self,
                timeout: std::time::Duration,
            ) -> Result<$Stream, $crate::shared::AcquireError> {
                self.0.accept(timeout).await
            }

            /// Waits up to `timeout` until `ready` connections are idle at once, for either end. Takes none
            /// of them.
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

        impl ClientPool {
            /// Ends the wait for the next dial: after failures, or for room at a full server. For
            /// callers that know that the server can be reached again, for example because a network
            /// interface is up.
            ///
            /// The client dials one connection at once, and the others when it is established. If it fails, the
            /// waits are as short as after a first failure. Without a wait, nothing changes.
            pub fn dial_now(&self) {
                self.0.dial_now();
            }

            /// Sets the capacity anew: a range within which the tuning law moves it, such as `8..=64`, or
            /// one number. It is short for [`set_config`](Self::set_config) with another capacity. For callers
            /// that know more of their demand than the law can see, or have a law of their own: they read
            /// [`stats`](Self::stats), and set one number from time to time.
            ///
            /// Missing connections are dialled at once. Ready ones beyond the capacity are closed after a
            /// 32nd of [`keep`], or a 128th where 16 callers came meanwhile. Callers that wait for a
            /// larger stock than the new maximum are refused.
            ///
            /// # Errors
            ///
            /// [`ConfigError`] as at the build of the configuration; the capacity stays as it was.
            ///
            /// [`keep`]: crate::pool_proto::ClientConfigBuilder::keep
            /// [`ConfigError`]: crate::pool_proto::ConfigError
            pub fn set_capacity(
                &self,
                capacity: impl Into<$crate::pool_proto::Bounds<u32>>,
            ) -> Result<(), $crate::pool_proto::ConfigError> {
                self.0.set_capacity(capacity.into())
            }
        }

        impl ClientPoolBuilder {
            /// Builds a pool that dials `address` ("host:port"). The first dials begin at once.
            ///
            /// The pool resolves the name, anew at each dial. So this call does not wait, and a name that
            /// cannot be resolved is not an error here, but that of a dial
            /// ([`last_failure`](ClientPool::last_failure)). (A server's
            /// [`bind`](ServerPoolBuilder::bind) waits, as a listener needs its address before there
            /// is a pool.)
            ///
            /// Of several addresses, the first one that connects wins ("Happy Eyeballs", RFC 8305): IPv6
            /// and IPv4 alternate, and an attempt begins 250 ms after the one before, or when that one
            /// fails. Later dials try the winner first while it answers and their connections last, so
            /// a name that spreads its load by several addresses spreads pools, not connections.
            ///
            /// # Errors
            ///
            /// [`BuildError::Address`](crate::BuildError::Address) for anything but "host:port",
            /// [`BuildError::NoRuntime`](crate::BuildError::NoRuntime) and
            /// [`BuildError::NoIo`](crate::BuildError::NoIo) where there is nothing to run on,
            /// [`BuildError::Start`](crate::BuildError::Start) when the system has no thread or
            /// descriptor left, [`BuildError::Entropy`](crate::BuildError::Entropy) when it has no
            /// random bytes.
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

        impl ServerPoolBuilder {
            /// Binds `address` and builds a pool on it, without waiting: [`bind`](Self::bind) for an
            /// address that needs no look-up, such as `"0.0.0.0:9000".parse()?`.
            ///
            /// # Errors
            ///
            /// As [`bind`](Self::bind).
            pub fn bind_addr(
                self,
                address: std::net::SocketAddr,
            ) -> Result<ServerPool, $crate::BuildError> {
                self.0.bind_addr(address).map(ServerPool)
            }
        }
    };
}
