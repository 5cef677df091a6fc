//! A small life of two real pools, whose tapes replay identically.
//!
//! With `POOL_RENEW_TAPES` set, the tapes become those that the package `pool-tape` replays in its tests.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adapter_std::pool_driver::{Clock as _, MonotonicClock};
use adapter_std::{
    AcquireError, Acquirer, ClientConfig, ClientPool, ClientTls, PooledStream, Recording, Refusal,
    ServerConfig, ServerPool, ServerTls,
};
use pool_tape::{Outcome, replay};

const SOON: Duration = Duration::from_secs(10);
const MS: Duration = Duration::from_millis(1);

/// A tape in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_small_life_replays_identically() {
    let (ours, theirs) = (Memory::default(), Memory::default());
    let serve = |address: &str, memory: Memory| {
        let config = ServerConfig::builder()
            .capacity(20)
            .acquirer(Acquirer::Both)
            .max_lifetime(Duration::from_secs(3))
            .build();
        let builder = ServerPool::builder().config(config.unwrap());
        let builder = builder.tls(ServerTls::self_signed().unwrap());
        builder.record(move || Ok(memory.clone())).bind(address).unwrap()
    };
    let server = serve("127.0.0.1:0", ours.clone());
    let address = server.local_addr().unwrap().to_string();
    let config = ClientConfig::builder()
        .capacity(2..=16)
        // Fewer than a crowd, some of which then wait in vain.
        .max_connections(24)
        .acquirer(Acquirer::Both)
        .reuse_delay(2 * MS)
        .idle_timeout(Duration::from_secs(2))
        .backoff(5 * MS, 40 * MS)
        .build();
    let memory = theirs.clone();
    let client = ClientPool::builder()
        .config(config.unwrap())
        .tls(ClientTls::self_signed().unwrap())
        .record(move || Ok(memory.clone()))
        .connect(address.clone())
        .unwrap();
    client.wait_ready(2, SOON).unwrap();
    for round in 0..150 {
        talk(&server, &client, round);
    }
    server.wait_ready(2, SOON).unwrap();
    crowd(&server);
    client.clean();
    client.flush();
    talk(&server, &client, 0);
    server.graceful_shutdown(SOON);
    assert!(server.closed(SOON));
    // Some dials fail, after waits, until there is another server.
    while client.stats().totals.dial_failures < 4 {
        let error = client.acquire(20 * MS).unwrap_err();
        assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    }
    let next = serve(&address, Memory::default());
    client.wait_ready(2, SOON).unwrap();
    client.dial_now();
    talk(&next, &client, 1);
    client.close();
    assert!(client.closed(SOON));

    for (name, memory, recording) in
        [("server", &ours, server.recording()), ("client", &theirs, client.recording())]
    {
        let report = replay(&memory.bytes()).unwrap();
        assert!(matches!(report.outcome, Outcome::Identical(_)), "{name}: {report}");
        let Some(Recording::Ended { inputs, .. }) = recording else { panic!("{recording:?}") };
        assert_eq!(inputs, report.identical, "{name}");
        if std::env::var_os("POOL_RENEW_TAPES").is_some() {
            let tapes =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../pool-proto/tape/tests/tapes");
            std::fs::write(tapes.join(name).with_extension("tape"), memory.bytes()).unwrap();
        }
    }
}

/// Acquires a connection at one end and then at the other, and uses it. Both put it back, or close it. If
/// the other end has just closed the connection, it is dropped.
fn talk(server: &ServerPool, client: &ClientPool, round: u32) {
    let told = |taken: &PooledStream| match round.is_multiple_of(2) {
        true => client.acquire_by_id(taken.id(), SOON),
        false => server.acquire_by_id(taken.id(), SOON),
    };
    let taken = if round.is_multiple_of(2) { server.acquire(SOON) } else { client.acquire(SOON) };
    let mut one = taken.unwrap();
    let mut other = match told(&one) {
        Ok(other) => other,
        Err(AcquireError::Refused(Refusal::Gone { .. })) => return,
        Err(error) => panic!("{error}"),
    };
    one.write_all(b"ping").unwrap();
    one.flush().unwrap();
    let mut heard = [0; 4];
    other.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"ping");
    if round % 3 < 2 {
        let (ours, theirs) = if round.is_multiple_of(2) { (one, other) } else { (other, one) };
        client.put(theirs).unwrap();
        server.put(ours).unwrap();
    }
}

/// Acquires more than there are: some callers wait, and some give up.
fn crowd(server: &ServerPool) {
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..40).map(|_| scope.spawn(|| server.acquire(30 * MS))).collect();
        let taken: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        assert!(taken.iter().any(Result::is_ok) && taken.iter().any(Result::is_err), "{taken:?}");
    });
}

/// A server with a tape, and its client, which has a ready connection.
fn recorded_server() -> (ServerPool, ClientPool) {
    let tape = Memory::default();
    let server =
        ServerPool::builder().record(move || Ok(tape.clone())).bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    let client = ClientPool::builder().connect(address).unwrap();
    client.wait_ready(1, SOON).unwrap();
    (server, client)
}

/// The thread that writes a tape looks for more once a second.
#[test]
fn a_close_does_not_wait_for_the_next_second_of_the_tape() {
    let (server, _client) = recorded_server();
    server.close();
    let began = MonotonicClock.now();
    assert!(server.closed(SOON));
    let took = MonotonicClock.now().since(began);
    assert!(took < 700 * MS, "the end of the tape took {took:?}");
}

/// Likewise. One of five may find a busy machine.
#[test]
fn the_end_of_a_recording_does_not_wait_for_the_next_second_of_the_tape() {
    let took: Vec<_> = (0..5)
        .map(|_| {
            let (server, _client) = recorded_server();
            let began = MonotonicClock.now();
            let passed = || MonotonicClock.now().since(began);
            server.end_recording();
            while !matches!(server.recording(), Some(Recording::Ended { .. })) {
                assert!(passed() < SOON, "{:?}", server.recording());
                std::thread::yield_now();
            }
            passed()
        })
        .collect();
    let quick = took.iter().filter(|took| **took < 500 * MS).count();
    assert!(quick >= 3, "the ends of the tapes took {took:?}");
}
