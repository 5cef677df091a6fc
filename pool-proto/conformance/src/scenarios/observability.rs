//! The log at level info tells a person in a few lines what happened; the report has the figures.

use std::net::SocketAddr;
use std::time::Duration;

use super::topic;
use crate::ends::{client_config, own_listener, server_config, server_tls, single};
use crate::facade::Listen;
use crate::log::{self, Line};
use crate::peers::{FakeServer, connect_from, hex_id, identity, read_id};
use crate::prelude::*;
use crate::wait::{assert_ends, send};
use pool_driver::metrics::prometheus;
use pool_driver::tls::TlsMode;
use pool_proto::{Acquirer, CloseReason, MetricValue};

topic! {
    parallel an_outage_is_told_when_it_begins_and_when_it_is_over,
    parallel a_flood_of_rejected_peers_is_told_in_a_few_lines,
    parallel a_report_has_the_waits_and_the_times_of_dials,
    parallel the_life_of_a_connection_is_told_at_debug,
    parallel the_end_of_a_connection_for_the_peer_is_told,
    parallel both_ends_tell_the_same_ids,
    parallel a_connection_is_told_with_the_certificate_of_its_peer,
    parallel a_shutdown_is_told_when_it_begins,
    parallel a_pool_tells_its_address_and_whether_it_uses_tls,
}

fn messages(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.message.as_str()).collect()
}

/// Waits for a line, and returns all lines.
#[track_caller]
fn told(address: SocketAddr, role: &str, message: &str) -> Vec<Line> {
    let is_told = |lines: &Vec<Line>| lines.iter().any(|line| line.message == message);
    eventually(|| log::of(address, role), is_told)
}

fn an_outage_is_told_when_it_begins_and_when_it_is_over(ends: &Ends) {
    log::begin();
    let (listener, address) = own_listener();
    let server = ends.serve_on(Listen::On(listener), None, server_config());
    let wait = Duration::from_millis(20);
    let client = ends.dial(TlsMode::None, client_config().backoff(wait, wait), address);
    client.wait_ready(4, SOON).unwrap();
    server.end();
    told(address, "server", "pool ended");
    eventually(|| client.stats(), |stats| stats.failures_in_a_row > 5);
    for _ in 0..100 {
        client.acquire(Duration::ZERO).unwrap_err();
    }
    let server = ends.serve_on(Listen::Address(address.to_string()), None, server_config());
    client.wait_ready(4, SOON).unwrap();
    told(address, "client", "peer recovered");
    client.end();
    let lines = told(address, "client", "pool ended");
    let of = |message: &str| -> Vec<&Line> {
        lines.iter().filter(|line| line.message == message).collect()
    };
    let outage = ["peer failing", "peer recovered"];
    let health: Vec<_> =
        messages(&lines).into_iter().filter(|message| outage.contains(message)).collect();
    assert_eq!(health, outage, "{lines:#?}");
    let [failing] = *of("peer failing").as_slice() else { panic!("{lines:#?}") };
    assert_eq!(failing.text("peer"), address.to_string());
    let named = failing.text("cause").matches(&address.to_string()).count();
    assert_eq!(named, 1, "the address is told once: {failing:?}");
    let [recovered] = *of("peer recovered").as_slice() else { panic!("{lines:#?}") };
    assert!(recovered.number("failures") > 5, "{recovered:?}");
    // The first of each reason has a line at once; the rest share a line.
    let timeouts = of("acquires timed out");
    assert!(timeouts.len() <= 6, "{timeouts:#?}");
    assert_eq!(timeouts.iter().map(|line| line.number("count")).sum::<u64>(), 100);
    assert_eq!(messages(&lines).first(), Some(&"pool built"));
    assert_eq!(messages(&lines).last(), Some(&"pool ended"));
    assert!(lines.len() <= 10, "{lines:#?}");
    server.end();
}

