//! The errors of building a pool.

use std::io;

use pool_proto::ConfigError;
use thiserror::Error;

/// The reason why a pool could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No tokio runtime is running here (`adapter-tokio` only).
    #[error(
        "no tokio runtime is running here; build the pool inside one that has I/O enabled \
         (Runtime::enter, #[tokio::main])"
    )]
    NoRuntime,
    /// The tokio runtime has no I/O (`adapter-tokio` on Unix only; elsewhere, tokio panics when the pool
    /// dials or listens). tokio can only be asked by an attempt, so its panic is reported as well.
    #[error(
        "the tokio runtime of the pool has no I/O; call enable_io or enable_all of its builder"
    )]
    NoIo,
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address to dial is malformed.
    #[error("{address:?} is not an address to dial; give host:port, such as tunnel.example:9000")]
    Address {
        /// The address that was given.
        address: String,
    },
    /// The builder requires TLS, and has no TLS settings.
    #[error(
        "this pool must not use plain TCP, and its builder has no TLS settings; give them by tls(…) \
         of the builder, with the cargo feature `tls`, or no longer require TLS"
    )]
    TlsRequired,
    /// The builder requires that peers are authenticated, and its TLS settings admit others.
    #[error(
        "this pool must authenticate its peers, and its TLS settings accept any, or are custom ones, \
         whose checks the pool cannot see; {remedy}; for custom settings that authenticate, say so by \
         assume_authenticated, for others use require_tls"
    )]
    AuthenticationRequired {
        /// The setting to make.
        remedy: &'static str,
    },
    /// The listener could not be bound.
    #[error("cannot listen on {address} ({source}); give a free host:port of this machine")]
    Bind {
        /// The address that was given.
        address: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The writer of the tape could not be opened.
    #[error("the tape of the pool cannot be opened ({source}); give a place that can be written")]
    Tape {
        /// The error of the function that opens it.
        source: io::Error,
    },
    /// The operating system gives no random bytes, from which ids and hash keys are derived.
    #[error(
        "the operating system gives no random bytes, so ids could be guessed; let the process call \
         getrandom(2) or its equivalent, or read /dev/urandom"
    )]
    Entropy {
        /// The operating system's error.
        source: io::Error,
    },
    /// The operating system refuses a resource that the pool runs on: a thread, or a descriptor.
    #[error(
        "the pool cannot be started ({source}); free threads or descriptors, or raise their limits"
    )]
    Start {
        /// The operating system's error.
        source: io::Error,
    },
}

/// The reason why the TLS settings of a pool could not be replaced. The former settings stay in force.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SetTlsError {
    /// The pool uses plain TCP.
    #[error(
        "this pool uses plain TCP, and both ends would have to change to TLS at the same moment; build \
         another pool with tls(…), and end this one by graceful_shutdown"
    )]
    PlainTcp,
    /// The pool must authenticate its peers, and the new settings admit others.
    #[error(
        "the new TLS settings are refused and the former ones stay: this pool must authenticate its \
         peers, and the new settings accept any, or are custom ones, whose checks the pool cannot see; \
         {remedy}; for custom settings that authenticate, say so by assume_authenticated"
    )]
    AuthenticationRequired {
        /// The setting to make.
        remedy: &'static str,
    },
}
