//! The halves of a stream for futures.

/// Defines `ReadHalf` and `WriteHalf` for an adapter whose streams implement I/O traits of futures,
/// without those traits.
#[doc(hidden)]
#[macro_export]
macro_rules! __stream_halves {
    () => {
        /// The reading half of a stream. The connection is closed when both halves are dropped.
        #[must_use = "dropping both halves closes the connection"]
        pub struct ReadHalf(std::sync::Arc<std::sync::Mutex<PooledStream>>);

        /// The writing half of a stream. The connection is closed when both halves are dropped.
        #[must_use = "dropping both halves closes the connection"]
        pub struct WriteHalf(std::sync::Arc<std::sync::Mutex<PooledStream>>);

        impl PooledStream {
            /// Splits the stream into two halves for two tasks: while one half waits, the other goes on.
            /// [`ReadHalf::reunite`] puts them together again.
            ///
            /// The halves share a lock, which is held as long as a poll lasts, and never while a half
            /// waits: with TLS, reads and writes change the same session.
            pub fn into_split(self) -> (ReadHalf, WriteHalf) {
                let stream = std::sync::Arc::new(std::sync::Mutex::new(self));
                (ReadHalf(std::sync::Arc::clone(&stream)), WriteHalf(stream))
            }
        }

        impl ReadHalf {
            /// Returns the stream of both halves.
            ///
            /// # Errors
            ///
            /// Both halves, unchanged, if they are not of one stream.
            pub fn reunite(self, write: WriteHalf) -> Result<PooledStream, (Self, WriteHalf)> {
                if !std::sync::Arc::ptr_eq(&self.0, &write.0) {
                    return Err((self, write));
                }
                drop(self);
                match std::sync::Arc::try_unwrap(write.0) {
                    Ok(stream) => {
                        Ok(stream.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
                    }
                    // Unreachable: a stream has only two halves.
                    Err(stream) => Err((Self(std::sync::Arc::clone(&stream)), WriteHalf(stream))),
                }
            }

            fn lock(&self) -> std::sync::MutexGuard<'_, PooledStream> {
                self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
            }
        }

        impl WriteHalf {
            fn lock(&self) -> std::sync::MutexGuard<'_, PooledStream> {
                self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
            }
        }

        impl std::fmt::Debug for ReadHalf {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("ReadHalf").field("id", &self.lock().id()).finish_non_exhaustive()
            }
        }

        impl std::fmt::Debug for WriteHalf {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct("WriteHalf").field("id", &self.lock().id()).finish_non_exhaustive()
            }
        }
    };
}
