//! A pool type and its builder: the calls that do not wait, and the builder methods of either role.

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
        /// as by [`close`](Self::close): streams in use are cut. Only a
        /// [graceful shutdown](Self::graceful_shutdown) that has begun goes on. All methods may be
        /// called from any task or thread.
        #[derive(Clone)]
        pub struct $Pool($crate::Pool<$Runtime, $Role>);

        /// Calls that neither wait nor block.
        impl $Pool {
            /// Returns a builder: default configuration, no TLS, keep-alive every 15 s.
            pub fn builder() -> $Builder {
                $Builder($crate::PoolBuilder::default())
            }

            /// Returns the name of the pool in events and metrics: that of its builder, or else the address
            /// that it dials or listens on.
            #[must_use]
            pub fn name(&self) -> &str {
                self.0.name()
            }

            /// Returns a snapshot of everything that an operator watches: the statistics, the waits of
            /// acquires, and the times that dials have taken.
            /// [`prometheus`](crate::prometheus) makes a text for Prometheus of the reports of one or
            /// several pools. It takes about a microsecond, so not for each acquire.
            #[must_use]
            pub fn report(&self) -> $crate::metrics::Report {
                self.0.report()
            }

            /// Publishes all figures of [`report`](Self::report) in the recorder of the crate `metrics`:
            /// that of the calling thread, or else the global one. Call it from a timer, or before each
            /// scrape: counters and gauges get their present values, and histograms the durations since
            /// the last call. All publications of a pool should go to one recorder.
            #[cfg(feature = "metrics")]
            pub fn publish(&self) {
                self.0.publish();
            }

            /// Puts a connection back for reuse.
            ///
            /// Data that has arrived by now and was not read is discarded; later data is for the next
            /// holder. Put a connection back only when the other end is done with it, and let the
            /// other end take it again only afterwards: data that it sends before counts as part of
            /// the former use.
            ///
            /// In a full pool (the stock is refilled while a connection is in use), in a graceful
            /// shutdown, or at the end of its lifetime, the connection is closed, which is not an
            /// error. (A full pool keeps one that the other end acquires, and may have acquired again:
            /// see [`Acquirer`](crate::pool_proto::Acquirer).) To reuse connections, leave room between
            /// the usual stock and the maximum capacity.
            ///
            /// # Errors
            ///
            /// [`PutError`](crate::PutError) when the pool was closed or flushed meanwhile (not while
            /// it shuts down gracefully), or the stream belongs to another pool. The connection is
            /// closed then.
            pub fn put(&self, stream: $Stream) -> Result<(), $crate::pool_proto::PutError> {
                self.0.put(stream)
            }

            /// Replaces the TLS settings as a whole: identity, roots, pins, protocols. Handshakes that begin
            /// when this has returned use the new ones. May be called from any thread, for example when
            /// a certificate was renewed; [`tls`](mod@crate::tls) has an example.
            ///
            /// Handshakes under way and established connections, idle or in use, keep the settings with
            /// which they began, and live on. To renew the idle ones, call [`clean`](Self::clean)
            /// afterwards. A connection in use that is put back later, and a handshake that was under
            /// way, still brings one of the former settings into the stock. Where a pin, a root or a
            /// client's certificate was withdrawn because it is not trusted any more, call
            /// [`flush`](Self::flush) afterwards: it ends everything that began with the former settings.
            ///
            /// A client that waits because its handshakes have failed goes on waiting: if the new settings fix
            /// that, end the wait by `dial_now`.
            ///
            /// A full server goes on judging peers at the moment for which it was built. A server that was
            /// built without client certificates, and requires them now, counts peers by their certificates,
            /// but judges a new peer by its address, before the handshake: a peer that comes back does not
            /// replace its own old connections then. A server that was built with client certificates, and
            /// requires none now, judges by the address after the handshake. Where that matters, build the
            /// pool anew.
            ///
            /// # Errors
            ///
            /// [`SetTlsError::PlainTcp`](crate::SetTlsError::PlainTcp) for a pool without TLS: both ends
            /// would have to change at the same moment. For the same reason a pool with TLS cannot change
            /// to plain TCP. [`SetTlsError::AuthenticationRequired`](crate::SetTlsError::AuthenticationRequired)
            /// if the pool was built with `require_authentication` and these settings accept any peer.
            /// The former settings stay in force.
            #[cfg(feature = "tls")]
            pub fn set_tls(&self, tls: $Tls) -> Result<(), $crate::SetTlsError> {
                self.0.set_tls(tls)
            }

            /// Closes the idle connections that are this end's to acquire, and returns their number. All
            /// others are left alone.
            ///
            /// By default these are all idle connections. Then call it at the end that acquires any
            /// connection: at the other end it may close a connection that the peer has acquired a moment ago,
            /// whose data has not arrived yet. Where [`acquirer`](crate::pool_proto::Acquirer) says that only
            /// the peer acquires, it closes none.
            ///
            /// To a client, a server that cleans connections less than a second old looks full: the client dials
            /// less for a moment.
            pub fn clean(&self) -> u32 {
                self.0.clean()
            }

            /// Ends all connections, leases included, and starts afresh; returns their number. To leave
            /// those in use alone, as `Flush` of the Go package does, call [`clean`](Self::clean).
            ///
            /// Waiters go on waiting. Once this has returned, reads and writes of a stream that was
            /// leased before fail with [`Revoked`](crate::Revoked), on any thread; data that TLS holds
            /// is not sent. Pending reads and writes end at once, or, of more than 32 streams, when the
            /// pool's driver comes to them.
            pub fn flush(&self) -> u32 {
                self.0.flush()
            }

            /// Closes the pool and ends everything in it: waiters are refused, leases are revoked as by
            /// [`flush`](Self::flush), dials, handshakes and the listener end. Closing again does nothing.
            /// [`closed`](Self::closed) waits until all of that is done.
            ///
            /// Idle connections are closed in good order. Streams in use are cut: with TLS, the peer
            /// sees that data may be missing. [`graceful_shutdown`](Self::graceful_shutdown) lets them
            /// go on.
            pub fn close(&self) {
                self.0.close();
            }

            /// Begins a graceful shutdown, and returns at once: nothing is dialled, accepted or handed
            /// out any more, and connections in use go on to their end. [`closed`](Self::closed) waits
            /// for the end of the last one; the pool is then closed.
            ///
            /// - Waiters are refused at once
            ///   ([`Refusal::ShuttingDown`](crate::pool_proto::Refusal::ShuttingDown)).
            /// - The port is free when the call returns (on Linux, if the pool has bound it; elsewhere a
            ///   moment later), so that the next pool can be bound to it.
            /// - Idle connections are closed in good order, and the peer's pool notices. (With TLS, connections
            ///   that are the peer's to acquire end without a close_notify, so that a user of the peer that has
            ///   just acquired one does not take its end for a whole answer.) A stream that is put back is closed
            ///   in the same way.
            /// - A connection that the peer has begun to use, and whose id is on its way, can still be
            ///   acquired by its id, until the claim timeout. A connection that the peer has acquired a
            ///   moment ago, and whose data has not arrived yet, is idle here, and is closed.
            /// - A connection that has been granted to a caller is in use, too.
            ///
            /// After `timeout`, connections that are still in use are revoked. A connection that is at rest
            /// at that moment, with nothing left to send, ends in good order: with TLS, the peer gets a
            /// close_notify. [`Duration::MAX`](std::time::Duration::MAX) waits for ever. A second call may
            /// shorten the time that is left, [`close`](Self::close) ends it at once, and a drop of the pool
            /// changes nothing.
            pub fn graceful_shutdown(&self, timeout: std::time::Duration) {
                self.0.graceful_shutdown(timeout);
            }

            /// Returns whether the pool was closed, or its graceful shutdown is over.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.0.is_closed()
            }

            /// Returns whether at least one connection is idle, for either end. Where the
            /// [`acquirer`](crate::pool_proto::Acquirer) is `Peer` or `Both`, `reserved` of
            /// [`stats`](Self::stats) counts the connections that only an acquire by id gets
            /// here.
            #[must_use]
            pub fn is_ready(&self) -> bool {
                self.0.is_ready()
            }

            /// Returns the number of idle connections, for either end.
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

            /// Returns the time between two rounds of a client under `Tuning::NodePass` now; otherwise zero.
            #[must_use]
            pub fn interval(&self) -> std::time::Duration {
                self.0.interval()
            }

            /// Changes the configuration of the pool while it runs. The connections go on. This call may come
            /// from any thread, and its effect is there when it returns.
            ///
            /// `config` is a complete configuration: omitted settings have their defaults. A shorter time
            /// also holds for existing connections, a lower limit closes ready connections and never one in
            /// use, and a higher limit serves callers at once. The tables [of a client] and [of a server]
            /// list each setting. Keep-alive and the address are not part of the configuration, and stay; so
            /// does TLS, which has a call of its own (`set_tls`).
            ///
            /// # Errors
            ///
            /// [`ConfigError::Fixed`] names a setting that cannot change in a running pool, such as the
            /// format of ids, the acquirer or the seed. Then nothing changes.
            ///
            /// [of a client]: crate::pool_proto::Client#method.set_config
            /// [of a server]: crate::pool_proto::Server#method.set_config
            /// [`ConfigError::Fixed`]: crate::pool_proto::ConfigError::Fixed
            pub fn set_config(
                &self,
                config: &$Config,
            ) -> Result<(), $crate::pool_proto::ConfigError> {
                self.0.set_config(config)
            }

            /// Returns the number of connections in each state, and the counters since the pool was
            /// built.
            #[must_use]
            pub fn stats(&self) -> $crate::pool_proto::Stats {
                self.0.stats()
            }

            /// Returns why the last dial or handshake failed, with the peer's address, if none has
            /// succeeded since; or a likely cause of failure: a peer that has connected and sends
            /// nothing for a second, or that speaks TLS to an end without TLS.
            #[must_use]
            pub fn last_failure(&self) -> Option<std::sync::Arc<str>> {
                self.0.last_failure()
            }

            /// Returns the state of the recording; `None` if the builder of the pool was not told to
            /// `record` it.
            #[must_use]
            pub fn recording(&self) -> Option<$crate::shared::Recording> {
                self.0.recording()
            }

            /// Ends the recording, if there is one: the call before this one is the last on the tape. A
            /// thread writes the rest; [`recording`](Self::recording) tells when it has.
            pub fn end_recording(&self) {
                self.0.end_recording();
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
            /// Sets the name of the pool in [events and metrics](crate::pool_driver::observability). The
            /// default is the address that it dials or listens on, or `custom dialer`. Pools of one
            /// process should have different names, or different roles.
            pub fn name(self, name: impl Into<String>) -> Self {
                Self(self.0.name(name))
            }

            /// Sets capacity, limits, timeouts, ids: everything that is not I/O.
            pub fn config(self, config: $Config) -> Self {
                Self(self.0.config(config))
            }

            /// Sets TLS; `None`, the default, is plain TCP. Where the settings come from a file or from
            /// arguments, [`require_authentication`](Self::require_authentication) refuses settings that
            /// are too weak. `set_tls` of the pool replaces them while it runs.
            #[cfg(feature = "tls")]
            pub fn tls(self, tls: impl Into<Option<$Tls>>) -> Self {
                Self(self.0.tls(tls))
            }

            /// Records everything that the pool's state machine is told, from its creation on, in the
            /// writer that `open` opens: each pool that is built opens one of its own, for example by
            /// `record(|| std::fs::File::create("pool.tape"))`. The program `replay` of the package
            /// `pool-tape` replays such a tape, and [`tape`](crate::tape) tells its format.
            ///
            /// The tape has the times of requests, and neither ids, addresses, keys nor data. An acquire
            /// and a put take some 12 bytes on it, and some 5 % longer. A recording that begins later could
            /// not be replayed, so there is none; it ends with the pool, or by `end_recording` of the pool.
            ///
            /// A thread of the pool's own writes the tape, each input within a second, and never delays the
            /// pool; only `closed` waits for the end of the tape. If the writer fails, or is so slow that
            /// a buffer of 1 MiB fills up, the recording ends, and `recording` of the pool says so.
            ///
            /// If `open` fails, the call that builds the pool does, with
            /// [`BuildError::Tape`](crate::BuildError::Tape).
            pub fn record<W: std::io::Write + Send + 'static>(
                self,
                open: impl Fn() -> std::io::Result<W> + Send + Sync + 'static,
            ) -> Self {
                Self(self.0.record(open))
            }

            /// Refuses to build a pool without TLS, which could be read and changed on its way: the
            /// call that builds the pool fails with
            /// [`BuildError::TlsRequired`](crate::BuildError::TlsRequired) before anything is bound or
            /// dialled.
            ///
            /// TLS alone does not tell who the peer is: prefer
            /// [`require_authentication`](Self::require_authentication). This weaker demand is for
            /// custom rustls configurations, whose checks the pool cannot see, and for listeners that
            /// serve the public.
            pub fn require_tls(self) -> Self {
                Self(self.0.require_tls())
            }

            /// Refuses to build a pool that talks to strangers: the call that builds it fails with
            /// [`BuildError::TlsRequired`](crate::BuildError::TlsRequired) without TLS, and with
            /// [`BuildError::AuthenticationRequired`](crate::BuildError::AuthenticationRequired) if the
            /// TLS settings accept any peer, before anything is bound or dialled.
            ///
            /// Each end can vouch only for its own check, so both ends should make this call. A client
            /// must authenticate its server, by pins or by a verified chain and name; whether the
            /// client needs a certificate is the decision of the server. A server must authenticate
            /// its clients, by pins or by roots. A custom rustls configuration passes only if its author
            /// vouches for it by `assume_authenticated`, because the pool cannot see its checks. The demand
            /// also holds for settings that replace these. The allow list does not count: addresses can be
            /// shared, and are not proof of a peer.
            pub fn require_authentication(self) -> Self {
                Self(self.0.require_authentication())
            }

            /// Sets TCP keep-alive; `None` leaves it off. Default: every 15 s, by which a dead path is
            /// noticed after 21 s. A living peer is never cut off, however long it does not read:
            /// [`KeepAlive`](crate::KeepAlive) explains this, and the limit on data under way to a dead peer.
            /// A period above [`KeepAlive::MAX`](crate::KeepAlive::MAX) is refused when the pool is built,
            /// with [`BuildError::Config`](crate::BuildError::Config).
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
