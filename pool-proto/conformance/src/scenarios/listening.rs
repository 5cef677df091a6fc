//! Listeners: bound by the pool, handed to the pool, and dead.

use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use super::topic;
use crate::ends::{
    both_ends, client_config, listener, own_listener, server_config, unused_address,
};
use crate::facade::{Listen, ServerSetup};
use crate::peers::{connect, socket_at};
use crate::prelude::*;
use crate::skipped::skip;
use crate::wait::{expect, send, spawn};
use pool_driver::BuildError;
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::Refusal;

topic! {
    parallel a_server_bound_to_port_0_reports_its_port,
    // Where loopback has one address only, a connection of another scenario may take the port that is free.
    exclusive a_server_is_bound_to_an_address_without_a_look_up,
    parallel a_port_in_use_is_an_error_that_names_the_address,
    parallel an_invalid_address_cannot_be_bound,
    parallel ipv6_addresses_work_at_both_ends,
    parallel a_closed_server_frees_its_port,
    exclusive a_closed_server_frees_its_port_while_another_handle_exists,
    parallel a_listener_of_the_user_is_not_shut_down,
    parallel waiters_are_refused_when_the_listener_dies,
    parallel a_server_whose_listener_died_serves_its_stock,
}

fn bind(ends: &Ends, address: &str) -> Result<Arc<dyn Pool>, BuildError> {
    bind_by(ends, Listen::Address(address.to_owned()))
}

fn bind_by(ends: &Ends, listen: Listen) -> Result<Arc<dyn Pool>, BuildError> {
    ends.server.server(ServerSetup {
        config: None,
        tls: None,
        keep_alive: None,
        demand: Demand::Nothing,
        listen,
        tape: None,
    })
}

fn a_server_bound_to_port_0_reports_its_port(ends: &Ends) {
    let server = bind(ends, "127.0.0.1:0").unwrap();
    assert_ne!(server.address().port(), 0);
    let client = ends.dial(TlsMode::None, client_config(), server.address());
    client.wait_ready(1, SOON).unwrap();
    assert_eq!(client.local_addr(), None);
}

fn a_server_is_bound_to_an_address_without_a_look_up(ends: &Ends) {
    let address = unused_address();
    // The port is free again when the pool has closed, as after `bind`.
    for _ in 0..10 {
        let server = bind_by(ends, Listen::At(address)).unwrap();
        assert_eq!(server.address(), address);
        let client = ends.dial(TlsMode::None, client_config(), address);
        let (_ours, theirs) = both_ends(&server, &client);
        assert_eq!(theirs.peer_addr().unwrap(), address);
        // First, or it would dial the next server.
        client.end();
        server.end();
    }
    let any_port = bind_by(ends, Listen::At("127.0.0.1:0".parse().unwrap())).unwrap();
    assert_ne!(any_port.address().port(), 0);
}

fn a_port_in_use_is_an_error_that_names_the_address(ends: &Ends) {
    let (_listener, address) = listener();
    let text = address.to_string();
    let errors = [bind(ends, &text), bind_by(ends, Listen::At(address))].map(Result::unwrap_err);
    for error in errors {
        assert!(matches!(error, BuildError::Bind { .. }), "{error:?}");
        assert!(error.to_string().contains(&text), "{error}");
    }
}

fn an_invalid_address_cannot_be_bound(ends: &Ends) {
    for nonsense in ["", "nonsense", "127.0.0.1", "127.0.0.1:port", "192.0.2.1:0"] {
        let error = bind(ends, nonsense).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, BuildError::Bind { .. }), "{nonsense:?}: {error:?}");
        assert!(text.contains(nonsense) && text.contains("host:port"), "{nonsense:?}: {text}");
    }
}

fn ipv6_addresses_work_at_both_ends(ends: &Ends) {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        return skip(format_args!("no IPv6 loopback here ({error})"));
    }
    let server = bind(ends, "[::1]:0").unwrap();
    let client = ends.dial(TlsMode::None, client_config(), server.address());
    let (ours, theirs) = both_ends(&server, &client);
    assert_eq!(theirs.peer_addr().unwrap(), server.address());
    assert!(ours.peer_addr().unwrap().is_ipv6());
}

fn a_closed_server_frees_its_port(ends: &Ends) {
    let (listener, address) = own_listener();
    let address = address.to_string();
    ends.serve_on(Listen::On(listener), None, server_config()).end();
    for _ in 0..100 {
        bind(ends, &address).unwrap().end();
    }
}

/// The other handle stands for a child process, which holds the descriptors of its parent between
/// fork and exec.
fn a_closed_server_frees_its_port_while_another_handle_exists(ends: &Ends) {
    let address = unused_address();
    let (text, server) = (address.to_string(), bind(ends, &address.to_string()).unwrap());
    let Some(handle) = socket_at(address) else {
        return skip("the sockets of a process cannot be listed here");
    };
    server.end();
    let server = bind(ends, &text).unwrap();
    drop(handle);
    let _handle = socket_at(address);
    // A dropped pool closes soon, but no call awaits that.
    drop(server);
    eventually(|| bind(ends, &text).map(drop).map_err(|error| error.to_string()), Result::is_ok)
        .unwrap();
}

/// A service manager may continue to listen on a listener that it has passed to a process.
fn a_listener_of_the_user_is_not_shut_down(ends: &Ends) {
    let (server, listener) = mortal(ends);
    let address = server.address();
    server.end();
    listener.set_nonblocking(false).unwrap();
    let peer = connect(address);
    let (_, source) = listener.accept().unwrap();
    assert_eq!(source, peer.local_addr().unwrap());
}

/// Starts a server on a listener; returns it with a second handle, through which the scenario can
/// shut the listener down.
fn mortal(ends: &Ends) -> (Arc<dyn Pool>, TcpListener) {
    let (listener, _) = listener();
    let handle = listener.try_clone().unwrap();
    (ends.serve_on(Listen::On(listener), None, server_config()), handle)
}

/// Shuts the listener down; returns whether it could. Whether accept then fails depends on the
/// system: on Linux it does.
fn kill(listener: &TcpListener) -> bool {
    let killed = cfg!(target_os = "linux");
    if killed {
        SockRef::from(listener).shutdown(Shutdown::Both).unwrap();
    } else {
        skip("a listener cannot be shut down here");
    }
    killed
}

fn waiters_are_refused_when_the_listener_dies(ends: &Ends) {
    let (server, listener) = mortal(ends);
    let waiter = server.clone_handle();
    let wait = spawn(move || waiter.wait_ready(64, Duration::MAX));
    eventually(|| server.stats(), |stats| stats.waiters == 1);
    if !kill(&listener) {
        return;
    }
    let error = wait.soon().unwrap_err();
    assert_eq!(error, AcquireError::Refused(Refusal::AcceptEnded));
    assert!(error.to_string().contains("the listener has ended"), "{error}");
    assert!(server.last_failure().unwrap().contains("listener"));
}

fn a_server_whose_listener_died_serves_its_stock(ends: &Ends) {
    let (server, listener) = mortal(ends);
    let client = ends.dial(TlsMode::None, client_config().capacity(4..=4), server.address());
    server.wait_ready(4, SOON).unwrap();
    if !kill(&listener) {
        return;
    }
    eventually(|| server.last_failure(), Option::is_some);
    for _ in 0..4 {
        let (mut ours, mut theirs) = both_ends(&server, &client);
        send(&mut ours, b"still here");
        expect(&mut theirs, b"still here");
    }
    let answer = server.acquire(SOON).map(drop);
    assert_eq!(answer, Err(AcquireError::Refused(Refusal::AcceptEnded)));
}
