//! What the thread of a pool waits for when its tasks can do nothing: sockets, timers, and being woken.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Registry};
use pool_proto::Instant;
use pool_proto::adapter::{Alive, Direction, MonotonicClock};
use pool_proto::shell::Clock as _;
use slab::Slab;

use crate::wait::LONGEST_POLL;

/// The event that wakes the thread for other things than sockets.
const WAKE: mio::Token = mio::Token(usize::MAX);

/// Events taken from the operating system at a time.
const EVENTS: usize = 256;

/// Shared by all sockets of a pool. Its thread keeps it: it is gone with that, and with it its
/// descriptors, even while there are leases.
#[derive(Debug)]
pub(crate) struct Reactor {
    registry: Registry,
    waker: mio::Waker,
    clock: MonotonicClock,
    sockets: Mutex<Slab<Waiting>>,
    timers: Mutex<Timers>,
    /// The thread that runs it.
    thread: OnceLock<ThreadId>,
    /// It was woken by itself, and is not to wait.
    woken: AtomicBool,
    /// Dropped last: whoever wakes the thread may hold the reactor a moment longer than it does.
    _alive: Alive,
}

/// Who waits for a socket: a task, or the watch over an idle connection.
#[derive(Debug, Default)]
struct Waiting {
    socket: RawFd,
    read: Option<Waker>,
    write: Option<Waker>,
}

#[derive(Debug, Default)]
struct Timers {
    /// Tells timers of the same instant apart.
    count: u64,
    waiting: BTreeMap<(Instant, u64), Waker>,
}

impl Reactor {
    /// While there is the reactor, there is `alive`.
    pub(crate) fn new(alive: Alive) -> io::Result<(mio::Poll, Arc<Self>)> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let reactor = Self {
            registry,
            waker,
            clock: MonotonicClock::start(),
            sockets: Mutex::default(),
            timers: Mutex::default(),
            thread: OnceLock::new(),
            woken: AtomicBool::new(false),
            _alive: alive,
        };
        Ok((poll, Arc::new(reactor)))
    }

    /// Runs `future` on this thread, to its end.
    pub(crate) fn run(
        self: &Arc<Self>,
        mut poll: mio::Poll,
        future: impl Future<Output = ()>,
    ) -> io::Result<()> {
        self.thread.get_or_init(|| thread::current().id());
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        let mut events = Events::with_capacity(EVENTS);
        let mut future = pin!(future);
        loop {
            self.woken.store(false, Ordering::Relaxed);
            if future.as_mut().poll(&mut context).is_ready() {
                return Ok(());
            }
            match poll.poll(&mut events, self.time_left()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            events.iter().for_each(|event| self.tell(event));
            self.ring();
        }
    }

    /// Takes a socket in, which is not to be closed before what this returns is dropped.
    pub(crate) fn enter(self: &Arc<Self>, socket: RawFd) -> Registration {
        let index = lock(&self.sockets).insert(Waiting { socket, ..Waiting::default() });
        Registration { reactor: Arc::downgrade(self), index }
    }

    /// Wakes who waits for what has happened. A socket that nobody waits for is no longer listened to:
    /// its holder reads a lot, and each packet would wake the thread.
    fn tell(&self, event: &mio::event::Event) {
        let mut sockets = lock(&self.sockets);
        let Some(waiting) = sockets.get_mut(event.token().0) else { return };
        if waiting.read.is_none() && waiting.write.is_none() {
            // It fails where that has been done already.
            let _ = self.registry.deregister(&mut SourceFd(&waiting.socket));
            return;
        }
        let over = event.is_error() || event.is_read_closed() || event.is_write_closed();
        let reader = waiting.read.take_if(|_| event.is_readable() || over);
        let writer = waiting.write.take_if(|_| event.is_writable() || over);
        drop(sockets);
        // Outside the mutex: who is woken may come back here.
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    fn is_here(&self) -> bool {
        self.thread.get().is_some_and(|thread| *thread == thread::current().id())
    }

    fn time_left(&self) -> Option<Duration> {
        if self.woken.swap(false, Ordering::Relaxed) {
            return Some(Duration::ZERO);
        }
        let timers = lock(&self.timers);
        let (due, _) = *timers.waiting.first_key_value()?.0;
        Some(due.since(self.clock.now()).min(LONGEST_POLL))
    }

    /// Wakes whose time has come.
    fn ring(&self) {
        let now = self.clock.now();
        let mut timers = lock(&self.timers);
        let later = timers.waiting.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut timers.waiting, later);
        drop(timers);
        due.into_values().for_each(Waker::wake);
    }

    /// A timer.
    pub(crate) fn timer(self: &Arc<Self>, time: Duration) -> Timer {
        let mut timers = lock(&self.timers);
        timers.count += 1;
        Timer { reactor: Arc::downgrade(self), key: (self.clock.now() + time, timers.count) }
    }
}

impl Wake for Reactor {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_here() {
            self.woken.store(true, Ordering::Relaxed);
        } else if let Err(error) = self.waker.wake() {
            // Its deadlines still wake the thread.
            tracing::error!(%error, "the driver could not be woken");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that a reactor knows a socket.
#[derive(Debug)]
pub(crate) struct Registration {
    reactor: Weak<Reactor>,
    index: usize,
}

impl Registration {
    /// Has the waker of `cx` woken when something happens on the socket, or has happened already.
    pub(crate) fn wait(&self, cx: &Context<'_>, direction: Direction) -> io::Result<()> {
        let reactor = self.reactor.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let mut sockets = lock(&reactor.sockets);
        let Some(waiting) = sockets.get_mut(self.index) else { return Ok(()) };
        let former = match direction {
            Direction::Read => waiting.read.replace(cx.waker().clone()),
            Direction::Write => waiting.write.replace(cx.waker().clone()),
        };
        let interest = match waiting.write {
            Some(_) => Interest::READABLE | Interest::WRITABLE,
            None => Interest::READABLE,
        };
        let (mut socket, token) = (SourceFd(&waiting.socket), mio::Token(self.index));
        let told = match reactor.registry.reregister(&mut socket, token, interest) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                reactor.registry.register(&mut socket, token, interest)
            }
            result => result,
        };
        drop(sockets);
        drop(former);
        told
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(reactor) = self.reactor.upgrade() {
            let left = lock(&reactor.sockets).try_remove(self.index);
            // Outside the mutex: a waker may be the last hold on more.
            drop(left);
        }
    }
}

/// Over when its time has come.
#[derive(Debug)]
pub(crate) struct Timer {
    reactor: Weak<Reactor>,
    key: (Instant, u64),
}

impl Future for Timer {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Without a reactor it does not run any more.
        let Some(reactor) = self.reactor.upgrade() else { return Poll::Pending };
        if reactor.clock.now() >= self.key.0 {
            return Poll::Ready(());
        }
        let former = lock(&reactor.timers).waiting.insert(self.key, cx.waker().clone());
        drop(former);
        if !reactor.is_here() {
            // It may be asleep until later than that.
            reactor.wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(reactor) = self.reactor.upgrade() {
            let left = lock(&reactor.timers).waiting.remove(&self.key);
            drop(left);
        }
    }
}
