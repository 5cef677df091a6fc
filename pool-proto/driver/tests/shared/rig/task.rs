//! A user's task: a future, and a waker that counts.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use pool_driver::shared::{Acquire, AcquireError, Deadline, Leased, SharedMachine, WaitReady};
use pool_proto::ConnId;

use super::{Fake, Guard, Rig, Side};

/// The request of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    ById,
    Stock,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Any, Self::ById, Self::Stock];
}

/// The result of a task; `Ok(None)` for stock.
pub(crate) type Taken = Result<Option<Leased<Fake>>, AcquireError>;

/// A waker that counts its wakes, and can run an action at its next wake.
pub(crate) struct Counter {
    wakes: AtomicU32,
    guard: Guard,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Counter {
    pub(crate) fn new(guard: Guard) -> Arc<Self> {
        Arc::new(Self { wakes: AtomicU32::new(0), guard, then: Mutex::default() })
    }

    pub(crate) fn wakes(&self) -> u32 {
        self.wakes.load(Ordering::SeqCst)
    }

    /// Returns the number of existing wakers.
    pub(crate) fn wakers(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }

    pub(crate) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    pub(crate) fn at_next_wake(&self, act: impl FnOnce() + Send + 'static) {
        *self.then.lock().unwrap() = Some(Box::new(act));
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.guard.assert_unlocked("a wake");
        self.wakes.fetch_add(1, Ordering::SeqCst);
        let then = self.then.lock().unwrap().take();
        if let Some(act) = then {
            act();
        }
    }
}

pub(crate) enum Taker<R: Side> {
    Acquire(Acquire<Fake, R>),
    Stock(WaitReady<Fake, R>),
}

impl<R: Side> Taker<R> {
    fn new(shared: &Arc<SharedMachine<Fake, R>>, kind: Kind, id: ConnId) -> Self {
        match kind {
            Kind::Any => Self::Acquire(shared.acquire()),
            Kind::ById => Self::Acquire(shared.acquire_by_id(id)),
            Kind::Stock => Self::Stock(shared.wait_ready(1)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Taken> {
        match self {
            Self::Acquire(acquire) => Pin::new(acquire).poll(cx).map_ok(Some),
            Self::Stock(wait) => Pin::new(wait).poll(cx).map_ok(|()| None),
        }
    }

    fn expire(&mut self) {
        match self {
            Self::Acquire(acquire) => acquire.expire(),
            Self::Stock(wait) => wait.expire(),
        }
    }
}

/// The future of a task, which can be dropped from anywhere.
pub(crate) type Handle<R> = Arc<Mutex<Option<Taker<R>>>>;

pub(crate) struct Task<R: Side> {
    pub(crate) future: Handle<R>,
    pub(crate) counter: Arc<Counter>,
}

impl<R: Side> Task<R> {
    pub(super) fn new(rig: &Rig<R>, kind: Kind, id: ConnId) -> Self {
        let future = Taker::new(&rig.shared, kind, id);
        Self { future: Arc::new(Mutex::new(Some(future))), counter: Counter::new(rig.guard()) }
    }

    fn future(&self) -> MutexGuard<'_, Option<Taker<R>>> {
        self.future.lock().unwrap()
    }

    pub(crate) fn poll(&self) -> Poll<Taken> {
        self.poll_as(&self.counter)
    }

    /// Polls with the waker of `counter`.
    pub(crate) fn poll_as(&self, counter: &Arc<Counter>) -> Poll<Taken> {
        self.poll_with(&counter.waker())
    }

    pub(crate) fn poll_with(&self, waker: &Waker) -> Poll<Taken> {
        let mut future = self.future();
        future.as_mut().expect("the future was dropped").poll(&mut Context::from_waker(waker))
    }

    /// Polls, and checks that the task waits.
    pub(crate) fn queue(&self) {
        let polled = self.poll();
        assert!(polled.is_pending(), "{polled:?}");
    }

    /// Polls, and returns the result, which must be ready.
    pub(crate) fn finish(&self) -> Taken {
        match self.poll() {
            Poll::Ready(taken) => taken,
            Poll::Pending => panic!("the task still waits"),
        }
    }

    /// Polls, and returns the connection, which must be ready.
    pub(crate) fn take(&self) -> Leased<Fake> {
        self.finish().expect("a connection").expect("a connection, not stock")
    }

    /// Polls, and returns the error, which must be ready.
    pub(crate) fn fail(&self) -> AcquireError {
        self.finish().expect_err("an error")
    }

    pub(crate) fn expire(&self) {
        self.future().as_mut().expect("the future was dropped").expire();
    }

    /// Drops the future outside the task's mutex: the drop may wake a task that returns here.
    pub(crate) fn cancel(&self) {
        let future = self.future().take();
        drop(future);
    }

    pub(crate) fn wakes(&self) -> u32 {
        self.counter.wakes()
    }
}
