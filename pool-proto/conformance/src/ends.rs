//! Set-up of scenarios: servers, clients, and the two ends of a connection.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::facade::{Adapter, ClientSetup, Listen, ServerSetup};
use super::peers::identity;
use super::prelude::*;
use pool_driver::KeepAlive;
use pool_driver::tls::{ClientTls, ServerTls, TlsMode};
use pool_proto::{
    ClientConfig, ClientConfigBuilder, ConnId, IdExchange, IdFormat, ServerConfig,
    ServerConfigBuilder,
};

/// The adapters at the two ends: one adapter twice, or two that must interoperate.
#[derive(Clone, Copy)]
pub struct Ends {
    /// The adapter that dials.
    pub client: &'static dyn Adapter,
    /// The adapter that accepts.
    pub server: &'static dyn Adapter,
}

/// The TLS modes that scenarios run with.
pub(super) struct Modes;

impl Modes {
    /// Plain TCP, and TLS with a self-signed certificate.
    pub(super) const BOTH: [TlsMode; 2] = [TlsMode::None, TlsMode::SelfSigned];

    const ALL: [TlsMode; 3] = [TlsMode::None, TlsMode::SelfSigned, TlsMode::Verified];

    /// Runs `act` without TLS, then with it.
    pub(super) fn both(act: impl Fn(TlsMode)) {
        each(&Self::BOTH, |mode| act(*mode));
    }

    /// Runs `act` with each TLS mode and each id format.
    pub(super) fn all(act: impl Fn(TlsMode, IdFormat)) {
        for mode in Self::ALL {
            each(&[(mode, IdFormat::Hex8), (mode, IdFormat::Raw4)], |(mode, format)| {
                act(*mode, *format);
            });
        }
    }
}

/// Runs `act` with each row of a table; if `act` panics, the row is printed.
pub(super) fn each<T: std::fmt::Debug>(table: &[T], act: impl Fn(&T)) {
    struct Row<'a>(&'a dyn std::fmt::Debug);
    impl Drop for Row<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("  … in the row {:?}", self.0);
            }
        }
    }
    for row in table {
        let _row = Row(row);
        act(row);
    }
}

pub(super) fn client_config() -> ClientConfigBuilder {
    // A few more at first than by default, so that most tests need no waits for stock.
    ClientConfig::builder().capacity(4..=64)
}

pub(super) fn server_config() -> ServerConfigBuilder {
    ServerConfig::builder()
}

/// A client that keeps one connection, and redials after 1 ms when it fails.
pub(super) fn single() -> ClientConfigBuilder {
    let ms = Duration::from_millis(1);
    client_config().capacity(1..=1).backoff(ms, ms)
}

pub(super) fn server_tls(mode: TlsMode) -> Option<ServerTls> {
    (mode != TlsMode::None).then(|| ServerTls::new(identity()).unwrap())
}

pub(super) fn client_tls(mode: TlsMode) -> Option<ClientTls> {
    match mode {
        TlsMode::None => None,
        TlsMode::SelfSigned => Some(ClientTls::self_signed().unwrap()),
        TlsMode::Verified => {
            let pem = identity().certificate_pem();
            Some(ClientTls::verified_pem("localhost", pem.as_bytes()).unwrap())
        }
    }
}