fn a_flood_of_rejected_peers_is_told_in_a_few_lines(ends: &Ends) {
    const PEERS: u64 = 500;
    log::begin();
    let (listener, address) = own_listener();
    let config = server_config().allow("10.0.0.0/8, 127.0.0.2".parse().unwrap());
    let server = ends.serve_on(Listen::On(listener), None, config.max_lifetime(SOON * 2));
    // With the end of this one, the machine has a deadline of its own, which is far away.
    let mut friend = connect_from("127.0.0.2", address);
    read_id(&mut friend);
    for _ in 0..PEERS {
        assert_ends(&mut connect_from("127.0.0.1", address));
    }
    let rejected = || -> Vec<Line> {
        let lines = log::of(address, "server").into_iter();
        lines.filter(|line| line.message == "peers rejected").collect()
    };
    let all = |lines: &Vec<Line>| lines.iter().map(|line| line.number("count")).sum::<u64>();
    // The rest is told without any further event.
    let lines = eventually(rejected, |lines| all(lines) == PEERS);
    assert!(lines.len() <= 5, "{lines:#?}");
    let last = lines.last().unwrap();
    assert_eq!((last.text("kind"), last.number("total")), ("address", PEERS));
    assert!(last.text("last_peer").starts_with("127.0.0.1:"), "{last:?}");
    assert!(last.text("last_cause").contains("allow list"), "{last:?}");
    server.end();
}

fn a_report_has_the_waits_and_the_times_of_dials(ends: &Ends) {
    let (server, client) = ends.steady_pair(TlsMode::SelfSigned);
    let name = server.address().to_string();
    client.wait_ready(4, SOON).unwrap();
    let held: Vec<_> = (0..4).map(|_| client.take()).collect();
    // A server reports the end of a handshake a moment after its client.
    let theirs = eventually(|| server.report(), |report| report.establishing.count() >= 4);
    let mine = client.report();
    assert_eq!(
        (&*mine.name, mine.role, &*theirs.name, theirs.role),
        (&*name, "client", &*name, "server")
    );
    let totals = mine.stats.totals;
    assert_eq!(mine.waits.count(), totals.served_at_once + totals.served_after_waiting);
    assert!(mine.establishing.count() >= 4 && !mine.establishing.sum().is_zero(), "{mine:?}");
    assert!(!theirs.establishing.sum().is_zero(), "{theirs:?}");
    let leases = mine.metrics().find(|metric| metric.name == "pool_leases_total").unwrap();
    assert_eq!(leases.value, MetricValue::Counter(totals.leases));
    let text = prometheus([&mine, &theirs]);
    for role in ["client", "server"] {
        let sample =
            format!("\npool_establishing_seconds_count{{pool=\"{name}\",role=\"{role}\"}} ");
        assert!(text.contains(&sample), "{text}");
    }
    drop(held);
}

fn the_life_of_a_connection_is_told_at_debug(ends: &Ends) {
    let (fake, peers) = FakeServer::by_hand();
    let address = fake.address;
    log::follow(address);
    let client = ends.dial(TlsMode::None, single(), address);
    let mut served = Vec::new();
    let mut serve = |words: &str| {
        let mut tcp = peers.recv_timeout(SOON).unwrap();
        send(&mut tcp, words.as_bytes());
        served.push(tcp);
    };
    serve(&hex_id(1));
    drop(client.take());
    told(address, "client", "connection closed by its holder");
    serve(&hex_id(2));
    client.wait_ready(1, SOON).unwrap();
    client.flush();
    told(address, "client", "connection closed");
    serve(&hex_id(3));
    let leased = client.take();
    // The dial in its place fails before the flush, which would end it, too.
    serve("~no id~~");
    told(address, "client", "dial or handshake failed");
    client.flush();
    let lines = told(address, "client", "lease revoked");
    drop(leased);
    client.end();
    let of = |message: &str, field: &str| -> Vec<String> {
        let its = lines.iter().filter(|line| line.message == message);
        its.map(|line| line.text(field).to_owned()).collect()
    };
    assert_eq!(of("connection established", "id"), [1, 2, 3].map(hex_id), "{lines:#?}");
    assert_eq!(of("connection established", "peer"), [(); 3].map(|()| address.to_string()));
    assert_eq!(of("connection closed", "id"), [hex_id(2)]);
    assert_eq!(of("connection closed", "peer"), [address.to_string()]);
    assert_eq!(of("connection closed", "reason"), ["the pool was flushed"]);
    let tokens = of("connection established", "token");
    assert_eq!(of("connection closed by its holder", "token"), tokens[..1]);
    assert_eq!(of("lease revoked", "token"), tokens[2..]);
    assert_eq!(of("lease revoked", "reason"), ["the pool was flushed"]);
    assert_eq!(of("dial or handshake failed", "peer"), [address.to_string()]);
    let [cause] = &of("dial or handshake failed", "cause")[..] else { panic!("{lines:#?}") };
    assert!(cause.contains("'~'"), "{cause}");
}

