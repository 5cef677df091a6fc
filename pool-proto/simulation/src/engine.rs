//! The engine: one thread that polls tasks in an order drawn from the seed, and moves the time.
//!
//! Everything lies behind one mutex, because the types of a runtime must be `Send`; there is one thread
//! all the same. Wakers are woken and dropped after unlocking, as they lead into pools.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use fastrand::Rng;
use futures_lite::FutureExt as _;
use pool_driver::pool_proto::Instant;

use crate::network::{self, Network};
use crate::options::Options;
use crate::task::{Sleep, Task, TaskHandle};
use crate::trace::Trace;

/// The owner of a task, a timer or a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The pool that dials, and its users.
    Client,
    /// The pool that accepts, and its users.
    Server,
    /// Peers that are not pools.
    Stranger,
}

/// The purpose of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// A driver, a dial or a handshake.
    Pool,
    /// Everything else.
    User,
}

/// The first violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule that is broken.
    pub rule: &'static str,
    /// The observed state.
    pub seen: String,
}

/// A handle of the world.
#[derive(Clone)]
pub struct Sim(Arc<Mutex<State>>);

/// Everything that happens from a seed.
pub struct State {
    now: Instant,
    /// Draws everything that the network and the scheduler decide.
    pub rng: Rng,
    /// The options that the seed allows.
    pub options: Options,
    /// Whether faults happen now.
    pub faults: bool,
    pub(crate) ready: Vec<Arc<Task>>,
    pub(crate) timers: BTreeMap<(Instant, u64), (Owner, Waker)>,
    events: BTreeMap<(Instant, u64), network::Event>,
    sequence: u64,
    /// The sockets and their paths.
    pub net: Network,
    woken: Vec<Waker>,
    dropped: Vec<Waker>,
    /// The handles of tasks that are kept.
    pub(crate) handles: BTreeMap<Owner, usize>,
    /// When a side has heard the other on the control connection last.
    pub heard: BTreeMap<Side, Instant>,
    /// When a pool has ended all its connections last.
    pub flushed: BTreeMap<Side, Instant>,
    /// The tasks that have not ended.
    pub(crate) live: BTreeMap<u64, (Owner, Weak<Task>)>,
    pub(crate) current: Option<Owner>,
    /// System calls of the poll under way.
    calls: u32,
    /// Peers that it has accepted.
    accepts: u32,
    /// Accepts that failed for want of a descriptor, in the second that began then.
    starved: (Instant, u32),
    /// The most of a poll of a pool so far.
    pub most_calls: u32,
    polls_at: (u64, u32),
    pub(crate) violation: Option<Violation>,
    trace: Trace,
}

pub(crate) type Owner = (Side, Purpose);

/// System calls in one poll, at most. A drain of 256 KiB by 4 KiB, eight times in a turn, takes 520.
const MOST_CALLS: u32 = 600;

/// Accepts in one poll, at most: a burst, and the begin of the next turn.
const MOST_ACCEPTS: u32 = 40;

/// Accepts in a second that fail for want of a descriptor one after the other, at most. The pauses between them
/// grow from 10 ms to a second at random; eight are usual.
const MOST_STARVED: u32 = 25;

/// Polls of the world in a millisecond, at most.
const MOST_POLLS: u32 = 5_000;

