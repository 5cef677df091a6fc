//! Dialling: servers that are down, full or come back, and the user's own dialers.

use std::io;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{fails, topic};
use crate::ends::{
    both_ends, client_config, client_tls, own_listener, server_config, single, unused_address,
};
use crate::facade::Listen;
use crate::peers::{FakeServer, hex_id, reset, tls_accept};
use crate::prelude::*;
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_proto::{ConnId, WaitReason};

topic! {
    parallel a_refused_dial_is_retried_with_backoff,
    parallel a_server_that_comes_back_is_found,
    parallel the_pool_refills_after_an_outage,
    parallel a_call_to_dial_now_ends_the_wait,
    parallel a_waiter_does_not_wait_for_a_long_backoff,
    parallel a_client_backs_off_from_a_server_that_closes_at_the_id,
    parallel a_client_backs_off_from_a_server_that_closes_soon_after_the_id,
    parallel a_host_name_is_resolved,
    parallel a_dialers_error_is_reported_to_waiters,
    parallel a_slow_dial_is_cancelled_at_its_deadline,
    parallel dials_in_flight_do_not_delay_a_zero_timeout,
    parallel a_slow_dialer_makes_connections,
    parallel a_panicking_dialer_fails_its_own_dial_only,
    parallel a_dialers_panic_is_reported_to_waiters,
    parallel dials_in_flight_keep_to_the_limit,
}

fn a_refused_dial_is_retried_with_backoff(ends: &Ends) {
    let wait = Duration::from_millis(100);
    let client = ends.dial(TlsMode::None, client_config().backoff(wait, wait), unused_address());
    let error = client.acquire(Duration::from_millis(600)).unwrap_err();
    let AcquireError::Timeout { why, last_failure: Some(failure) } = &error else {
        panic!("{error}");
    };
    let waits = matches!(why, WaitReason::BackingOff { .. } | WaitReason::Dialing { .. });
    assert!(waits && failure.contains("refused"), "{error}");
    assert!(error.to_string().contains(&format!("the last failure was: {failure}")), "{error}");
    let stats = client.stats();
    // Four dials at first, then one every 50 ms on average; a client that spins makes thousands.
    assert!((5..60).contains(&stats.totals.dials), "{stats:#?}");
    assert!(stats.failures_in_a_row > 1, "{stats:#?}");
}

fn a_server_that_comes_back_is_found(ends: &Ends) {
    let address = unused_address();
    let wait = Duration::from_millis(20);
    let client = ends.dial(TlsMode::None, client_config().backoff(wait, wait), address);
    eventually(|| client.stats(), |stats| stats.totals.dial_failures > 4);
    assert!(client.last_failure().is_some());
    let listen = Listen::Address(address.to_string());
    let _server = ends.serve_on(listen, None, server_config());
    client.wait_ready(4, SOON).unwrap();
    assert_eq!((client.last_failure(), client.stats().failures_in_a_row), (None, 0));
}

fn the_pool_refills_after_an_outage(ends: &Ends) {
    let (listener, address) = own_listener();
    let server = ends.serve_on(Listen::On(listener), None, server_config());
    let wait = Duration::from_millis(20);
    let client = ends.dial(TlsMode::None, client_config().backoff(wait, wait), address);
    client.wait_ready(4, SOON).unwrap();
    server.end();
    let stats = eventually(|| client.stats(), |stats| stats.failures_in_a_row > 2);
    assert_eq!((stats.idle, client.is_ready()), (0, false));
    // During an outage, the client probes with one dial at a time.
    assert!(stats.dialing + stats.handshaking <= 1, "{stats:#?}");
    let _server = ends.serve_on(Listen::Address(address.to_string()), None, server_config());
    client.wait_ready(4, SOON).unwrap();
}

fn a_call_to_dial_now_ends_the_wait(ends: &Ends) {
    let address = unused_address();
    let long = Duration::from_secs(3600);
    let client = ends.dial(TlsMode::None, client_config().backoff(long, long), address);
    eventually(|| client.stats(), |stats| stats.failures_in_a_row == 1 && stats.dialing == 0);
    let dials = client.stats().totals.dials;
    client.dial_now();
    eventually(|| client.stats(), |stats| stats.failures_in_a_row == 2 && stats.dialing == 0);
    assert_eq!(client.stats().totals.dials, dials + 1, "one dial probes");
    let _server = ends.serve_on(Listen::Address(address.to_string()), None, server_config());
    client.dial_now();
    client.wait_ready(4, SOON).unwrap();
    client.end();
    client.dial_now();
    assert_eq!(client.stats().dialing, 0);
}

