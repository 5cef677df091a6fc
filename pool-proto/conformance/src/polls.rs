//! Tests of futures of waiters: polled by hand, and dropped at any moment. Each function here is the
//! body of a test in an adapter whose calls are futures.

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_lite::FutureExt;
use futures_lite::future::yield_now;

use super::ends::{client_config, client_tls, listener, server_config, server_tls, single};
use super::futures::{Harness, set_up, within};
use super::peers::reset;
use super::prelude::*;
use super::scenarios::assert_adds_up;
use super::wait::spawn;
use pool_driver::shared::AcquireError;
use pool_driver::tls::TlsMode;
use pool_driver::{self, Configured, Runtime};
use pool_proto::{
    Accepting, ClientConfigBuilder, ConnId, Dialing, ServerConfigBuilder, Stats, TakeOrder,
    WaitReason,
};

pub(super) type PoolOf<H, R> = pool_driver::Pool<<H as Harness>::Runtime, R>;

pub(super) fn serve<H: Harness>(
    mode: TlsMode,
    config: ServerConfigBuilder,
) -> (PoolOf<H, Accepting>, SocketAddr) {
    let (listener, address) = listener();
    listener.set_nonblocking(true).unwrap();
    let builder = set_up::<H, _>(Some(config.build().unwrap()), server_tls(mode), None, None);
    let pool = H::block_on(async { builder.listen(H::listener(listener).unwrap()).unwrap() });
    (pool, address)
}

fn dial<H: Harness>(
    mode: TlsMode,
    config: ClientConfigBuilder,
    address: SocketAddr,
) -> PoolOf<H, Dialing> {
    let builder = set_up::<H, _>(Some(config.build().unwrap()), client_tls(mode), None, None);
    H::block_on(async { builder.connect(address.to_string()).unwrap() })
}

/// Counts wake-ups.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A waiter is woken once, and only when its answer is ready.
pub fn a_waiter_is_woken_once_when_served<H: Harness>() {
    let (server, address) = serve::<H>(TlsMode::None, server_config());
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let count = || wakes.0.load(Ordering::Relaxed);
    let mut wait = Box::pin(server.acquire(Duration::MAX));
    // Inside the runtime, which its timer may need.
    let mut poll = || H::block_on(async { wait.as_mut().poll(&mut Context::from_waker(&waker)) });
    assert!(poll().is_pending());
    let peer = TcpStream::connect(address).unwrap();
    eventually(count, |count| *count == 1);
    let Poll::Ready(answer) = poll() else { panic!("woken without an answer") };
    drop((answer.unwrap(), peer));
    assert_eq!(count(), 1);
}

/// An acquire with a zero timeout is ready at its first poll.
pub fn a_zero_timeout_needs_one_poll<H: Harness>() {
    let (server, _address) = serve::<H>(TlsMode::None, server_config());
    let mut context = Context::from_waker(Waker::noop());
    let mut acquire = Box::pin(server.acquire(Duration::ZERO));
    let Poll::Ready(answer) = acquire.as_mut().poll(&mut context) else {
        panic!("an acquire with a zero timeout waits");
    };
    let expected = AcquireError::Timeout { why: WaitReason::NoPeer, last_failure: None };
    assert_eq!(answer.map(drop), Err(expected));
}

/// A connection that was assigned to a future goes to the next waiter when the future is dropped.
pub fn a_dropped_acquire_leaves_its_turn_to_the_next<H: Harness>() {
    let (_server, address) = serve::<H>(TlsMode::None, server_config());
    let client = dial::<H>(TlsMode::None, single().max_connections(1), address);
    H::block_on(async {
        let leased = client.acquire(SOON).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut first = Box::pin(client.acquire(SOON));
        assert!(first.as_mut().poll(&mut context).is_pending());
        let mut second = Box::pin(client.acquire(SOON));
        assert!(second.as_mut().poll(&mut context).is_pending());
        // Assigned to the first waiter, which is never polled again.
        client.put(leased).unwrap();
        drop(first);
        let stream = within(client.runtime(), SOON, second).await.unwrap().unwrap();
        assert_eq!(client.stats().totals.reused, 1);
        drop(stream);
    });
}

/// Acquires and cancels at random moments, with every fourth seed by id.
async fn acquire_and_cancel_at_random<H: Harness, R: Configured>(pool: PoolOf<H, R>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut last: Option<ConnId> = None;
    for _ in 0..150 {
        let give_up = async {
            for _ in 0..random.u32(0..20) {
                yield_now().await;
            }
            None
        };
        let take = async {
            match last {
                Some(id) if seed.is_multiple_of(4) => pool.acquire_by_id(id, SOON).await.ok(),
                _ => pool.acquire(SOON).await.ok(),
            }
        };
        let Some(stream) = give_up.or(take).await else { continue };
        last = Some(H::id(&stream));
        yield_now().await;
        if random.u32(0..8) > 0 {
            pool.put(stream).unwrap();
        }
    }
}

fn all_acquire_and_cancel_at_random<H: Harness, R: Configured>(pool: &PoolOf<H, R>) {
    let takers: Vec<_> = (0..32)
        .map(|seed| {
            let pool = pool.clone();
            spawn(move || H::block_on(acquire_and_cancel_at_random::<H, R>(pool, seed)))
        })
        .collect();
    for taker in takers {
        taker.soon();
    }
}

/// Wherever a client's future is dropped, its connection stays available for others.
pub fn cancelled_acquires_lose_no_connection<H: Harness>() {
    for mode in Modes::BOTH {
        let (server, address) = serve::<H>(mode, server_config());
        let config = client_config().capacity(2..=8).take_order(TakeOrder::NewestFirst);
        let client = dial::<H>(mode, config, address);
        all_acquire_and_cancel_at_random::<H, _>(&client);
        let calm = |stats: &Stats| stats.idle >= 2 && stats.returning + stats.handshaking == 0;
        let stats = eventually(|| client.stats(), calm);
        assert_adds_up(&stats);
        assert!(stats.totals.cancelled > 100, "{stats:#?}");
        drop(server);
    }
}

/// Wherever a server's future is dropped, its connection stays available for others.
pub fn cancelled_acquires_at_a_server_lose_no_connection<H: Harness>() {
    let (server, address) = serve::<H>(TlsMode::None, server_config());
    let client = dial::<H>(TlsMode::None, client_config(), address);
    all_acquire_and_cancel_at_random::<H, _>(&server);
    let calm = |stats: &Stats| stats.idle >= 4 && stats.returning + stats.handshaking == 0;
    let stats = eventually(|| server.stats(), calm);
    assert_adds_up(&stats);
    drop(client);
}

/// A reset that arrives while a pool waits for data is not lost: a poll for data returns the error, or
/// leaves it to the next read.
pub fn a_reset_is_not_taken_out_of_the_socket<H: Harness>() {
    let (listener, address) = listener();
    let stream = H::block_on(H::dial(Arc::new(move || TcpStream::connect(address)))).unwrap();
    let stream = stream.into();
    let (peer, _) = listener.accept().unwrap();
    reset(&peer);
    let close = spawn(move || drop(peer));
    let readable = poll_fn(|cx| H::Runtime::poll_readable(&stream, cx));
    let outcome = H::block_on(readable);
    close.soon();
    let outcome = outcome.and_then(|()| H::Runtime::kernel(&stream).read(&mut [0]));
    assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
}
