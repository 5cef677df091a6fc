//! Pools without sockets: the shared machine over connections on which nothing ever happens.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

use adapter_tokio::ClientConfig;
use adapter_tokio::pool_driver::shared::{
    Command, Interrupt, Leased, PoolConnection, Revocation, Revoker, SharedMachine,
};
use adapter_tokio::pool_driver::{Clock, MonotonicClock};
use adapter_tokio::pool_proto::tape::Recorded;
use adapter_tokio::pool_proto::{CheckResult, Client, ConnId, Dialing, Event, Instant};

use crate::Outcome;

/// A connection without any events. Looking at it costs nothing, as at the connections of the other pools.
pub(crate) struct Fake(pub(crate) u64);

impl PoolConnection for Fake {
    fn open(&mut self) -> bool {
        true
    }

    fn take_opening(&mut self) -> bool {
        true
    }

    fn check(&mut self) -> CheckResult {
        CheckResult::Quiet
    }

    fn drain(&mut self) -> CheckResult {
        CheckResult::Quiet
    }

    fn revoker(&self, revocation: &Revocation) -> Revoker {
        Revoker::new(revocation.clone(), Weak::<Self>::new())
    }
}

impl Interrupt for Fake {
    fn interrupt(&self) {}
}

/// Counts the wakes of the driver.
#[derive(Default)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) type Shared = Arc<SharedMachine<Fake, Dialing>>;

/// A settled pool of `stock` connections, which dials no more of them.
pub(crate) struct FakePool {
    pub(crate) shared: Shared,
    pub(crate) ids: Vec<ConnId>,
    bell: Arc<Bell>,
    waker: Waker,
    answered: u64,
}

impl FakePool {
    pub(crate) fn new(stock: u32) -> Outcome<Self> {
        let machine = Client::new(&config(stock)?, MonotonicClock.now());
        Self::of(SharedMachine::new(machine, MonotonicClock), stock)
    }

    /// A pool whose tape is written to nowhere by a thread of its own.
    pub(crate) fn recorded(stock: u32) -> Outcome<Self> {
        /// The bytes of the buffer of a tape, as pools have them.
        const TAPE: usize = 1 << 20;
        let (machine, first) = Recorded::client(&config(stock)?, MonotonicClock.now(), TAPE);
        let shared = SharedMachine::new(machine, MonotonicClock);
        let writer = Arc::clone(&shared);
        std::thread::spawn(move || writer.write_tape(first, Box::new(std::io::sink())));
        Self::of(shared, stock)
    }

    fn of(shared: Shared, stock: u32) -> Outcome<Self> {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut pool = Self { shared, ids: Vec::new(), bell, waker, answered: 0 };
        pool.drive();
        if pool.ids.len() != usize::try_from(stock)? {
            return Err(format!("{stock} connections wanted, {} dialled", pool.ids.len()).into());
        }
        Ok(pool)
    }

    /// Runs the driver until it sleeps.
    fn drive(&mut self) {
        let mut context = Context::from_waker(&self.waker);
        let mut commands = Vec::new();
        loop {
            turn(&self.shared, &mut commands, |id| self.ids.push(id));
            if self.shared.poll_work(&mut context).is_pending() {
                return;
            }
        }
    }

    pub(crate) fn take(&self) -> Outcome<Leased<Fake>> {
        Ok(at_once(&mut self.shared.acquire())??)
    }

    pub(crate) fn take_by_id(&self, id: ConnId) -> Outcome<Leased<Fake>> {
        Ok(at_once(&mut self.shared.acquire_by_id(id))??)
    }

    /// Puts a connection back, and runs the driver if that has woken it.
    pub(crate) fn put(&mut self, leased: Leased<Fake>) -> Outcome {
        leased.put(&self.shared)?;
        let rung = self.bell.0.load(Ordering::Relaxed);
        if rung != self.answered {
            self.answered = rung;
            self.drive();
        }
        Ok(())
    }

    /// Runs the driver in a task of the current runtime, for good.
    pub(crate) fn spawn_driver(self) -> Shared {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let mut commands = Vec::new();
            loop {
                let due = turn(&self.shared, &mut commands, |_| ());
                let work = std::future::poll_fn(|cx| self.shared.poll_work(cx));
                match due {
                    Some(due) => {
                        let left = due.since(self.shared.now());
                        // Work or the deadline: a turn either way.
                        let _ = tokio::time::timeout(left, work).await;
                    }
                    None => work.await,
                }
            }
        });
        shared
    }
}

/// A turn of the driver, which dials at once. Returns when the next one is due.
fn turn(
    shared: &Shared,
    commands: &mut Vec<Command<Fake>>,
    mut dialed: impl FnMut(ConnId),
) -> Option<Instant> {
    let turn = shared.turn(commands);
    for command in commands.drain(..) {
        if let Command::Dial { token } = command {
            let slot = u32::try_from(token.slot()).unwrap_or_default();
            // An odd multiplier permutes, so no two connections have the same id.
            let id = ConnId::from_bytes(slot.wrapping_mul(0x9e37_79b1).to_be_bytes());
            shared.event(Event::Dialed { token });
            let connection = Fake(u64::from(slot));
            shared.event(Event::Established { token, connection, id: Some(id) });
            dialed(id);
        }
    }
    turn.due
}

/// As many connections as the stock, and no more: the other pools do not dial when one is taken, either.
fn config(stock: u32) -> Outcome<ClientConfig> {
    Ok(ClientConfig::builder().capacity(stock..=stock).max_connections(stock).build()?)
}

/// Polls a future that does not wait.
pub(crate) fn at_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Outcome<T> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err("the pool is empty".into()),
    }
}
