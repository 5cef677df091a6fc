//! Paths that lose packets and say nothing: neither end learns that its connections are dead.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::topic;
use crate::ends::{client_config, client_tls, each, server_config, server_tls};
use crate::facade::Listen;
use crate::network::{FAR_IPV4, Hosts, NEAR_IPV4, between_hosts};
use crate::prelude::*;
use crate::wait::{Running, spawn};
use pool_driver::tls::TlsMode;
use pool_proto::ConnId;

topic! {
    exclusive a_client_that_a_nat_has_forgotten_is_back_at_once,
    exclusive idle_connections_leave_a_black_hole_soon,
}

/// A server on the far host.
pub(super) fn far_listener(hosts: &Hosts) -> (TcpListener, SocketAddr) {
    let listener = hosts.on_far(|| TcpListener::bind((FAR_IPV4, 0)).unwrap());
    let address = listener.local_addr().unwrap();
    (listener, address)
}

// --- a NAT that forgets ---------------------------------------------------------------------------

/// The capacities of the two ends.
#[derive(Clone, Copy, Debug)]
struct Agent {
    client: u32,
    server: u32,
    mode: TlsMode,
}

const AGENTS: [Agent; 3] = [
    Agent { client: 64, server: 64, mode: TlsMode::SelfSigned },
    Agent { client: 64, server: 256, mode: TlsMode::None },
    Agent { client: 8, server: 64, mode: TlsMode::None },
];

/// A visitor has been served if an echo comes back within this time.
const PATIENCE: Duration = Duration::from_millis(500);
/// The number of visitors that come one after the other.
const VISITORS: usize = 10;
/// The time from the reconnect until a visitor is served, and the number of visitors that may be given
/// a dead connection meanwhile.
const BACK: Duration = Duration::from_secs(2);
const DEAD: usize = 3;
/// The time that a connection must be unused before a newer one of its peer replaces it.
const REPLACEABLE: Duration = Duration::from_secs(1);

/// A dialer whose connections have source ports from `first` on, so that a rule can tell them from
/// others.
fn dial_from(first: u16, address: SocketAddr) -> Dial {
    let next = AtomicU16::new(first);
    Dial::With(Arc::new(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let host: Ipv4Addr = NEAR_IPV4.parse().unwrap();
        let port = next.fetch_add(1, Ordering::Relaxed);
        socket.bind(&SocketAddr::from((host, port)).into())?;
        socket.connect(&address.into())?;
        Ok(socket.into())
    }))
}

/// The other end of a visitor's connection: takes it by the id that the visitor has told, and echoes a
/// byte.
fn echo(client: &dyn Pool, id: ConnId) {
    let Ok(mut stream) = client.acquire_by_id(id, PATIENCE) else { return };
    stream.set_timeout(PATIENCE).unwrap();
    let mut byte = [0];
    // The visitor may have given up.
    let _ = stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte));
    let _ = stream.flush();
}

/// Serves a visitor with any connection of `server`; returns whether it was a living one.
fn serve(server: &dyn Pool, client: &Arc<dyn Pool>) -> bool {
    let Ok(mut stream) = server.acquire(PATIENCE) else { return false };
    stream.set_timeout(PATIENCE).unwrap();
    let (client, id) = (client.clone_handle(), stream.id());
    let echoing = spawn(move || echo(&*client, id));
    let sent = stream.write_all(b"?").and_then(|()| stream.flush());
    let lives = sent.and_then(|()| stream.read_exact(&mut [0])).is_ok();
    echoing.soon();
    lives
}

fn a_client_that_a_nat_has_forgotten_is_back_at_once(ends: &Ends) {
    let name = "paths::a_client_that_a_nat_has_forgotten_is_back_at_once";
    between_hosts(ends, name, |hosts| {
        // Each row has source ports of its own: 20000 and up before, 21000 and up after.
        let rows: Vec<_> = (20_000..).step_by(2000).zip(AGENTS).collect();
        each(&rows, |(ports, agent)| come_back(ends, hosts, *ports, *agent));
    });
}