impl Sim {
    /// The world of a seed, in which nothing runs.
    #[must_use]
    pub fn new(options: Options, log: bool) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let net = Network::new(&mut rng);
        Self(Arc::new(Mutex::new(State {
            now: Instant::EPOCH + Duration::from_secs(1),
            rng,
            options,
            faults: true,
            ready: Vec::new(),
            timers: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            net,
            woken: Vec::new(),
            dropped: Vec::new(),
            handles: BTreeMap::new(),
            heard: BTreeMap::new(),
            flushed: BTreeMap::new(),
            live: BTreeMap::new(),
            current: None,
            calls: 0,
            accepts: 0,
            starved: (Instant::EPOCH, 0),
            most_calls: 0,
            polls_at: (0, 0),
            violation: None,
            trace: Trace { hasher: DefaultHasher::new(), log },
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act`, and wakes whom it has woken.
    pub fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        let (woken, dropped) =
            (std::mem::take(&mut state.woken), std::mem::take(&mut state.dropped));
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        drop(dropped);
        result
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// Starts a task.
    pub fn spawn(
        &self,
        side: Side,
        purpose: Purpose,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> TaskHandle {
        let number = self.with(State::number);
        let task = Arc::new(Task {
            number,
            owner: (side, purpose),
            sim: self.clone(),
            future: Mutex::new(Some(Box::pin(future))),
            queued: AtomicBool::new(true),
            cancelled: AtomicBool::new(false),
        });
        self.with(|state| {
            *state.handles.entry(task.owner).or_default() += 1;
            state.live.insert(number, (task.owner, Arc::downgrade(&task)));
            state.ready.push(Arc::clone(&task));
        });
        TaskHandle(Some(task))
    }

    /// Ends all tasks of a kind, as a runtime does that shuts down.
    pub fn end_all(&self, side: Side, purpose: Purpose) {
        let ended: Vec<_> = self.with(|state| {
            let tasks = state.live.values().filter(|(owner, _)| *owner == (side, purpose));
            tasks.filter_map(|(_, task)| task.upgrade()).collect()
        });
        for task in ended {
            task.drop_now();
        }
    }

    /// Waits. Not woken early; perhaps late, as by a busy runtime.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + use<> {
        // From the call, like the timers of runtimes.
        let until = self.with(|state| {
            state.call();
            let late = if state.faults { state.options.lateness } else { Duration::ZERO };
            state.now + time + late.mul_f64(state.rng.f64())
        });
        Sleep { sim: self.clone(), until, key: None }
    }

    /// Waits for `future`, so long at most.
    pub async fn within<T>(&self, time: Duration, future: impl Future<Output = T>) -> Option<T> {
        let answer = async { Some(future.await) };
        let late = async {
            self.sleep(time).await;
            None
        };
        answer.or(late).await
    }

    /// Reports that a rule is broken. The first report stands.
    pub fn violated(&self, rule: &'static str, seen: impl fmt::Display) {
        self.with(|state| state.violated(rule, seen));
    }

    /// Polls a task, or else moves the time to the next event. Returns false if nothing will happen any
    /// more.
    pub fn step(&self) -> bool {
        self.with(State::fire);
        let task = self.with(|state| {
            let count = state.ready.len();
            (count > 0).then(|| {
                let index = state.rng.usize(..count);
                state.ready.swap_remove(index)
            })
        });
        match task {
            Some(task) => {
                task.run();
                true
            }
            None => self.with(State::skip),
        }
    }

    /// Whether no task is ready: the world waits for the time.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let state = self.lock();
        let due = state.next_time().is_some_and(|next| next <= state.now);
        state.ready.is_empty() && !due
    }

    /// Returns the violation, if there is one.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        self.lock().violation.clone()
    }
}

impl State {
    /// Returns the time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.woken.extend(waker);
    }

    pub(crate) fn discard(&mut self, waker: Option<Waker>) {
        self.dropped.extend(waker);
    }

    pub(crate) fn at(&mut self, time: Instant, event: network::Event) {
        let key = (time, self.number());
        self.events.insert(key, event);
    }

    /// Counts a system call, or a timer.
    pub(crate) fn call(&mut self) {
        self.calls += 1;
        let owner = self.current;
        // A user may read a large message by single bytes.
        if self.calls > MOST_CALLS && owner.is_some_and(|(_, purpose)| purpose == Purpose::Pool) {
            self.violated("a poll ends", format_args!("{MOST_CALLS} calls in a poll of {owner:?}"));
        }
    }

    /// Counts a peer that is accepted.
    pub(crate) fn accepted(&mut self) {
        self.accepts += 1;
        // The next pause is short again.
        self.starved.1 = 0;
        if self.accepts > MOST_ACCEPTS {
            let seen = format_args!("{MOST_ACCEPTS} peers are accepted in a poll");
            self.violated("a crowd lets others run", seen);
        }
    }

    /// Counts an accept that fails for want of a descriptor.
    pub(crate) fn starves(&mut self) {
        if self.now.since(self.starved.0) > Duration::from_secs(1) {
            self.starved = (self.now, 0);
        }
        self.starved.1 += 1;
        if self.starved.1 > MOST_STARVED {
            let seen = format_args!("{MOST_STARVED} accepts failed within a second");
            self.violated("a server without descriptors pauses", seen);
        }
    }

    /// Whether something happens that happens so often in a thousand times, while there are faults.
    pub(crate) fn mishap(&mut self, per_mille: u32) -> bool {
        self.faults && self.rng.u32(..1000) < per_mille
    }

    /// Writes a line of the log.
    pub fn note(&mut self, line: fmt::Arguments<'_>) {
        let now = self.now;
        self.trace.note(now, line);
    }

    /// Reports that a rule is broken.
    pub fn violated(&mut self, rule: &'static str, seen: impl fmt::Display) {
        self.note(format_args!("VIOLATION of “{rule}”: {seen}"));
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, seen: seen.to_string() });
        }
    }

    /// The number of a kind of tasks that have not ended.
    #[must_use]
    pub fn tasks(&self, side: Side, purpose: Purpose) -> usize {
        self.live.values().filter(|(owner, _)| *owner == (side, purpose)).count()
    }

    /// The number of handles of such tasks.
    #[must_use]
    pub fn handles(&self, side: Side, purpose: Purpose) -> usize {
        self.handles.get(&(side, purpose)).copied().unwrap_or(0)
    }

    /// The next timer of a kind of tasks.
    #[must_use]
    pub fn next_timer(&self, side: Side, purpose: Purpose) -> Option<Instant> {
        let mut timers = self.timers.iter();
        timers.find(|(_, (owner, _))| *owner == (side, purpose)).map(|((time, _), _)| *time)
    }

    /// Limits the descriptors of a side, or no longer.
    pub fn limit(&mut self, side: Side, limit: Option<usize>) {
        match limit {
            Some(limit) => drop(self.net.limits.insert(side, limit)),
            None => drop(self.net.limits.remove(&side)),
        }
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        !self.net.listeners.is_empty()
    }

    /// Returns the violation, if there is one.
    #[must_use]
    pub fn violation(&self) -> Option<Violation> {
        self.violation.clone()
    }

    /// A hash of all events so far.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.trace.hasher.finish()
    }

    fn next_time(&self) -> Option<Instant> {
        let timer = self.timers.keys().next().map(|(time, _)| *time);
        let event = self.events.keys().next().map(|(time, _)| *time);
        timer.into_iter().chain(event).min()
    }

    /// Fires the timers and events that are due.
    fn fire(&mut self) {
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= self.now
        {
            let (_, waker) = entry.remove();
            self.woken.push(waker);
        }
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= self.now
        {
            let event = entry.remove();
            self.happen(event);
        }
    }

    /// Moves the time to the next timer or event.
    fn skip(&mut self) -> bool {
        let Some(next) = self.next_time() else { return false };
        self.now = self.now.max(next);
        true
    }

    pub(crate) fn begin_poll(&mut self, task: &Task) {
        // A poll takes time, too.
        self.now = self.now + Duration::from_micros(self.rng.u64(..20));
        let millisecond = u64::try_from(self.now.since(Instant::EPOCH).as_millis()).unwrap_or(0);
        if self.polls_at.0 != millisecond {
            self.polls_at = (millisecond, 0);
        }
        self.polls_at.1 += 1;
        if self.polls_at.1 > MOST_POLLS {
            let owner = task.owner;
            self.violated(
                "tasks wait for something",
                format_args!("{owner:?} is polled on and on"),
            );
        }
        (self.calls, self.accepts) = (0, 0);
        self.current = Some(task.owner);
    }

    pub(crate) fn end_poll(&mut self) {
        if self.current.is_some_and(|(_, purpose)| purpose == Purpose::Pool) {
            self.most_calls = self.most_calls.max(self.calls);
        }
        self.current = None;
    }
}
