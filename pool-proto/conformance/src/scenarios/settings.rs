//! Settings: the defaults, those that are refused, and their effect.

use std::sync::Arc;
use std::time::Duration;

use super::topic;
use crate::ends::{both_ends, client_config, listener, server_config, single, unused_address};
use crate::facade::{ClientSetup, Listen, ServerSetup};
use crate::peers::{connect, ping_pong, read_id};
use crate::prelude::*;
use crate::wait::{assert_ends, send, spawn};
use pool_driver::tls::TlsMode;
use pool_driver::{BuildError, KeepAlive};
use pool_proto::Tuning;

topic! {
    parallel both_ends_have_default_settings,
    parallel a_malformed_address_is_refused_at_once,
    parallel a_keep_alive_that_the_system_refuses_is_refused_at_once,
    parallel the_longest_keep_alive_is_accepted_by_the_system,
    parallel the_longest_times_are_for_ever,
    parallel configured_capacity_and_interval_are_in_force,
    parallel capacity_follows_demand,
    parallel a_capacity_that_is_set_is_filled_and_given_up,
    parallel nodepass_tuning_fills_the_pool_in_rounds,
    parallel idle_connections_end_at_the_idle_timeout,
    parallel connections_end_at_their_max_lifetime,
    parallel a_connection_past_its_max_lifetime_is_not_reused,
    parallel errors_added_by_the_user_are_counted,
    parallel totals_are_counted_at_both_ends,
    parallel clones_are_handles_of_one_pool,
}

fn both_ends_have_default_settings(ends: &Ends) {
    let listen = Listen::Address("127.0.0.1:0".to_owned());
    let setup = ServerSetup {
        config: None,
        tls: None,
        keep_alive: None,
        demand: Demand::Nothing,
        listen,
        tape: None,
    };
    let server = ends.server.server(setup).unwrap();
    let dial = Dial::Address(server.address().to_string());
    let setup = ClientSetup {
        config: None,
        tls: None,
        keep_alive: None,
        demand: Demand::Nothing,
        dial,
        tape: None,
    };
    let client = ends.client.client(setup).unwrap();
    client.wait_ready(2, SOON).unwrap();
    assert_eq!((client.capacity(), server.capacity()), (2, 1024));
    assert_eq!((client.interval(), server.interval()), (Duration::ZERO, Duration::ZERO));
    let (mut ours, mut theirs) = both_ends(&server, &client);
    ping_pong(&mut *ours, &mut *theirs);
}

fn a_malformed_address_is_refused_at_once(ends: &Ends) {
    for nonsense in ["", "nonsense", "host:", ":9000", "host:port", "host:0", "host:99999"] {
        let dial = Dial::Address(nonsense.to_owned());
        let setup = ClientSetup {
            config: None,
            tls: None,
            keep_alive: None,
            demand: Demand::Nothing,
            dial,
            tape: None,
        };
        let error = ends.client.client(setup).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, BuildError::Address { .. }), "{nonsense:?}: {error:?}");
        assert!(text.contains(nonsense) && text.contains("host:port"), "{nonsense:?}: {text}");
    }
}

/// The longest keep-alive period: in seconds, Linux has 15 bits for its first part.
const LONGEST: Duration = Duration::from_secs(32_767);

fn a_keep_alive_that_the_system_refuses_is_refused_at_once(ends: &Ends) {
    for period in [LONGEST + Duration::from_secs(1), Duration::from_secs(1 << 32), Duration::MAX] {
        let keep_alive = Some(Some(KeepAlive::every(period)));
        let (config, demand) = (None, Demand::Nothing);
        let dial = Dial::Address(unused_address().to_string());
        let client = ClientSetup { config, tls: None, keep_alive, demand, dial, tape: None };
        // Nothing is bound before: this address would fail.
        let server = |listen| ServerSetup {
            config: None,
            tls: None,
            keep_alive,
            demand,
            listen,
            tape: None,
        };
        let servers = [
            server(Listen::Address("192.0.2.1:1".to_owned())),
            server(Listen::At("192.0.2.1:1".parse().unwrap())),
        ];
        let client = ends.client.client(client).err();
        for error in
            servers.map(|setup| ends.server.server(setup).err()).into_iter().chain([client])
        {
            assert!(matches!(error, Some(BuildError::Config(_))), "{period:?}: {error:?}");
            let text = error.unwrap().to_string();
            assert!(text.contains("keep_alive") && text.contains("32767"), "{text}");
        }
    }
}