fn come_back(ends: &Ends, hosts: &Hosts, ports: u16, agent: Agent) {
    let (listener, address) = far_listener(hosts);
    let config = server_config().capacity(agent.server);
    let server = ends.serve_on(Listen::On(listener), server_tls(agent.mode), config);
    let connect = |ports| {
        let config = client_config().capacity(agent.client..=agent.client);
        ends.dial_with(client_tls(agent.mode), config, dial_from(ports, address))
    };
    let forgotten = connect(ports);
    server.wait_ready(agent.client, SOON).unwrap();
    forgotten.wait_ready(agent.client, SOON).unwrap();
    // Nothing happens in this time: it only has to pass.
    thread::sleep(REPLACEABLE);
    // From now on, nothing of the old connections reaches the server, not even their ends.
    hosts.run(&format!("ip rule add sport {ports}-{} ipproto tcp blackhole", ports + 999));
    forgotten.end();

    let reconnected = now();
    let client = connect(ports + 1000);
    let (mut dead, mut first) = (0, None);
    for _ in 0..VISITORS {
        match serve(&*server, &client) {
            true => _ = first.get_or_insert_with(|| reconnected.elapsed()),
            false => dead += 1,
        }
    }
    let stats = server.stats();
    println!("measured: {agent:?}: first served after {first:?}, {dead} of {VISITORS} dead");
    assert!(
        first.is_some_and(|first| first < BACK) && dead <= DEAD,
        "{first:?}, {dead}: {stats:#?}"
    );

    // When both ends have the client's new connections, visitors who come all at once get them. The
    // client is full a moment before the server has stocked the last one.
    client.wait_ready(agent.client, SOON).unwrap();
    eventually(|| server.stats().handshaking, |handshaking| *handshaking == 0);
    let crowd: Vec<Running<bool>> = (0..agent.client)
        .map(|_| {
            let (server, client) = (server.clone_handle(), client.clone_handle());
            spawn(move || serve(&*server, &client))
        })
        .collect();
    let served = crowd.into_iter().map(Running::soon).filter(|lives| *lives).count();
    assert_eq!(u32::try_from(served).unwrap(), agent.client, "{:#?}", server.stats());
}

// --- a black hole ---------------------------------------------------------------------------------

const PERIOD: Duration = Duration::from_secs(5);
/// The time after which nothing dead is handed out any more: the budget of 7 s, and one for timers that
/// are late.
const GONE: Duration = Duration::from_secs(8);
/// The time between two takes at each end. There are many more connections than takes.
const BETWEEN: Duration = Duration::from_millis(500);

fn idle_connections_leave_a_black_hole_soon(ends: &Ends) {
    let name = "paths::idle_connections_leave_a_black_hole_soon";
    between_hosts(ends, name, |hosts| {
        let (listener, address) = far_listener(hosts);
        let server = ends.serve_alive(TlsMode::None, Listen::On(listener), PERIOD);
        let config = client_config().capacity(64..=64);
        let client = ends.dial_alive(TlsMode::None, config, address, PERIOD);
        client.wait_ready(64, SOON).unwrap();
        server.wait_ready(64, SOON).unwrap();

        hosts.lose_everything();
        let opened = now();
        // A busy machine may be late, so the end is awaited for longer than it may take.
        let last = [&server, &client].map(|pool| {
            let pool = pool.clone_handle();
            spawn(move || last_taken(&*pool, opened))
        });
        let last = last.map(|last| last.soon());
        println!("measured: the last dead hand-outs of server and client: {last:?}");
        assert!(last.iter().all(|last| *last < GONE), "{last:?}");
    });
}

/// Takes connections until there are none. Returns the time of the last take since the hole opened.
fn last_taken(pool: &dyn Pool, opened: Instant) -> Duration {
    let mut last = Duration::ZERO;
    while pool.acquire(Duration::ZERO).is_ok() {
        last = opened.elapsed();
        thread::sleep(BETWEEN);
    }
    last
}
