//! Socket options, read back from the kernel.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

use super::topic;
use crate::ends::{own_listener, server_config, single};
use crate::facade::{ClientSetup, Listen, ServerSetup};
use crate::peers::{connect, other_end, read_id};
use crate::prelude::*;
use crate::skipped::skip;
use crate::wait::send;
use pool_driver::KeepAlive;
use pool_driver::tls::TlsMode;

topic! {
    parallel a_client_sets_keep_alive_and_no_delay,
    parallel without_keep_alive_only_no_delay_is_set,
    parallel keep_alive_is_on_by_default,
    parallel data_of_a_holder_have_no_limit,
    parallel an_option_of_the_user_outlasts_a_put,
    exclusive a_server_sets_keep_alive_and_no_delay,
}

#[derive(Debug, PartialEq)]
struct Options {
    nodelay: bool,
    keep_alive: bool,
    #[cfg(target_os = "linux")]
    periods: Periods,
}

#[cfg(target_os = "linux")]
#[derive(Debug, PartialEq)]
struct Periods {
    idle: Duration,
    interval: Duration,
    retries: u32,
    user_timeout: Option<Duration>,
}

fn read(socket: &SockRef<'_>) -> Options {
    Options {
        nodelay: socket.tcp_nodelay().unwrap(),
        keep_alive: socket.keepalive().unwrap(),
        #[cfg(target_os = "linux")]
        periods: Periods {
            idle: socket.tcp_keepalive_time().unwrap(),
            interval: socket.tcp_keepalive_interval().unwrap(),
            retries: socket.tcp_keepalive_retries().unwrap(),
            user_timeout: socket.tcp_user_timeout().unwrap(),
        },
    }
}

fn every_seven_seconds() -> KeepAlive {
    KeepAlive::every(Duration::from_secs(7))
}

/// The expected socket options: the times of the first and the later probes, and the limit.
fn expected(_idle: u64, _interval: u64, _limit: Option<u64>) -> Options {
    Options {
        nodelay: true,
        keep_alive: true,
        #[cfg(target_os = "linux")]
        periods: Periods {
            idle: Duration::from_secs(_idle),
            interval: Duration::from_secs(_interval),
            retries: 3,
            user_timeout: _limit.map(Duration::from_secs),
        },
    }
}

/// A client of one connection to `server`, and another handle of the connection's socket.
fn client_of(
    ends: &Ends,
    server: &dyn Pool,
    keep_alive: Option<Option<KeepAlive>>,
) -> (Arc<dyn Pool>, TcpStream) {
    let (address, kept) = (server.address(), Arc::new(Mutex::new(None)));
    let keep = Arc::clone(&kept);
    let dial = Dial::With(Arc::new(move || {
        let tcp = TcpStream::connect(address)?;
        *keep.lock().unwrap() = Some(tcp.try_clone()?);
        Ok(tcp)
    }));
    let config = Some(single().max_connections(1).build().unwrap());
    let client = ends
        .client
        .client(ClientSetup {
            config,
            tls: None,
            keep_alive,
            demand: Demand::Nothing,
            dial,
            tape: None,
        })
        .unwrap();
    client.wait_ready(1, SOON).unwrap();
    let kept = kept.lock().unwrap().take().unwrap();
    (client, kept)
}

fn options_of_a_client(ends: &Ends, keep_alive: Option<Option<KeepAlive>>) -> Options {
    let server = ends.serve(TlsMode::None, server_config());
    let (_client, kept) = client_of(ends, &*server, keep_alive);
    read(&SockRef::from(&kept))
}

fn a_client_sets_keep_alive_and_no_delay(ends: &Ends) {
    assert_eq!(
        options_of_a_client(ends, Some(Some(every_seven_seconds()))),
        expected(6, 1, Some(9))
    );
}

fn without_keep_alive_only_no_delay_is_set(ends: &Ends) {
    let options = options_of_a_client(ends, Some(None));
    assert!(options.nodelay && !options.keep_alive, "{options:?}");
    #[cfg(target_os = "linux")]
    assert_eq!(options.periods.user_timeout, None);
}

fn keep_alive_is_on_by_default(ends: &Ends) {
    assert_eq!(options_of_a_client(ends, None), expected(12, 3, Some(21)));
}

fn data_of_a_holder_have_no_limit(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let (client, kept) = client_of(ends, &*server, Some(Some(every_seven_seconds())));
    let socket = SockRef::from(&kept);
    for _ in 0..2 {
        let mut stream = client.take();
        assert_eq!(read(&socket), expected(6, 1, Some(9)));
        send(&mut stream, b"request");
        assert_eq!(read(&socket), expected(6, 1, None));
        client.put(stream).unwrap();
        assert_eq!(read(&socket), expected(6, 1, Some(9)));
    }
}

/// The pool asks by it whether the peer has no room.
fn an_option_of_the_user_outlasts_a_put(ends: &Ends) {
    #[cfg(target_os = "linux")]
    {
        let server = ends.serve(TlsMode::None, server_config());
        let (client, kept) = client_of(ends, &*server, Some(Some(every_seven_seconds())));
        let socket = SockRef::from(&kept);
        for low_water in [socket.tcp_notsent_lowat().unwrap(), 16 * 1024] {
            socket.set_tcp_notsent_lowat(low_water).unwrap();
            let mut stream = client.take();
            send(&mut stream, b"request");
            client.put(stream).unwrap();
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), low_water);
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = ends;
        skip("the pool asks nothing by an option here");
    }
}

/// Accepted by a listener of the user's, and by one of the pool's own, which may hand the options down.
///
/// Both have an address where no other scenario listens: a client that one has left behind may dial its former
/// port once more. And the connection is taken by the id that this peer has got, not because one is ready.
fn a_server_sets_keep_alive_and_no_delay(ends: &Ends) {
    let (listener, address) = own_listener();
    let handle = listener.try_clone().unwrap();
    let before = read(&SockRef::from(&handle));
    let own = Listen::Address(SocketAddr::new(address.ip(), 0).to_string());
    for listen in [Listen::On(listener), own] {
        let setup = ServerSetup {
            config: None,
            tls: None,
            keep_alive: Some(Some(every_seven_seconds())),
            demand: Demand::Nothing,
            listen,
            tape: None,
        };
        let server = ends.server.server(setup).unwrap();
        let mut peer = connect(server.address());
        let mut stream = server.take_id(read_id(&mut peer));
        match other_end(&peer) {
            Some(accepted) => {
                let accepted = SockRef::from(&accepted);
                assert_eq!(read(&accepted), expected(6, 1, Some(9)), "until its holder writes");
                send(&mut stream, b"request");
                assert_eq!(read(&accepted), expected(6, 1, None));
            }
            None => skip("the sockets of a process cannot be listed here"),
        }
    }
    // It may be shared with other programs, whose connections have its options.
    assert_eq!(read(&SockRef::from(&handle)), before);
}