fn the_longest_keep_alive_is_accepted_by_the_system(ends: &Ends) {
    let (listener, address) = listener();
    let server = ends.serve_alive(TlsMode::None, Listen::On(listener), LONGEST);
    let client = ends.dial_alive(TlsMode::None, single(), address, LONGEST);
    let (mut ours, mut theirs) = both_ends(&server, &client);
    ping_pong(&mut *ours, &mut *theirs);
}

/// Longer than a timer of some system or runtime counts: in nanoseconds, milliseconds or seconds, in 31,
/// 32, 63 or 64 bits.
fn longest_times() -> [Duration; 9] {
    [
        Duration::from_millis(1 << 31),
        Duration::from_millis(1 << 32),
        Duration::from_secs(1 << 31),
        Duration::from_secs(1 << 32),
        Duration::from_nanos(1 << 63),
        Duration::from_nanos(u64::MAX),
        Duration::from_millis(u64::MAX),
        Duration::from_secs(1 << 63),
        Duration::MAX,
    ]
}

fn the_longest_times_are_for_ever(ends: &Ends) {
    let longest = Duration::from_nanos(u64::MAX - 2);
    let server_config = || {
        let config = server_config().handshake_timeout(longest).first_byte_timeout(longest);
        let config = config.idle_timeout(longest).max_lifetime(longest).claim_timeout(longest);
        config.drain_timeout(longest)
    };
    let client_config = || {
        let config = single().handshake_timeout(longest).dial_timeout(longest);
        let config = config.idle_timeout(longest).max_lifetime(longest).claim_timeout(longest);
        config.drain_timeout(longest).interval(longest..=longest)
    };
    Modes::both(|mode| {
        for time in longest_times() {
            let server = ends.serve(mode, server_config());
            // Each call waits: no peer has connected yet.
            let (acquiring, waiting) = (server.clone_handle(), server.clone_handle());
            let acquire = spawn(move || acquiring.acquire(time));
            let ready = spawn(move || waiting.wait_ready(1, time));
            eventually(|| server.stats(), |stats| stats.waiters == 2);
            let client = ends.dial(mode, client_config(), server.address());
            let mut ours = acquire.soon().unwrap();
            let mut theirs = client.acquire_by_id(ours.id(), time).unwrap();
            ready.soon().unwrap();
            theirs.set_timeout(time).unwrap();
            let read = spawn(move || {
                let read = theirs.read(&mut [0]);
                (read, theirs)
            });
            send(&mut ours, b"x");
            assert_eq!(read.soon().0.unwrap(), 1);
            client.close();
            server.close();
            assert!(client.closed(time) && server.closed(time), "{time:?}");
        }
    });
}

fn configured_capacity_and_interval_are_in_force(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().capacity(9));
    let interval = Duration::from_millis(70);
    let config = client_config().capacity(6..=6).interval(interval..=interval);
    let config = config.tuning(Tuning::NodePass);
    let client = ends.dial(TlsMode::None, config, server.address());
    client.wait_ready(6, SOON).unwrap();
    assert_eq!((client.capacity(), client.interval()), (6, interval));
    assert_eq!(server.capacity(), 9);
}

fn capacity_follows_demand(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = client_config().capacity(2..=12).keep(Duration::from_millis(500));
    let client = ends.dial(TlsMode::None, config, server.address());
    client.wait_ready(2, SOON).unwrap();
    // The capacity after each take: it may fall as soon as the demand pauses.
    let take = |_| (client.take(), client.capacity());
    let (taken, capacities): (Vec<_>, Vec<_>) = (0..40).map(take).unzip();
    let risen = capacities.iter().max().unwrap();
    assert!((3..=12).contains(risen), "{capacities:?}");
    drop(taken);
    // Without demand, the capacity falls again.
    eventually(|| client.stats(), |stats| (stats.capacity, stats.totals.leases) == (2, 40));
}

