//! The deadline of a call is the caller's, whatever the pool's executor does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic here is a failed test")]

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use adapter_smol::pool_driver::shared::block_on;
use adapter_smol::pool_driver::{Clock as _, MonotonicClock};
use adapter_smol::pool_proto::{ConnId, Refusal};
use adapter_smol::{AcquireError, Balancer, ClientPool, Spawner};
use smol::Executor;

/// The deadline of calls that cannot be served.
const DEADLINE: Duration = Duration::from_millis(200);

/// A call may answer so much later on a loaded machine.
const LATE: Duration = Duration::from_millis(500);

type Waits<'a> = Pin<Box<dyn Future<Output = Result<(), AcquireError>> + 'a>>;

/// Waits on this thread, without smol.
fn outside(answer: Waits<'_>) -> Result<(), AcquireError> {
    match block_on(&mut pin!(answer), &MonotonicClock, Duration::from_secs(10)) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the call did not answer"),
    }
}

/// Makes each call that has a deadline.
fn assert_in_time(pool: &ClientPool) {
    let balancer = Balancer::new(pool.clone(), [pool.clone()]);
    let id = ConnId::from_bytes([1, 2, 3, 4]);
    let waits: [fn(Waits<'_>) -> Result<(), AcquireError>; 2] =
        [|answer| outside(answer), |answer| smol::block_on(answer)];
    for wait in waits {
        for timeout in [DEADLINE, Duration::ZERO] {
            let calls: [Waits<'_>; 4] = [
                Box::pin(async { pool.acquire(timeout).await.map(drop) }),
                Box::pin(async { pool.acquire_by_id(id, timeout).await.map(drop) }),
                Box::pin(pool.wait_ready(1, timeout)),
                Box::pin(async { balancer.acquire(timeout).await.map(drop) }),
            ];
            for (at, answer) in calls.into_iter().enumerate() {
                let began = MonotonicClock.now();
                let answer = wait(answer);
                let took = MonotonicClock.now().since(began);
                println!("call {at}, {timeout:?}: {took:?}");
                assert!(matches!(answer, Err(AcquireError::Timeout { .. })), "{at}: {answer:?}");
                assert!(took >= timeout && took < timeout + LATE, "{at}: {took:?}");
            }
        }
    }
}

#[test]
fn a_deadline_passes_while_nobody_runs_the_executor() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let parked = Spawner::new(move |future| keep.lock().unwrap().push(future));
    let pool = ClientPool::builder().on(parked).connect("127.0.0.1:1").unwrap();
    assert_in_time(&pool);
    // Shut down.
    kept.lock().unwrap().clear();
    let refused = outside(Box::pin(pool.wait_ready(1, DEADLINE)));
    assert_eq!(refused, Err(AcquireError::Refused(Refusal::PoolClosed)));
}

#[test]
fn a_deadline_passes_while_the_only_thread_of_the_executor_is_blocked() {
    let executor = Arc::new(Executor::new());
    let (free, until_free) = mpsc::channel::<()>();
    let (is_blocked, blocks) = mpsc::channel();
    let block = async move {
        is_blocked.send(()).unwrap();
        let _ = until_free.recv();
    };
    executor.spawn(block).detach();
    let spawning = Arc::clone(&executor);
    let builder =
        ClientPool::builder().on(Spawner::new(move |future| spawning.spawn(future).detach()));
    let pool = builder.connect("127.0.0.1:1").unwrap();
    let closing = pool.clone();
    let only = thread::spawn(move || smol::block_on(executor.run(closing.closed())));
    blocks.recv().unwrap();
    assert_in_time(&pool);
    pool.close();
    drop(free);
    only.join().unwrap();
}
