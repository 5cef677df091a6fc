//! The stream type of adapters whose streams are for futures.

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
        /// To read and write from two tasks at the same time, [`into_split`](Self::into_split) the stream.
        ///
        /// When the pool is flushed or closed, or its graceful shutdown comes to its deadline, reads and
        /// writes fail with
        /// [`ConnectionAborted`](std::io::ErrorKind::ConnectionAborted), and the error contains a
        /// [`Revoked`](crate::Revoked) with the reason.
        ///
        /// # The socket beneath
        ///
        #[doc = $crate::__socket_doc!()]
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
            /// Never: the result is for the likeness with other streams.
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

            /// Returns the fingerprint of the certificate that the peer has proven to hold the key of;
            /// `None` without TLS, and if the peer has presented none, as a client does whose server
            /// requires none.
            ///
            /// An id is a name, and not a proof of who the peer is. An end that serves several peers
            /// compares this value after a take by id.
            #[cfg(feature = "tls")]
            #[must_use]
            pub fn peer_certificate(&self) -> Option<$crate::tls::Fingerprint> {
                self.0.peer_certificate()
            }
        }

        $crate::__stream_halves! {}
        $crate::__socket_traits! { |stream| stream.0.socket().socket().stream() }

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

/// Text on the socket beneath a stream, for every adapter.
#[doc(hidden)]
#[macro_export]
macro_rules! __socket_doc {
    () => {
        "The socket can be borrowed, by `AsFd` and `AsRawFd` (Unix) or `AsSocket` and `AsRawSocket`
(Windows): to read or set options of the system, such as the type of service or the sizes of its buffers.
It remains the pool's:

- Neither read from it nor write to it. Reads would miss early data, which the pool holds, and with TLS
  either breaks the session.
- Leave it in non-blocking mode, and leave keep-alive and `TCP_USER_TIMEOUT` to the pool.
- Do not shut it down: with TLS, the peer would see an end that was cut off.
- Keep no raw number of it: when the stream is put back or dropped, the number belongs to others."
    };
}
