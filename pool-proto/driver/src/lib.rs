//! The parts that every adapter of `pool` shares: the state machine of [`pool_proto`] behind a
//! mutex, TLS and ids on one connection, and pools with their driver, for any runtime.
//!
//! Users of a pool take an adapter (`adapter-tokio`, `adapter-smol`, `adapter-std`), which
//! re-exports everything they need. An author of an adapter implements [`Runtime`] (tasks, a timer,
//! TCP), wraps [`Leased`](shared::Leased) in the I/O traits of the runtime, and defines the concrete
//! types with [`pool_types!`].
//!
//! ```text
//!  ClientPoolBuilder                                       a task of the driver
//!  ServerPoolBuilder ──► Pool ──► driver ─┬─ Dialer ───► connect ─┐
//!                         ▲               └─ Listener ─► accept ──┴─► handshake ─► Attempt::complete
//!                         │ acquire, put                                               │
//!                       caller ◄── Leased ◄── SharedMachine ◄── Connection ◄───────────┘
//! ```
//!
//! # The way of a connection
//!
//! | step | file |
//! |---|---|
//! | the machine asks for a dial, or a peer is accepted | `pool/driver.rs`, `pool/accept.rs` |
//! | the transport is connected | `pool/dial.rs`, `pool/accept.rs` |
//! | socket options; the socket is shared between its holder and the pool | `connection/socket.rs` |
//! | TLS, then the id, if a server's machine admits the peer | `connection/handshake.rs`, over `connection/session.rs` |
//! | the machine takes the connection over; checks and drains | `connection.rs` |
//! | a caller acquires it | `shared/acquire.rs` |
//! | the caller reads and writes | `connection/stream.rs` |
//! | it is put back, or dropped and closed | `shared/leased.rs` |
//!
//! # Where to look
//!
//! | place | contents |
//! |---|---|
//! | [`shared`] | the machine behind its mutex: wakers, futures of callers, leases; no I/O |
//! | [`connection`] | one connection: socket, plain or TLS, handshake, checks, early data |
//! | `tls` (feature `tls`) | rustls configurations: modes, certificates, pinning; no I/O but for files of certificates and keys |
//! | `pool.rs`, `pool/` | pools, builders, the driver, dialling, accepting, several pools as one |
//! | `runtime.rs` | the demands on a runtime |
//! | `clock.rs` | the clock |
//! | `platform.rs`, `platform/` | the differences between operating systems |
//! | `sync.rs` | the primitives by which threads meet in the shared machine |
//! | [`metrics`] | everything that an operator watches, and its text for Prometheus |
//! | `events.rs` | everything that is told by `tracing`; [`observability`] has the table |
//! | [`guide`] | settings, failures, recipes and other pools, for users of any adapter |
//! | `facade.rs`, `facade/` | the macros that define an adapter's concrete types |
//!
//! A trait for runtimes costs a reader an indirection. Three copies of a driver, an accept loop, two
//! builders and a pool cost more: a fault fixed in one copy stayed in the others.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
pub mod connection;
mod error;
mod events;
mod facade;
pub mod metrics;
#[cfg(not(feature = "tls"))]
mod no_tls;
mod platform;
mod pool;
mod runtime;
pub mod shared;
mod sync;
#[cfg(feature = "tls")]
pub mod tls;

#[cfg(not(feature = "tls"))]
use no_tls as tls;

pub use clock::{Clock, MonotonicClock};
pub use connection::keep_alive::KeepAlive;
pub use error::BuildError;
#[cfg(feature = "tls")]
pub use error::SetTlsError;
pub use pool::{
    AcceptFailure, AcceptPacer, AnyPool, Balanced, Balancer, Configured, Dial, Pool, PoolBuilder,
    ShutdownGuard,
};
#[doc(hidden)]
pub use pool_proto;
pub use runtime::{Direction, LeasedConnection, Runtime, poll_until_done};
#[cfg(feature = "tls")]
pub use rustls;

#[doc = include_str!("../docs/observability.md")]
pub mod observability {}

#[doc = include_str!("../docs/guide/guide.md")]
pub mod guide {
    #[doc = include_str!("../docs/guide/settings.md")]
    pub mod settings {}

    #[doc = include_str!("../docs/guide/failures.md")]
    pub mod failures {}

    // They are programs on an adapter: `adapter-tokio` compiles them.
    #[cfg_attr(not(doctest), doc = include_str!("../docs/guide/recipes.md"))]
    pub mod recipes {}

    #[doc = include_str!("../docs/guide/comparison.md")]
    pub mod comparison {}
}

#[doc = include_str!("../docs/speed.md")]
pub mod speed {}

/// The types that users of a pool write every day; each adapter re-exports them at its root.
pub mod exports {
    pub use pool_proto::{
        Accepting, Acquirer, AllowList, AllowListError, Bounds, ClientConfig, ClientConfigBuilder,
        CloseReason, ConfigError, ConnId, Dialing, Histogram, IdExchange, IdFormat, Metric,
        MetricKind, MetricValue, ParseIdError, PutError, Refusal, ServerConfig,
        ServerConfigBuilder, Stats, TakeOrder, Timeouts, Totals, Tuning, WaitReason, tape,
    };

    #[cfg(feature = "tls")]
    pub use crate::SetTlsError;
    pub use crate::connection::Revoked;
    pub use crate::metrics::{Report, prometheus, write_prometheus};
    pub use crate::shared::{AcquireError, Recording};
    #[cfg(all(feature = "self-signed", any(feature = "ring", feature = "aws-lc-rs")))]
    pub use crate::tls::IdentityPem;
    #[cfg(feature = "native-roots")]
    pub use crate::tls::native_roots;
    #[cfg(feature = "webpki-roots")]
    pub use crate::tls::webpki_roots;
    #[cfg(feature = "tls")]
    pub use crate::tls::{
        ClientTls, Fingerprint, Identity, KeyFingerprint, Pin, PinMismatch, ServerTls, TlsError,
        TlsFacts, TlsMode, roots_from_pem,
    };
    pub use crate::{AnyPool, Balanced, BuildError, KeepAlive};
}