fn the_end_of_a_connection_for_the_peer_is_told(ends: &Ends) {
    let (fake, peers) = FakeServer::by_hand();
    log::follow(fake.address);
    let client = ends.dial(TlsMode::None, single().acquirer(Acquirer::Peer), fake.address);
    let mut peer = peers.recv_timeout(SOON).unwrap();
    send(&mut peer, hex_id(1).as_bytes());
    eventually(|| client.stats(), |stats| stats.idle == 1);
    client.flush();
    let lines = told(fake.address, "client", "connection closed");
    let closed = lines.iter().find(|line| line.message == "connection closed").unwrap();
    assert_eq!(closed.text("reason"), CloseReason::Flushed.to_string());
}

fn both_ends_tell_the_same_ids(ends: &Ends) {
    let (listener, address) = own_listener();
    log::follow(address);
    let server = ends.serve_on(Listen::On(listener), None, server_config());
    let client = ends.dial(TlsMode::None, single(), address);
    client.wait_ready(1, SOON).unwrap();
    let ids = |role: &str| -> Vec<String> {
        let lines = told(address, role, "connection established");
        let its = lines.iter().filter(|line| line.message == "connection established");
        its.map(|line| line.text("id").to_owned()).collect()
    };
    assert_eq!(ids("server"), ids("client"));
    client.end();
    server.end();
}

fn a_connection_is_told_with_the_certificate_of_its_peer(ends: &Ends) {
    let (listener, address) = own_listener();
    log::follow(address);
    let server =
        ends.serve_on(Listen::On(listener), server_tls(TlsMode::SelfSigned), server_config());
    let client = ends.dial(TlsMode::SelfSigned, single(), address);
    let certificate = |role: &str| {
        let lines = told(address, role, "connection established");
        let its = lines.into_iter().find(|line| line.message == "connection established");
        its.unwrap().fields.remove("certificate")
    };
    assert_eq!(certificate("client"), Some(format!("{:?}", identity().fingerprint())));
    assert_eq!(certificate("server"), None, "the server has asked for none");
    client.end();
    server.end();
}

fn a_shutdown_is_told_when_it_begins(ends: &Ends) {
    log::begin();
    let (listener, address) = own_listener();
    let server = ends.serve_on(Listen::On(listener), None, server_config());
    let client = ends.dial(TlsMode::None, single(), address);
    let in_use = client.take();
    // The shutdown would break off the dial in its place, of which the server would tell.
    for pool in [&client, &server] {
        pool.wait_ready(1, SOON).unwrap();
    }
    client.graceful_shutdown(Duration::from_secs(3_600));
    client.graceful_shutdown(Duration::from_secs(1_800));
    assert!(!client.is_closed());
    drop(in_use);
    client.end();
    client.graceful_shutdown(Duration::from_secs(900));
    let lines = told(address, "client", "pool ended");
    let begun: Vec<_> =
        lines.iter().filter(|line| line.message == "graceful shutdown begun").collect();
    let [line] = *begun else { panic!("{lines:#?}") };
    assert_eq!(line.text("timeout"), "3600s");
    server.end();
    let lines = told(address, "server", "pool ended");
    assert_eq!(messages(&lines), ["pool built", "pool ended"], "a quiet day: {lines:#?}");
    for pool in [&server, &client] {
        assert!(format!("{pool:?}").contains("stats: Stats {"), "{pool:?}");
    }
}

fn a_pool_tells_its_address_and_whether_it_uses_tls(ends: &Ends) {
    log::begin();
    for (mode, tls) in [(TlsMode::None, "false"), (TlsMode::SelfSigned, "true")] {
        let (listener, address) = own_listener();
        let server = ends.serve_on(Listen::On(listener), server_tls(mode), server_config());
        let client = ends.dial(mode, single(), address);
        for (pool, role) in [(&client, "client"), (&server, "server")] {
            let lines = told(address, role, "pool built");
            let [built, ..] = lines.as_slice() else { panic!("{lines:#?}") };
            assert_eq!((built.text("address"), built.text("tls")), (&*address.to_string(), tls));
            pool.end();
        }
    }
}