fn a_capacity_that_is_set_is_filled_and_given_up(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = client_config().capacity(2).keep(Duration::from_millis(160));
    let client = ends.dial(TlsMode::None, config, server.address());
    assert_eq!(client.set_capacity(9..=9), Some(Ok(())));
    client.wait_ready(9, SOON).unwrap();
    assert_eq!(client.set_capacity(3..=3), Some(Ok(())));
    eventually(|| client.stats(), |stats| stats.idle == 3 && stats.totals.surplus == 6);
    let refused = client.set_capacity(0..=3).unwrap().unwrap_err();
    assert!(refused.to_string().contains("capacity"), "{refused}");
    assert_eq!((client.capacity(), server.set_capacity(1..=1)), (3, None));
}

fn nodepass_tuning_fills_the_pool_in_rounds(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let long = Duration::from_secs(600);
    let config = client_config().tuning(Tuning::NodePass).capacity(3..=3).interval(long..=long);
    let client = ends.dial(TlsMode::None, config, server.address());
    client.wait_ready(3, SOON).unwrap();
    let _taken = client.take();
    // The next round is ten minutes away.
    let error = client.wait_ready(3, Duration::from_millis(50)).unwrap_err();
    assert!(error.to_string().contains("2 of the 3"), "{error}");
    assert_eq!(client.stats().totals.dials, 3);
}

fn idle_connections_end_at_the_idle_timeout(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = single().idle_timeout(Duration::from_millis(50));
    let client = ends.dial(TlsMode::None, config, server.address());
    eventually(|| client.stats(), |stats| stats.totals.idle_timeouts > 2);
    // The same at a server.
    let config = server_config().idle_timeout(Duration::from_millis(50));
    let server = ends.serve(TlsMode::None, config);
    let mut peer = connect(server.address());
    read_id(&mut peer);
    assert_ends(&mut peer);
    assert_eq!(server.stats().totals.idle_timeouts, 1);
}

fn connections_end_at_their_max_lifetime(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = single().max_lifetime(Duration::from_millis(50));
    let client = ends.dial(TlsMode::None, config, server.address());
    eventually(|| client.stats(), |stats| stats.totals.expired > 2);
}

fn a_connection_past_its_max_lifetime_is_not_reused(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let life = Duration::from_millis(100);
    let client = ends.dial(TlsMode::None, single().max_lifetime(life), server.address());
    let stream = client.take();
    // Another connection takes its place and expires, so the leased one is past its lifetime too.
    eventually(|| client.stats(), |stats| stats.totals.expired > 1);
    let before = client.stats();
    assert_eq!(before.leased, 1);
    client.put(stream).unwrap();
    let after = client.stats();
    assert_eq!((after.leased, after.totals.put, after.totals.reused), (0, 1, 0));
}

fn errors_added_by_the_user_are_counted(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    for pool in [server, client] {
        assert_eq!(pool.error_count(), 0);
        pool.add_error();
        pool.clone_handle().add_error();
        assert_eq!(pool.error_count(), 2);
        pool.reset_error();
        assert_eq!(pool.error_count(), 0);
    }
}

fn totals_are_counted_at_both_ends(ends: &Ends) {
    let (server, client) = ends.steady_pair(TlsMode::SelfSigned);
    client.wait_ready(4, SOON).unwrap();
    server.wait_ready(4, SOON).unwrap();
    let (ours, theirs) = both_ends(&server, &client);
    client.put(theirs).unwrap();
    server.put(ours).unwrap();
    let stats = eventually(|| client.stats(), |stats| stats.returning == 0);
    let totals = stats.totals;
    assert_eq!((totals.leases, totals.put, totals.served_at_once), (1, 1, 1));
    // The pool may be full again by now: the connection is either in the pool or overflowed.
    assert_eq!(
        totals.dials - totals.overflowed,
        u64::from(stats.idle + stats.handshaking + stats.dialing)
    );
    let totals = server.stats().totals;
    assert_eq!((totals.leases, totals.put), (1, 1));
    assert!(totals.admitted >= totals.established && totals.established >= 4, "{totals:?}");
}

fn clones_are_handles_of_one_pool(ends: &Ends) {
    let (server, client) = ends.hex_pair(TlsMode::None);
    let (other, theirs) = (client.clone_handle(), client.take());
    let _ours = server.take_id(theirs.id());
    other.put(theirs).unwrap();
    other.close();
    assert!(client.is_closed());
    let _: (Arc<dyn Pool>, Arc<dyn Pool>) = (client, other);
}
