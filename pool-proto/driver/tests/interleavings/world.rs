//! A small pool of a client, its connections, its driver, and the callers that wait or hold connections.
//! The world keeps its own account of them, apart from the pool's.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use pool_driver::Clock;
use pool_driver::connection::{Connection, Connector, Established, SharedSocket};
use pool_driver::shared::{
    Acquire, AcquireError, Attempt, Command, Deadline as _, Leased, SharedMachine,
};
use pool_proto::{Client, ClientConfig, ConnId, Dialing, IdExchange, Instant};

use crate::scheduler::quietly;
use crate::wire::{Near, Now, Wire};

pub(crate) type Conn = Box<Connection<Near>>;
pub(crate) type Machine = SharedMachine<Conn, Dialing>;
pub(crate) type Lease = Leased<Conn>;

/// The lifetime of connections and of claims: nothing ends for its age before the end of a test.
const LONG: Duration = Duration::from_secs(3600);

/// A clock that stands still until it is moved.
#[derive(Clone, Default)]
pub(crate) struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    pub(crate) fn set(&self, now: Instant) {
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A machine whose mutex can be locked.
pub(crate) trait Probe: Send + Sync {
    fn lock_and_unlock(&self);
}

impl Probe for Machine {
    fn lock_and_unlock(&self) {
        let _ = self.stats();
    }
}

/// Locks the mutex, as a waker, a drop or a callback may. The checker fails the test if this thread holds it.
pub(crate) fn probe(machine: &Weak<dyn Probe>) {
    if !std::thread::panicking()
        && let Some(machine) = machine.upgrade()
    {
        quietly(|| machine.lock_and_unlock());
    }
}

/// The task of a waker: it locks the machine when it is woken, and when its last waker is dropped.
struct Sleeper {
    is_woken: Arc<AtomicBool>,
    machine: Weak<dyn Probe>,
}

impl Sleeper {
    fn waker(is_woken: &Arc<AtomicBool>, machine: &Weak<dyn Probe>) -> Waker {
        let (is_woken, machine) = (Arc::clone(is_woken), machine.clone());
        Waker::from(Arc::new(Self { is_woken, machine }))
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        probe(&self.machine);
        self.is_woken.store(true, Ordering::Relaxed);
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        probe(&self.machine);
    }
}

/// A caller that waits.
pub(crate) struct Waiter {
    pub(crate) acquire: Acquire<Conn, Dialing>,
    /// `None`: any connection.
    pub(crate) id: Option<ConnId>,
    /// Its deadline has passed.
    pub(crate) is_expired: bool,
    is_woken: Arc<AtomicBool>,
}

impl Waiter {
    pub(crate) fn expire(&mut self) {
        self.is_expired = true;
        self.acquire.expire();
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::Relaxed)
    }
}

/// An answer to an acquire.
pub(crate) enum Answer {
    Waits(Waiter),
    Leased(Lease),
    Failed { error: AcquireError, by_id: bool, is_expired: bool },
}

/// A dial whose handshake is over, and whose outcome is still to be reported.
pub(crate) struct Dialled {
    pub(crate) attempt: Attempt<Conn, Dialing>,
    established: Established,
    socket: Arc<SharedSocket<Near>>,
}

/// The driver, between its turns.
#[derive(Default)]
pub(crate) struct Driver {
    /// Woken since it fell asleep, or never asleep.
    is_woken: Arc<AtomicBool>,
    pub(crate) is_asleep: bool,
    /// The end of its sleep.
    pub(crate) due: Option<Instant>,
    pub(crate) has_ended: bool,
}

/// The account of a connection.
pub(crate) struct Account {
    pub(crate) wire: Arc<Wire>,
    pub(crate) socket: Weak<SharedSocket<Near>>,
    /// The lease that holds it now.
    pub(crate) lease: Option<u64>,
    /// It has become the pool's.
    pub(crate) is_established: bool,
}

/// The account of the test. Locked between the steps only.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) accounts: Vec<Account>,
    pub(crate) dials: VecDeque<Attempt<Conn, Dialing>>,
    pub(crate) dialled: VecDeque<Dialled>,
    pub(crate) leases: VecDeque<Lease>,
    pub(crate) waiters: VecDeque<Waiter>,
    pub(crate) driver: Driver,
    next_lease: u64,
    /// Leases up to this one were revoked.
    pub(crate) revoked_up_to: u64,
}

