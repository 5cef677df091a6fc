//! A new configuration for a pool that runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::topic;
use crate::ends::{both_ends, client_config, client_tls, server_config, single};
use crate::peers::{identity, ping_pong};
use crate::prelude::*;
use crate::wait::spawn;
use pool_driver::shared::AcquireError;
use pool_driver::tls::{Identity, ServerTls, TlsMode};
use pool_proto::{
    Acquirer, ClientConfigBuilder, ConfigError, IdExchange, IdFormat, ServerConfigBuilder, Tuning,
};

topic! {
    parallel a_raised_limit_serves_a_caller_that_waits,
    parallel a_lowered_capacity_of_a_server_closes_what_is_ready_beyond_it,
    parallel a_shortened_time_holds_for_connections_that_are_there,
    parallel an_allow_list_is_changed_and_changed_back,
    parallel a_setting_that_cannot_change_is_refused_and_nothing_changes,
    parallel a_server_still_knows_its_clients_by_their_certificates,
    parallel more_dials_at_a_time_are_allowed_at_once,
    parallel pools_are_configured_under_load,
}

#[track_caller]
fn set_client(pool: &Arc<dyn Pool>, config: ClientConfigBuilder) -> Result<(), ConfigError> {
    pool.set_config(&config.build().unwrap()).unwrap()
}

#[track_caller]
fn set_server(pool: &Arc<dyn Pool>, config: ServerConfigBuilder) -> Result<(), ConfigError> {
    pool.set_config(&config.build().unwrap()).unwrap()
}

fn a_raised_limit_serves_a_caller_that_waits(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = |most| client_config().capacity(1).max_connections(most);
    let client = ends.dial(TlsMode::None, config(1), server.address());
    let _taken = client.take();
    let waits = Arc::clone(&client);
    let waiter = spawn(move || waits.take()).still_runs_after(Duration::from_millis(50));
    assert_eq!(set_client(&client, config(2)), Ok(()));
    let _served = waiter.soon();
}

fn a_lowered_capacity_of_a_server_closes_what_is_ready_beyond_it(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = client_config().capacity(8);
    let client = ends.dial(TlsMode::None, config, server.address());
    let (mut ours, mut theirs) = both_ends(&server, &client);
    server.wait_ready(8, SOON).unwrap();
    let refused = {
        let waits = Arc::clone(&server);
        let waiter = spawn(move || waits.wait_ready(100, SOON));
        eventually(|| server.stats(), |stats| stats.waiters == 1);
        assert_eq!(set_server(&server, server_config().capacity(3)), Ok(()));
        waiter.soon().unwrap_err()
    };
    assert!(matches!(refused, AcquireError::Refused { .. }), "{refused:?}");
    let stats = server.stats();
    assert_eq!((stats.capacity, stats.totals.surplus), (3, 5), "{stats:?}");
    // The client learns what the server holds, and does not dial what would be turned away.
    eventually(|| client.stats(), |stats| stats.idle == 3);
    // In use, it is not closed.
    ping_pong(&mut *ours, &mut *theirs);
    assert_eq!(set_server(&server, server_config()), Ok(()));
    client.dial_now();
    client.wait_ready(8, SOON).unwrap();
}

fn a_shortened_time_holds_for_connections_that_are_there(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let config = || client_config().capacity(4);
    let client = ends.dial(TlsMode::None, config(), server.address());
    let (mut ours, mut theirs) = both_ends(&server, &client);
    client.wait_ready(4, SOON).unwrap();
    let short = Duration::from_millis(100);
    assert_eq!(set_client(&client, config().idle_timeout(3600 * short)), Ok(()));
    assert_eq!(set_client(&client, config().idle_timeout(short)), Ok(()));
    eventually(|| client.stats().totals.idle_timeouts, |ended| *ended >= 4);
    assert_eq!(set_client(&client, config().max_lifetime(short)), Ok(()));
    eventually(|| client.stats().totals.expired, |ended| *ended >= 4);
    // In use, it is not closed, though it is older than that.
    ping_pong(&mut *ours, &mut *theirs);
    assert_eq!(set_client(&client, config()), Ok(()));
    client.wait_ready(4, SOON).unwrap();
}

fn an_allow_list_is_changed_and_changed_back(ends: &Ends) {
    let server = ends.serve(TlsMode::SelfSigned, server_config());
    let config = client_config().capacity(4);
    let client = ends.dial(TlsMode::SelfSigned, config, server.address());
    let (mut ours, mut theirs) = both_ends(&server, &client);
    server.wait_ready(4, SOON).unwrap();
    let elsewhere = server_config().allow("192.0.2.0/24".parse().unwrap());
    assert_eq!(set_server(&server, elsewhere), Ok(()));
    let stats = server.stats();
    assert_eq!((stats.idle, stats.totals.disallowed), (0, 4), "{stats:?}");
    ping_pong(&mut *ours, &mut *theirs);
    eventually(|| server.stats(), |stats| stats.totals.rejected_address > 0);
    assert_eq!(set_server(&server, server_config()), Ok(()));
    eventually(
        || {
            client.dial_now();
            client.idle()
        },
        |idle| *idle == 4,
    );
}

