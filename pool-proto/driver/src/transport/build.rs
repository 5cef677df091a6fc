//! Why a pool cannot be built.

use std::borrow::ToOwned;
use std::io;
use std::string::String;
use std::sync::Arc;

use thiserror::Error;

use pool_proto::ConfigError;

/// Why a pool could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no tokio runtime to run on (`adapter-tokio` only). One without I/O or timers is not
    /// noticed here: tokio panics when they are used.
    #[error(
        "no tokio runtime is running here; build the pool inside one that has I/O and timers enabled (Runtime::enter, #[tokio::main])"
    )]
    NoRuntime,
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address to dial is none.
    #[error("{address:?} is no address to dial; give host:port, such as tunnel.example:9000")]
    Address {
        /// What was given.
        address: String,
    },
    /// The listener could not be bound.
    #[error("cannot listen on {address}; give a free host:port of this machine")]
    Bind {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The operating system refuses what the pool runs on: a thread, or a descriptor.
    #[error("the pool cannot be started; free threads or descriptors, or raise their limits")]
    Start {
        /// Why.
        source: io::Error,
    },
}

/// `address`, if it looks like "host:port".
///
/// # Errors
///
/// [`BuildError::Address`] for anything else.
pub fn dial_address(address: impl Into<String>) -> Result<Arc<str>, BuildError> {
    let address = address.into();
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) || address.starts_with(':') {
        return Err(BuildError::Address { address: address.as_str().to_owned() });
    }
    Ok(address.into())
}