fn a_waiter_does_not_wait_for_a_long_backoff(ends: &Ends) {
    let address = unused_address();
    let (base, cap) = (Duration::from_millis(1), Duration::from_secs(3600));
    let client = ends.dial(TlsMode::None, client_config().backoff(base, cap), address);
    // The next wait is up to four seconds, and later ones longer.
    eventually(|| client.stats(), |stats| stats.failures_in_a_row >= 12 && stats.dialing == 0);
    let _server = ends.serve_on(Listen::Address(address.to_string()), None, server_config());
    let before = now();
    drop(client.take());
    let waited = before.elapsed();
    // A second, and a second more for a loaded machine.
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

/// A full server of the Go package `github.com/NodePassProject/pool` sends an id and closes at once.
fn a_client_backs_off_from_a_server_that_closes_at_the_id(ends: &Ends) {
    for (mode, with_reset) in
        [(TlsMode::None, false), (TlsMode::SelfSigned, false), (TlsMode::None, true)]
    {
        let fake = FakeServer::start(move |mut tcp, number| {
            if with_reset {
                reset(&tcp);
            }
            let id = hex_id(number);
            if mode == TlsMode::None {
                return tcp.write_all(id.as_bytes());
            }
            let mut tls = tls_accept(tcp)?;
            tls.write_all(id.as_bytes())?;
            tls.flush()
        });
        let client = ends.dial(mode, client_config(), fake.address);
        // By id, because an acquire of any connection could succeed between the id and the close.
        let never = client.acquire_by_id(ConnId::ZERO, Duration::from_millis(500));
        assert!(never.is_err());
        // Four dials at first, then one every 100 ms, then fewer.
        assert!((1..40).contains(&fake.accepted()), "{} dials", fake.accepted());
    }
}

fn a_client_backs_off_from_a_server_that_closes_soon_after_the_id(ends: &Ends) {
    let fake = FakeServer::start(|mut tcp, number| {
        tcp.write_all(hex_id(number).as_bytes())?;
        thread::sleep(Duration::from_millis(5));
        Ok(())
    });
    let client = ends.dial(TlsMode::None, client_config().capacity(1..=1), fake.address);
    let never = client.acquire_by_id(ConnId::ZERO, Duration::from_secs(1));
    assert!(never.is_err());
    // Dials without a pause would be 200.
    assert!((2..50).contains(&fake.accepted()), "{} dials", fake.accepted());
}

fn a_host_name_is_resolved(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let address = format!("localhost:{}", server.address().port());
    let client = ends.dial_with(None, single(), Dial::Address(address));
    client.wait_ready(1, SOON).unwrap();
}

fn a_dialers_error_is_reported_to_waiters(ends: &Ends) {
    let dial = Dial::With(Arc::new(|| Err(io::Error::other("the tunnel is down"))));
    let client = ends.dial_with(None, client_config(), dial);
    fails(&*client, |totals| totals.dial_failures, "the tunnel is down");
}

/// Returns a dialer that blocks until the sender is dropped, so that its thread ends with the
/// scenario.
fn stuck() -> (mpsc::Sender<()>, Dial) {
    let (go, stop) = mpsc::channel::<()>();
    let stop = Mutex::new(stop);
    let dial = Dial::With(Arc::new(move || {
        // `recv` fails when the sender is dropped. The lock blocks the other dials meanwhile.
        drop(stop.lock().map(|stop| stop.recv()));
        Err(io::Error::other("the scenario has ended"))
    }));
    (go, dial)
}

fn a_slow_dial_is_cancelled_at_its_deadline(ends: &Ends) {
    let (_go, dial) = stuck();
    let config = client_config().dial_timeout(Duration::from_millis(100));
    let client = ends.dial_with(None, config, dial);
    fails(&*client, |totals| totals.dial_timeouts, "in time");
    eventually(|| client.stats(), |stats| stats.totals.dial_timeouts >= 4);
}

fn dials_in_flight_do_not_delay_a_zero_timeout(ends: &Ends) {
    let (_go, dial) = stuck();
    let client = ends.dial_with(None, client_config(), dial);
    let before = now();
    let error = client.acquire(Duration::ZERO).unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { why: WaitReason::Dialing { .. }, .. }));
    assert!(before.elapsed() < Duration::from_secs(1));
}

fn a_slow_dialer_makes_connections(ends: &Ends) {
    Modes::both(|mode| {
        let server = ends.serve(mode, server_config());
        let address = server.address();
        let dial = Dial::With(Arc::new(move || {
            thread::sleep(Duration::from_millis(50));
            TcpStream::connect(address)
        }));
        let client = ends.dial_with(client_tls(mode), client_config(), dial);
        client.wait_ready(4, SOON).unwrap();
        let (ours, theirs) = both_ends(&server, &client);
        assert_eq!(ours.id(), theirs.id());
    });
}

/// Panics without the message of the panic hook.
fn quiet_panic() -> ! {
    std::panic::resume_unwind(Box::new("intended panic"));
}

fn a_panicking_dialer_fails_its_own_dial_only(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let (address, dials) = (server.address(), AtomicUsize::new(0));
    let dial = Dial::With(Arc::new(move || {
        if dials.fetch_add(1, Ordering::Relaxed) < 2 {
            quiet_panic();
        }
        TcpStream::connect(address)
    }));
    let client = ends.dial_with(None, single(), dial);
    let _stream = client.take();
    assert_eq!(client.stats().totals.dial_failures, 2);
}

fn a_dialers_panic_is_reported_to_waiters(ends: &Ends) {
    let dial = Dial::With(Arc::new(|| quiet_panic()));
    let client = ends.dial_with(None, client_config(), dial);
    fails(&*client, |totals| totals.dial_failures, "panicked");
}

fn dials_in_flight_keep_to_the_limit(ends: &Ends) {
    let server = ends.serve(TlsMode::None, server_config());
    let (address, under_way) = (server.address(), AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let dial = Dial::With(Arc::new(move || {
        let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
        seen.fetch_max(now, Ordering::SeqCst);
        // Long enough for the other permitted dials to begin.
        thread::sleep(Duration::from_millis(10));
        under_way.fetch_sub(1, Ordering::SeqCst);
        TcpStream::connect(address)
    }));
    let config = client_config().capacity(16..=16).max_dials(3);
    let client = ends.dial_with(None, config, dial);
    client.wait_ready(16, SOON).unwrap();
    let most = most.load(Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most} dials at a time");
}
