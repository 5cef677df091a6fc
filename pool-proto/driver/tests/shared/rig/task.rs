//! What stands for a user's task: a future, and a waker that counts.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use pool_driver::shared::{Acquire, AcquireError, Deadline, Leased, SharedMachine, WaitReady};
use pool_proto::ConnId;

use super::{Fake, Guard, Rig, Side};

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    ById,
    Stock,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Any, Self::ById, Self::Stock];
}

/// What it gets; `None` for stock.
pub(crate) type Taken = Result<Option<Leased<Fake>>, AcquireError>;

/// Counts how often it was woken, and may do something once when it is.
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

    /// How many of its wakers there are.
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

/// The future of a task, where anybody can drop it.
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

    /// A poll by whoever `counter` wakes.
    pub(crate) fn poll_as(&self, counter: &Arc<Counter>) -> Poll<Taken> {
        self.poll_with(&counter.waker())
    }

    pub(crate) fn poll_with(&self, waker: &Waker) -> Poll<Taken> {
        let mut future = self.future();
        future.as_mut().expect("it was dropped").poll(&mut Context::from_waker(waker))
    }

    /// A poll that must leave it waiting.
    pub(crate) fn queue(&self) {
        let polled = self.poll();
        assert!(polled.is_pending(), "{polled:?}");
    }

    /// A poll that must end it.
    pub(crate) fn finish(&self) -> Taken {
        match self.poll() {
            Poll::Ready(taken) => taken,
            Poll::Pending => panic!("it still waits"),
        }
    }

    /// A poll that must bring a connection.
    pub(crate) fn take(&self) -> Leased<Fake> {
        self.finish().expect("a connection").expect("a connection, not stock")
    }

    /// A poll that must bring an error.
    pub(crate) fn fail(&self) -> AcquireError {
        self.finish().expect_err("an error")
    }

    pub(crate) fn expire(&self) {
        self.future().as_mut().expect("it was dropped").expire();
    }

    /// Drops the future. Not under its own mutex: its drop may wake somebody who comes back here.
    pub(crate) fn cancel(&self) {
        let future = self.future().take();
        drop(future);
    }

    pub(crate) fn wakes(&self) -> u32 {
        self.counter.wakes()
    }
}
