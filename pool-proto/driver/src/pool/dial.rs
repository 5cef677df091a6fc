//! The client's supply: dialling.

use core::future::{Future, Ready, pending};
use core::net::SocketAddr;
use core::time::Duration;
use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pool_proto::{Dialing, Token};

use super::driver::{PoolAttempt, PoolMachine, Supply};
use super::race::{attempt_delay, attempt_order, lost, race};
use crate::connection::keep_alive::KeepAlive;
use crate::connection::socket::{handshake, no_address};
use crate::connection::{Connector, Failure};
use crate::error::BuildError;
use crate::runtime::Runtime;

/// Connects the transports of a client pool.
pub trait Dial<N: Runtime>: Send + Sync + 'static {
    /// Connects one transport. `left` returns the time after which the pool gives the dial up: it drops the
    /// future, which must end the dial.
    fn dial(
        &self,
        runtime: &N,
        left: impl Fn() -> Duration + Send + Sync,
    ) -> impl Future<Output = io::Result<N::TcpStream>> + Send;

    /// Returns the name of the peer, for the text of a dial that was given up; `None` by default.
    fn name(&self) -> Option<Arc<str>> {
        None
    }

    /// Forgets the lessons of earlier dials. Called before a dial while the latest attempts of the pool
    /// have failed: a transport that connects may still lead to a peer that is out of order. Does
    /// nothing by default.
    fn reconsider(&self) {}
}

/// Returns `address` if it has the form "host:port".
///
/// # Errors
///
/// [`BuildError::Address`] for anything else.
pub(super) fn dial_address(address: String) -> Result<Arc<str>, BuildError> {
    let is_valid = address.rsplit_once(':').is_some_and(|(host, port)| {
        // The parts of a URL, and blanks: no name has them, and each dial would fail.
        let is_foreign = |character: char| {
            character.is_whitespace() || matches!(character, '/' | '\\' | '@' | '?' | '#')
        };
        let port = port.parse::<u16>();
        !host.is_empty() && !host.contains(is_foreign) && port.is_ok_and(|port| port > 0)
    });
    if is_valid { Ok(address.into()) } else { Err(BuildError::Address { address }) }
}

/// Returns `address` as the resolver of the operating system takes it: an IPv6 address with the name of
/// an interface, such as `[fe80::1%eth0]:9000`, without its brackets. (The standard library parses
/// those only around an address with an interface's number.)
pub(super) fn resolver_name(address: &str) -> Cow<'_, str> {
    let zoned = address.strip_prefix('[').and_then(|rest| rest.rsplit_once("]:"));
    match zoned.filter(|(host, _)| host.contains('%')) {
        Some((host, port)) => Cow::Owned(format!("{host}:{port}")),
        None => Cow::Borrowed(address),
    }
}

/// Dials the addresses of a name, resolved anew at each dial.
pub(super) struct ToAddress {
    address: Arc<str>,
    /// The address that has won the last race, which the next dials try first.
    won: Mutex<Option<SocketAddr>>,
}

impl ToAddress {
    pub(super) const fn new(address: Arc<str>) -> Self {
        Self { address, won: Mutex::new(None) }
    }

    fn won(&self) -> MutexGuard<'_, Option<SocketAddr>> {
        self.won.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn first_to_answer<N: Runtime>(
        &self,
        runtime: &N,
        left: impl Fn() -> Duration,
    ) -> io::Result<N::TcpStream> {
        let name = &self.address;
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
        let resolved = runtime.resolve(&resolver_name(name)).await.map_err(named)?;
        let won = *self.won();
        let addresses = attempt_order(resolved, won);
        let delay = attempt_delay(left(), addresses.len());
        let connect = |address| runtime.connect(address);
        match race(addresses, connect, || runtime.sleep(delay)).await {
            Ok((address, stream)) => {
                *self.won() = Some(address);
                Ok(stream)
            }
            Err(errors) => Err(match errors.as_slice() {
                [] => named(no_address()),
                // The user gave the address itself.
                [(address, error)] if address.to_string() == **name => {
                    named(io::Error::new(error.kind(), error.to_string()))
                }
                errors => named(lost(errors)),
            }),
        }
    }
}