/// Returns a listener on a port that the system chose, and its address.
pub(super) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Returns a listener at a loopback address of its own, where there are several (Linux). Its port
/// may stay free for a while without a connection of another scenario taking it.
pub(super) fn own_listener() -> (TcpListener, SocketAddr) {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    if !cfg!(target_os = "linux") {
        return listener();
    }
    // The process id is part of the address: another adapter may run these scenarios at this time.
    let [_, _, a, b] = std::process::id().to_be_bytes();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let listener = TcpListener::bind((Ipv4Addr::new(127, 64 | (a & 63), b, next), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address without a listener.
pub(super) fn unused_address() -> SocketAddr {
    own_listener().1
}

impl Ends {
    pub(super) fn serve(&self, mode: TlsMode, config: ServerConfigBuilder) -> Arc<dyn Pool> {
        self.serve_with(server_tls(mode), config)
    }

    pub(super) fn serve_with(
        &self,
        tls: Option<ServerTls>,
        config: ServerConfigBuilder,
    ) -> Arc<dyn Pool> {
        self.serve_on(Listen::On(listener().0), tls, config)
    }

    pub(super) fn serve_on(
        &self,
        listen: Listen,
        tls: Option<ServerTls>,
        config: ServerConfigBuilder,
    ) -> Arc<dyn Pool> {
        let config = Some(config.build().unwrap());
        self.server
            .server(ServerSetup {
                config,
                tls,
                keep_alive: None,
                demand: Demand::Nothing,
                listen,
                tape: None,
            })
            .unwrap()
    }

    pub(super) fn dial(
        &self,
        mode: TlsMode,
        config: ClientConfigBuilder,
        address: SocketAddr,
    ) -> Arc<dyn Pool> {
        self.dial_with(client_tls(mode), config, Dial::Address(address.to_string()))
    }

    pub(super) fn dial_with(
        &self,
        tls: Option<ClientTls>,
        config: ClientConfigBuilder,
        dial: Dial,
    ) -> Arc<dyn Pool> {
        let config = Some(config.build().unwrap());
        self.client
            .client(ClientSetup {
                config,
                tls,
                keep_alive: None,
                demand: Demand::Nothing,
                dial,
                tape: None,
            })
            .unwrap()
    }

    /// A server whose connections are never silent for longer than `period`.
    pub(super) fn serve_alive(
        &self,
        mode: TlsMode,
        listen: Listen,
        period: Duration,
    ) -> Arc<dyn Pool> {
        let (config, keep_alive) = (None, Some(Some(KeepAlive::every(period))));
        let (tls, demand) = (server_tls(mode), Demand::Nothing);
        self.server
            .server(ServerSetup { config, tls, keep_alive, demand, listen, tape: None })
            .unwrap()
    }

    /// A client whose connections are never silent for longer than `period`.
    pub(super) fn dial_alive(
        &self,
        mode: TlsMode,
        config: ClientConfigBuilder,
        address: SocketAddr,
        period: Duration,
    ) -> Arc<dyn Pool> {
        let config = Some(config.build().unwrap());
        let (tls, keep_alive) = (client_tls(mode), Some(Some(KeepAlive::every(period))));
        let (demand, dial) = (Demand::Nothing, Dial::Address(address.to_string()));
        self.client
            .client(ClientSetup { config, tls, keep_alive, demand, dial, tape: None })
            .unwrap()
    }

    /// A server and its client.
    pub(super) fn pair(&self, mode: TlsMode, format: IdFormat) -> (Arc<dyn Pool>, Arc<dyn Pool>) {
        let server = self.serve(mode, server_config().id_format(format));
        let config = client_config().ids(IdExchange::Wire(format));
        let client = self.dial(mode, config, server.address());
        (server, client)
    }

    /// A server and its client, with ids in the default format.
    pub(super) fn hex_pair(&self, mode: TlsMode) -> (Arc<dyn Pool>, Arc<dyn Pool>) {
        self.pair(mode, IdFormat::Hex8)
    }

    /// A server and a client that keeps four connections, neither more nor fewer.
    pub(super) fn steady_pair(&self, mode: TlsMode) -> (Arc<dyn Pool>, Arc<dyn Pool>) {
        let server = self.serve(mode, server_config());
        let client = self.dial(mode, client_config().capacity(4..=4), server.address());
        (server, client)
    }
}

impl dyn Pool {
    /// The address at which the server listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.local_addr().unwrap()
    }

    /// Takes any connection, and limits its reads and writes to [`SOON`].
    #[track_caller]
    pub(super) fn take(&self) -> Box<dyn Stream> {
        let mut stream = self.acquire(SOON).unwrap();
        stream.set_timeout(SOON).unwrap();
        stream
    }

    /// Takes the connection with this id, and limits its reads and writes to [`SOON`].
    #[track_caller]
    pub(super) fn take_id(&self, id: ConnId) -> Box<dyn Stream> {
        let mut stream = self.acquire_by_id(id, SOON).unwrap();
        stream.set_timeout(SOON).unwrap();
        stream
    }

    /// Closes the pool and waits until it is closed.
    #[track_caller]
    pub(super) fn end(&self) {
        self.close();
        assert!(self.closed(SOON), "not closed within {SOON:?}: {self:?}");
    }
}

/// Takes both ends of one connection: any at the server, then the one with its id at the client.
#[track_caller]
pub(super) fn both_ends(
    server: &Arc<dyn Pool>,
    client: &Arc<dyn Pool>,
) -> (Box<dyn Stream>, Box<dyn Stream>) {
    let ours = server.take();
    let theirs = client.take_id(ours.id());
    (ours, theirs)
}

/// Takes both ends of one connection by its id, as if somebody else had acquired it.
#[track_caller]
pub(super) fn both_ends_by_id(
    server: &Arc<dyn Pool>,
    client: &Arc<dyn Pool>,
) -> (Box<dyn Stream>, Box<dyn Stream>) {
    let stream = server.take();
    let id = stream.id();
    server.put(stream).unwrap();
    (server.take_id(id), client.take_id(id))
}