fn a_setting_that_cannot_change_is_refused_and_nothing_changes(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let client = ends.dial(TlsMode::None, client_config(), server.address());
    client.wait_ready(4, SOON).unwrap();
    let config = || client_config().capacity(9);
    for (setting, config) in [
        ("ids", config().ids(IdExchange::Wire(IdFormat::Raw4))),
        ("acquirer", config().acquirer(Acquirer::ThisEnd)),
        ("control_connection", config().control_connection(true)),
        ("opening_byte", config().opening_byte(true)),
        ("tuning", config().tuning(Tuning::NodePass)),
        ("seed", config().seed(7)),
    ] {
        assert_eq!(set_client(&client, config), Err(ConfigError::Fixed { setting }));
    }
    let config = || server_config().capacity(9);
    for (setting, config) in [
        ("id_format", config().id_format(IdFormat::Raw4)),
        ("acquirer", config().acquirer(Acquirer::ThisEnd)),
        ("control_connection", config().control_connection(true)),
        ("opening_byte", config().opening_byte(true)),
        ("seed", config().seed(7)),
    ] {
        let refused = set_server(&server, config).unwrap_err();
        assert_eq!(refused, ConfigError::Fixed { setting });
        let text = refused.to_string();
        assert!(text.starts_with(setting) && text.contains("while the pool runs"), "{text}");
    }
    assert_eq!((client.capacity(), server.capacity()), (4, 1024));
    // A configuration of the other role is not even taken.
    let other = server_config().build().unwrap();
    assert!(client.set_config(&other).is_none());
}

/// The pool knows by its TLS settings how it knows them; no configuration says so.
fn a_server_still_knows_its_clients_by_their_certificates(ends: &Ends) {
    let agents =
        ["first.example", "second.example"].map(|name| Identity::self_signed([name]).unwrap());
    let known = agents.each_ref().map(Identity::fingerprint);
    let tls = ServerTls::new(identity()).unwrap().pinned_clients(known).unwrap();
    let server = ends.serve_with(Some(tls), server_config());
    assert_eq!(set_server(&server, server_config().max_per_source(1)), Ok(()));
    // Of one address, each with a certificate of its own.
    let clients = agents.map(|agent| {
        let tls = client_tls(TlsMode::SelfSigned).unwrap().client_certificate(agent);
        ends.dial_with(Some(tls), single(), Dial::Address(server.address().to_string()))
    });
    for client in clients {
        client.wait_ready(1, SOON).unwrap();
    }
}

fn more_dials_at_a_time_are_allowed_at_once(ends: &Ends) {
    // Accepts nothing by itself, so that the handshakes last.
    let (listener, address) = crate::ends::listener();
    let config = |dials| client_config().capacity(8).max_dials(dials);
    let client = ends.dial(TlsMode::None, config(1), address);
    let under_way = |count| eventually(|| client.stats(), |s| s.dialing + s.handshaking == count);
    under_way(1);
    assert_eq!(set_client(&client, config(6)), Ok(()));
    under_way(6);
    drop(listener);
}

fn pools_are_configured_under_load(ends: &Ends) {
    const THREADS: usize = 4;
    const ROUNDS: usize = 40;
    let server_config = || server_config().acquirer(Acquirer::Peer).max_connections(4096);
    let client_config = || client_config().acquirer(Acquirer::ThisEnd);
    let server = ends.serve(TlsMode::None, server_config());
    let client = ends.dial(TlsMode::None, client_config(), server.address());
    let load = |_| {
        let (server, client) = (Arc::clone(&server), Arc::clone(&client));
        spawn(move || {
            for _ in 0..ROUNDS {
                let mut ours = client.take();
                let mut theirs = server.take_id(ours.id());
                ping_pong(&mut *ours, &mut *theirs);
                drop(theirs);
            }
        })
    };
    let stop = Arc::new(AtomicBool::new(false));
    let changes = {
        let (server, client, stop) = (Arc::clone(&server), Arc::clone(&client), Arc::clone(&stop));
        spawn(move || {
            let minute = Duration::from_secs(60);
            let mut changes = 0;
            while !stop.load(Ordering::Relaxed) {
                let odd = changes % 2 == 1;
                let time = odd.then_some(minute);
                let config = client_config()
                    .capacity(if odd { 2..=8 } else { 6..=64 })
                    .max_dials(if odd { 3 } else { 1024 })
                    .keep(if odd { minute } else { 2 * minute })
                    .idle_timeout(time)
                    .max_lifetime(time);
                assert_eq!(set_client(&client, config), Ok(()));
                let config = server_config()
                    .capacity(if odd { 1024 } else { 4096 })
                    .max_handshakes(if odd { 64 } else { 512 })
                    .max_lifetime(time)
                    .allow(if odd { "127.0.0.0/8" } else { "everyone" }.parse().unwrap());
                assert_eq!(set_server(&server, config), Ok(()));
                changes += 1;
                std::thread::yield_now();
            }
            changes
        })
    };
    let threads: Vec<_> = (0..THREADS).map(load).collect();
    threads.into_iter().for_each(crate::wait::Running::soon);
    stop.store(true, Ordering::Relaxed);
    assert!(changes.soon() > 0);
    let totals = server.stats().totals;
    assert_eq!((totals.disallowed, totals.surplus, totals.expired), (0, 0, 0), "{totals:?}");
}
