//! Settings: the defaults, those that are refused, and their effect.

use std::sync::Arc;
use std::time::Duration;

use super::topic;
use crate::ends::{both_ends, client_config, server_config, single};
use crate::facade::{ClientSetup, Listen, ServerSetup};
use crate::peers::{connect, ping_pong, read_id};
use crate::prelude::*;
use crate::wait::assert_ends;
use pool_driver::BuildError;
use pool_driver::tls::TlsMode;
use pool_proto::Tuning;

topic! {
    parallel both_ends_have_default_settings,
    parallel a_malformed_address_is_refused_at_once,
    parallel configured_capacity_and_interval_are_in_force,
    parallel capacity_follows_demand,
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
    let setup =
        ServerSetup { config: None, tls: None, keep_alive: None, demand: Demand::Nothing, listen };
    let server = ends.server.server(setup).unwrap();
    let dial = Dial::Address(server.address().to_string());
    let setup =
        ClientSetup { config: None, tls: None, keep_alive: None, demand: Demand::Nothing, dial };
    let client = ends.client.client(setup).unwrap();
    client.wait_ready(4, SOON).unwrap();
    assert_eq!((client.capacity(), server.capacity()), (4, 64));
    assert!(client.interval() >= Duration::from_millis(100), "{:?}", client.interval());
    assert_eq!(server.interval(), Duration::ZERO);
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
        };
        let error = ends.client.client(setup).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, BuildError::Address { .. }), "{nonsense:?}: {error:?}");
        assert!(text.contains(nonsense) && text.contains("host:port"), "{nonsense:?}: {text}");
    }
}

fn configured_capacity_and_interval_are_in_force(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config().capacity(9));
    let interval = Duration::from_millis(70);
    let config = client_config().capacity(6..=6).interval(interval..=interval);
    let client = ends.dial(TlsMode::None, config, server.address());
    client.wait_ready(6, SOON).unwrap();
    assert_eq!((client.capacity(), client.interval()), (6, interval));
    assert_eq!(server.capacity(), 9);
}

fn capacity_follows_demand(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let moment = Duration::from_millis(10);
    let config = client_config().capacity(2..=12).interval(moment..=moment);
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
