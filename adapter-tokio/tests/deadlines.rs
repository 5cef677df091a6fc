//! The deadline of a call is the caller's, whatever the pool's runtime or the caller's does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

mod common;

use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use adapter_tokio::pool_driver::shared::block_on;
use adapter_tokio::pool_driver::tls::TlsMode;
use adapter_tokio::pool_driver::{Clock as _, MonotonicClock};
use adapter_tokio::pool_proto::ConnId;
use adapter_tokio::{AcquireError, Balancer, BuildError, ClientPool, ServerPool};
use common::{SOON, client_config, dial, send, serve, server_config};
use tokio::runtime::{Builder, Runtime};

/// The deadline of calls that cannot be served.
const DEADLINE: Duration = Duration::from_millis(200);

/// A call may answer so much later on a loaded machine.
const LATE: Duration = Duration::from_millis(500);

/// A pool on `runtime` that has no peer.
fn lonely(runtime: &Runtime) -> ClientPool {
    ClientPool::builder().on(runtime.handle().clone()).connect("127.0.0.1:1").unwrap()
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A runtime whose only worker is blocked until the sender is dropped.
fn blocked() -> (Runtime, mpsc::Sender<()>) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (sender, receiver) = mpsc::channel();
    let (is_blocked, blocks) = mpsc::channel();
    runtime.spawn(async move {
        is_blocked.send(()).unwrap();
        let _ = receiver.recv();
    });
    blocks.recv().unwrap();
    (runtime, sender)
}

type Waits<'a> = Pin<Box<dyn Future<Output = Result<(), AcquireError>> + 'a>>;

/// Makes each call that has a deadline, and has `wait` wait for its answer.
fn assert_in_time(
    name: &str,
    pool: &ClientPool,
    wait: impl Fn(Waits<'_>) -> Result<(), AcquireError>,
) {
    let balancer = Balancer::new(pool.clone(), [pool.clone()]);
    let id = ConnId::from_bytes([1, 2, 3, 4]);
    for timeout in [DEADLINE, Duration::ZERO] {
        let calls: [(&str, Waits<'_>); 4] = [
            ("acquire", Box::pin(async { pool.acquire(timeout).await.map(drop) })),
            ("acquire_by_id", Box::pin(async { pool.acquire_by_id(id, timeout).await.map(drop) })),
            ("wait_ready", Box::pin(pool.wait_ready(1, timeout))),
            ("balancer", Box::pin(async { balancer.acquire(timeout).await.map(drop) })),
        ];
        for (call, answer) in calls {
            let began = MonotonicClock.now();
            let answer = wait(answer);
            let took = MonotonicClock.now().since(began);
            println!("{name}, {call}({timeout:?}): {took:?}");
            assert!(
                matches!(answer, Err(AcquireError::Timeout { .. })),
                "{name} {call}: {answer:?}"
            );
            assert!(took >= timeout && took < timeout + LATE, "{name} {call}: {took:?}");
        }
    }
}

/// Waits on this thread, without a runtime.
fn outside<T>(future: impl Future<Output = T>) -> T {
    match block_on(&mut pin!(future), &MonotonicClock, SOON) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future did not end within {SOON:?}"),
    }
}

/// Waits in every kind of place.
fn assert_in_time_everywhere(name: &str, pool: &ClientPool, runtime: &Runtime) {
    assert_in_time(&format!("{name}, outside"), pool, |answer| outside(answer));
    let other = current_thread();
    assert_in_time(&format!("{name}, on another runtime"), pool, |answer| other.block_on(answer));
    let bare = Builder::new_current_thread().build().unwrap();
    assert_in_time(&format!("{name}, on one without timers"), pool, |answer| bare.block_on(answer));
    // As long as nobody runs the runtime itself, `Handle::block_on` has no timers either.
    let handle = runtime.handle();
    assert_in_time(&format!("{name}, by its handle"), pool, |answer| handle.block_on(answer));
}

#[test]
fn a_deadline_passes_while_the_pools_runtime_is_parked() {
    let runtime = current_thread();
    assert_in_time_everywhere("parked", &lonely(&runtime), &runtime);
}

#[test]
fn a_deadline_passes_while_the_only_worker_of_the_pools_runtime_is_blocked() {
    let (runtime, blocks) = blocked();
    assert_in_time_everywhere("blocked", &lonely(&runtime), &runtime);
    drop(blocks);
}

#[test]
fn a_deadline_passes_although_the_callers_runtime_has_shut_down() {
    let (runtime, callers) = (current_thread(), current_thread());
    let pool = lonely(&runtime);
    let began = MonotonicClock.now();
    let mut answer = Box::pin(pool.acquire(DEADLINE));
    let poll = async { answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() };
    assert!(callers.block_on(poll));
    drop(callers);
    let answer = outside(answer).map(drop);
    let took = MonotonicClock.now().since(began);
    assert!(matches!(answer, Err(AcquireError::Timeout { .. })), "{answer:?}");
    assert!(took >= DEADLINE && took < DEADLINE + LATE, "{took:?}");
}

#[test]
fn a_call_on_the_pools_own_busy_runtime_ends_in_time() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let pool = lonely(&runtime);
    let answer = runtime.spawn(async move {
        let began = MonotonicClock.now();
        (pool.acquire(DEADLINE).await.map(drop), MonotonicClock.now().since(began))
    });
    let (answer, took) = runtime.block_on(answer).unwrap();
    assert!(matches!(answer, Err(AcquireError::Timeout { .. })), "{answer:?}");
    assert!(took >= DEADLINE && took < DEADLINE + LATE, "{took:?}");
}

// --- runtimes without timers, or with others ----------------------------------------------------

/// Sends a byte from one pool to the other.
async fn exchange() {
    let (server, address) = serve(TlsMode::SelfSigned, server_config()).await;
    let client = dial(TlsMode::SelfSigned, client_config(), address);
    let mut ours = server.acquire(SOON).await.unwrap();
    let mut theirs = client.acquire_by_id(ours.id(), SOON).await.unwrap();
    send(&mut ours, b"!").await;
    let mut byte = [0];
    tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut byte).await.unwrap();
    client.close();
    client.closed().await;
}

#[test]
fn pools_need_no_timers_of_their_runtime() {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(exchange());
}

#[cfg(unix)]
#[test]
fn a_runtime_without_io_is_an_error() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let client = ClientPool::builder().connect("127.0.0.1:1");
        assert!(matches!(client, Err(BuildError::NoIo)), "{client:?}");
        let server = ServerPool::builder().bind("127.0.0.1:0").await;
        assert!(matches!(server, Err(BuildError::NoIo)), "{server:?}");
    });
}

/// With time paused, tokio's clock jumps to the next timer of tokio's whenever nothing but I/O is
/// waited for. The deadlines of pools are in real time, so they do not pass before their time.
#[tokio::test(start_paused = true)]
async fn paused_time_is_not_the_time_of_pools() {
    let virtually = tokio::time::Instant::now();
    exchange().await;
    let pool = ClientPool::builder().connect("127.0.0.1:1").unwrap();
    let began = MonotonicClock.now();
    assert!(matches!(pool.acquire(DEADLINE).await, Err(AcquireError::Timeout { .. })));
    assert!(MonotonicClock.now().since(began) >= DEADLINE);
    assert_eq!(virtually.elapsed(), Duration::ZERO, "the pool used a timer of tokio's");
}