pub(crate) struct World {
    shared: Mutex<Option<Arc<Machine>>>,
    pub(crate) machine: Weak<Machine>,
    /// The machine, if this world probes it.
    probed: Weak<dyn Probe>,
    pub(crate) clock: ManualClock,
    book: Mutex<Book>,
    connector: Connector,
}

pub(crate) const fn id(number: u32) -> ConnId {
    ConnId::from_bytes((number + 1).to_be_bytes())
}

/// The settings of a client that holds, and dials at once, this many connections.
pub(crate) fn settings(connections: u32, reuse_delay: Duration) -> ClientConfig {
    ClientConfig::builder()
        .seed(1)
        .capacity(connections..=connections)
        .max_connections(connections)
        .reuse_delay(reuse_delay)
        .claim_timeout(LONG)
        .idle_timeout(None)
        .max_lifetime(None)
        .build()
        .expect("a configuration")
}

impl World {
    /// A pool that holds at most `connections`, and has begun to dial all of them.
    ///
    /// With `probes`, every waker, drop and call of the kernel locks the machine, which takes time. Whether
    /// it may do so does not depend on the order of threads, so some worlds are enough.
    pub(crate) fn new(connections: u32, reuse_delay: Duration, probes: bool) -> Arc<Self> {
        let config = settings(connections, reuse_delay);
        let clock = ManualClock::default();
        let shared = SharedMachine::new(Client::new(&config, Instant::EPOCH), clock.clone());
        let machine = Arc::downgrade(&shared);
        let probed: Weak<Machine> = if probes { machine.clone() } else { Weak::new() };
        Arc::new(Self {
            shared: Mutex::new(Some(shared)),
            machine,
            probed,
            clock,
            book: Mutex::default(),
            connector: Connector::new(None, IdExchange::default()),
        })
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    /// A handle of the pool; `None` when the last one is gone.
    pub(crate) fn shared(&self) -> Option<Arc<Machine>> {
        self.shared.lock().unwrap().clone()
    }

    /// Drops the handle, for threads that have not taken one yet.
    pub(crate) fn drop_handle(&self) {
        let handle = self.shared.lock().unwrap().take();
        drop(handle);
    }

    // --- callers --------------------------------------------------------------------------------

    pub(crate) fn acquire(&self, shared: &Arc<Machine>, id: Option<ConnId>) -> Answer {
        let acquire = id.map_or_else(|| shared.acquire(), |id| shared.acquire_by_id(id));
        self.poll(Waiter { acquire, id, is_expired: false, is_woken: Arc::default() })
    }

    /// Polls a waiter with a new waker, and enters the lease in the book if it gets one.
    pub(crate) fn poll(&self, mut waiter: Waiter) -> Answer {
        waiter.is_woken.store(false, Ordering::Relaxed);
        let waker = Sleeper::waker(&waiter.is_woken, &self.probed);
        let polled = Pin::new(&mut waiter.acquire).poll(&mut Context::from_waker(&waker));
        match polled {
            Poll::Pending => Answer::Waits(waiter),
            Poll::Ready(Ok(lease)) => {
                if let Some(id) = waiter.id {
                    assert_eq!(lease.id(), id, "an acquire by id got another connection");
                }
                self.enter(&lease);
                Answer::Leased(lease)
            }
            Poll::Ready(Err(error)) => {
                let (by_id, is_expired) = (waiter.id.is_some(), waiter.is_expired);
                Answer::Failed { error, by_id, is_expired }
            }
        }
    }

    /// Takes note of a new holder.
    pub(crate) fn enter(&self, lease: &Lease) {
        let mut book = self.book();
        book.next_lease += 1;
        let serial = book.next_lease;
        let former = book.account(lease).lease.replace(serial);
        assert_eq!(former, None, "{lease:?} has two holders");
    }

    /// Takes note that a holder gives its connection back, or drops it.
    pub(crate) fn release(&self, lease: &Lease) {
        let former = self.book().account(lease).lease.take();
        assert!(former.is_some(), "{lease:?} had no holder");
    }

    // --- the network ----------------------------------------------------------------------------

    /// Lets the transport of the oldest dial be connected, and shakes hands.
    pub(crate) fn dial(&self) -> Option<Dialled> {
        let attempt = self.book().dials.pop_front()?;
        let number = u32::try_from(self.book().accounts.len()).unwrap();
        let wire = Wire::new(number, self.probed.clone());
        wire.arrived_before(format!("{:08x}", number + 1).as_bytes());
        let near = Near(Arc::clone(&wire));
        let mut handshake = self.connector.begin().unwrap();
        let shaken = quietly(|| handshake.advance(&mut Now(&near)));
        assert!(matches!(shaken, Poll::Ready(Ok(()))), "a handshake");
        let established = handshake.finish().unwrap();
        let socket = SharedSocket::new(near);
        let account =
            Account { wire, socket: Arc::downgrade(&socket), lease: None, is_established: false };
        self.book().accounts.push(account);
        Some(Dialled { attempt, established, socket })
    }

    /// Reports the success of a dial.
    pub(crate) fn establish(&self, dialled: Dialled) {
        let Dialled { mut attempt, established, socket } = dialled;
        let number = socket.socket().0.number;
        attempt.dialed();
        attempt.complete(Ok((socket, established)));
        self.book().accounts[number as usize].is_established = true;
    }

    // --- the driver -----------------------------------------------------------------------------

    /// Takes a turn of the driver, and carries out its commands. Returns whether the turn was full.
    fn turn(&self, shared: &Arc<Machine>) -> bool {
        let mut commands = Vec::new();
        let turn = shared.turn(&mut commands);
        self.book().driver.due = turn.due;
        for command in commands {
            self.obey(shared, command);
        }
        turn.is_full
    }

    fn obey(&self, shared: &Arc<Machine>, command: Command<Conn>) {
        match command {
            Command::Dial { token } => {
                let attempt = Attempt::dial(shared, token);
                self.book().dials.push_back(attempt);
            }
            Command::Close { connection, reason } => connection.close(reason),
            Command::Abort { token, reason } => {
                shared.note_abort(token, reason);
                let ended = {
                    let mut book = self.book();
                    let place = book.dials.iter().position(|attempt| attempt.token() == token);
                    place.and_then(|place| book.dials.remove(place))
                };
                drop(ended);
            }
            Command::Interrupt { revoker, .. } => revoker.interrupt(),
        }
    }

    /// The loop of the driver until it sleeps, or `rounds` times.
    pub(crate) fn drive(&self, shared: &Arc<Machine>, rounds: usize) {
        {
            let mut book = self.book();
            if book.driver.has_ended {
                return;
            }
            book.driver.is_asleep = false;
        }
        for _ in 0..rounds {
            let is_closed = shared.is_closed();
            let is_full = self.turn(shared);
            if is_closed && !is_full {
                self.book().driver.has_ended = true;
                shared.close_with_driver();
                return;
            }
            if is_full {
                continue;
            }
            let is_woken = Arc::<AtomicBool>::default();
            self.book().driver.is_woken = Arc::clone(&is_woken);
            let waker = Sleeper::waker(&is_woken, &self.probed);
            if shared.poll_work(&mut Context::from_waker(&waker)).is_pending() {
                self.book().driver.is_asleep = true;
                return;
            }
        }
    }

    /// Whether the driver has something to do, as far as it knows.
    pub(crate) fn driver_is_awake(&self) -> bool {
        let driver = &self.book().driver;
        let is_due = driver.due.is_some_and(|due| due <= self.clock.now());
        !driver.has_ended
            && (!driver.is_asleep || is_due || driver.is_woken.load(Ordering::Relaxed))
    }
}

impl Book {
    pub(crate) fn account(&mut self, lease: &Lease) -> &mut Account {
        let number = lease.socket().socket().0.number;
        &mut self.accounts[number as usize]
    }

    /// The leases that are held now: of which connection, and the number of the lease.
    pub(crate) fn held(&self) -> Vec<(usize, u64)> {
        let accounts = self.accounts.iter().enumerate();
        accounts.filter_map(|(number, account)| Some((number, account.lease?))).collect()
    }
}
