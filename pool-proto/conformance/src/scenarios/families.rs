//! Names with addresses of both families, one of which is swallowed by the network.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::topic;
use crate::ends::{client_config, server_config};
use crate::facade::Listen;
use crate::network::{FAR, FAR_IPV4, FAR_IPV6, NEAR_LINK, between_hosts};
use crate::prelude::*;

topic! {
    exclusive a_swallowed_family_delays_the_first_dials_only,
    exclusive an_address_on_a_named_interface_is_dialled_and_bound,
}

/// The delay before an attempt on the next address.
const DELAY: Duration = Duration::from_millis(250);
/// The longest time that a connection may take while one family is swallowed.
const FIRST: Duration = Duration::from_millis(300);
/// Attempts to measure a time. A busy machine can only add to it.
const TRIES: usize = 5;

/// Ends all connections and waits for four new ones, and checks that they go to `address`. Returns the
/// time it took.
#[track_caller]
fn refilled(client: &dyn Pool, address: IpAddr) -> Duration {
    let before = now();
    client.flush();
    filled(client, address, before)
}

/// Waits for four idle connections, and checks that they go to `address`. Returns the time since
/// `before`.
#[track_caller]
fn filled(client: &dyn Pool, address: IpAddr, before: Instant) -> Duration {
    client.wait_ready(4, SOON).unwrap();
    let time = before.elapsed();
    let stream = client.take();
    assert_eq!(stream.peer_addr().unwrap().ip(), address);
    time
}

/// Measures with `measure` until a result is less than `limit`.
#[track_caller]
fn takes_less_than(limit: Duration, of: &str, measure: impl Fn() -> Duration) {
    let mut times = Vec::new();
    while times.len() < TRIES {
        let time = measure();
        times.push(time);
        if time < limit {
            println!("measured: {of}: {times:?}");
            return;
        }
    }
    panic!("{of} took {times:?}, not less than {limit:?}");
}

fn a_swallowed_family_delays_the_first_dials_only(ends: &Ends) {
    let name = "families::a_swallowed_family_delays_the_first_dials_only";
    between_hosts(ends, name, |hosts| {
        let (ipv4, ipv6) = (FAR_IPV4.parse().unwrap(), FAR_IPV6.parse().unwrap());
        // A listener for both families: the default of Linux in a new namespace.
        let listener = hosts.on_far(|| TcpListener::bind("[::]:0").unwrap());
        let address = format!("{FAR}:{}", listener.local_addr().unwrap().port());
        let _server = ends.serve_on(Listen::On(listener), None, server_config());
        let dial = || {
            let config = client_config().capacity(4..=4);
            ends.dial_with(None, config, Dial::Address(address.clone()))
        };

        let first = |address| {
            let before = now();
            filled(&*dial(), address, before)
        };

        // With both families, IPv6 comes first.
        takes_less_than(DELAY, "the first connections with both families", || first(ipv6));

        hosts.swallow(ipv6);
        takes_less_than(FIRST, "the first connections without IPv6", || first(ipv4));
        let client = dial();
        filled(&*client, ipv4, now());
        takes_less_than(DELAY, "a refill without IPv6", || refilled(&*client, ipv4));

        // The remembered family is swallowed, and the other one is back.
        hosts.deliver(ipv6);
        hosts.swallow(ipv4);
        let time = refilled(&*client, ipv6);
        assert!(time >= DELAY, "IPv4 was not remembered: {time:?}");
        takes_less_than(DELAY, "a refill without IPv4", || refilled(&*client, ipv6));
        assert_eq!(client.stats().totals.dial_failures + client.stats().totals.dial_timeouts, 0);
    });
}

fn an_address_on_a_named_interface_is_dialled_and_bound(ends: &Ends) {
    let name = "families::an_address_on_a_named_interface_is_dialled_and_bound";
    between_hosts(ends, name, |_| {
        let address = format!("[{NEAR_LINK}%near]:4000");
        let server = ends.serve_on(Listen::Address(address.clone()), None, server_config());
        let client = ends.dial_with(None, client_config(), Dial::Address(address));
        client.wait_ready(1, SOON).unwrap();
        let peer = client.take().peer_addr().unwrap();
        assert_eq!(peer, server.address());
        assert!(matches!(peer, SocketAddr::V6(peer) if peer.scope_id() != 0), "{peer}");
    });
}