impl<N: Runtime> Dial<N> for ToAddress {
    fn dial(
        &self,
        runtime: &N,
        left: impl Fn() -> Duration + Send + Sync,
    ) -> impl Future<Output = io::Result<N::TcpStream>> + Send {
        self.first_to_answer(runtime, left)
    }

    fn name(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.address))
    }

    fn reconsider(&self) {
        *self.won() = None;
    }
}

/// Dials by a function of the user's.
pub(super) struct ByCall<D>(pub(super) D);

impl<N, D, F> Dial<N> for ByCall<D>
where
    N: Runtime,
    D: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = io::Result<N::TcpStream>> + Send + 'static,
{
    fn dial(
        &self,
        _runtime: &N,
        _left: impl Fn() -> Duration + Send + Sync,
    ) -> impl Future<Output = io::Result<N::TcpStream>> + Send {
        (self.0)()
    }
}

/// Dials and shakes hands for a client pool.
pub(super) struct Dialer<D>(Arc<Settings<D>>);

struct Settings<D> {
    dial: D,
    connector: Connector,
    keep_alive: Option<KeepAlive>,
}

impl<D> Dialer<D> {
    pub(super) fn new(dial: D, connector: Connector, keep_alive: Option<KeepAlive>) -> Self {
        Self(Arc::new(Settings { dial, connector, keep_alive }))
    }
}

impl<N: Runtime, D: Dial<N>> Supply<N, Dialing> for Dialer<D> {
    fn dial(
        &self,
        runtime: &N,
        mut attempt: PoolAttempt<N, Dialing>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (settings, runtime) = (Arc::clone(&self.0), runtime.clone());
        async move {
            let Settings { dial, connector, keep_alive } = &*settings;
            let outcome = async {
                if let Some(name) = dial.name() {
                    attempt.dials(name);
                }
                if attempt.shared().stats().failures_in_a_row > 0 {
                    dial.reconsider();
                }
                // Called inside the task: a dialer that panics costs only its own dial.
                let stream = dial.dial(&runtime, || attempt.left()).await.map_err(Failure::Dial)?;
                attempt.dialed();
                let begin = || connector.begin();
                handshake(&mut attempt, stream, *keep_alive, begin).await
            };
            let outcome = outcome.await;
            attempt.complete(outcome);
        }
    }

    async fn accept(
        &mut self,
        _runtime: &N,
        _shared: &Arc<PoolMachine<N, Dialing>>,
    ) -> (Token, impl Future<Output = ()> + Send + 'static) {
        pending::<(Token, Ready<()>)>().await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_a_port_can_be_dialled() {
        for address in [
            "tunnel.example:9000",
            "192.0.2.1:1",
            "[2001:db8::1]:65535",
            "localhost:80",
            "[fe80::1%eth0]:9000",
            "a_b-c.example:1",
        ] {
            assert_eq!(&*dial_address(address.to_owned()).unwrap(), address);
        }
    }

    #[test]
    fn only_an_address_with_the_name_of_an_interface_loses_its_brackets() {
        assert_eq!(resolver_name("[fe80::1%eth0]:9"), "fe80::1%eth0:9");
        for address in ["[fe80::1]:9", "tunnel.example:9", "127.0.0.1:9", "[", "[%", "%]:9"] {
            assert_eq!(resolver_name(address), address);
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        for address in [
            "",
            ":",
            ":80",
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:http",
            "tls://localhost:1",
            "//localhost:1",
            "user@localhost:1",
            " localhost:1",
            "localhost :1",
            "localhost: 1",
            "localhost:1 ",
            "\t:1",
        ] {
            let error = dial_address(address.to_owned()).unwrap_err();
            assert!(matches!(&error, BuildError::Address { address: given } if given == address));
            assert_eq!(
                error.to_string(),
                format!(
                    "{address:?} is not an address to dial; give host:port, such as tunnel.example:9000"
                )
            );
        }
    }
}
