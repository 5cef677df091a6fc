//! The one thread of a pool that is always there: carries out what the machine orders, goes on with
//! handshakes as their sockets let it, and watches over what is idle.

use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mio::Events;
use pool_proto::shell::{Clock as _, Ticket};
use pool_proto::transport::{Crew, Failure, Handshake, Link, Pooled, Task};
use pool_proto::{ByToken, Instant, KeepAlive, Role, Token};

use crate::clock::MonotonicClock;
use crate::reactor::{Reactor, Waiting};
use crate::socket::{LONGEST_POLL, Socket};

pub(crate) type PoolCrew<R> = Crew<Socket, R>;
pub(crate) type PoolTicket<R> = Ticket<Pooled<Socket>, R>;

/// Events taken from the operating system at a time.
const EVENTS: usize = 256;

/// Newcomers taken in, or turned away one after the other, between two looks at what else there is to
/// do.
pub(crate) const BURST: usize = 64;

/// Where connections come from.
pub(crate) trait Supply<R: Role>: Send + 'static {
    /// Begins to connect to the peer. It does not block.
    fn dial(&mut self, ticket: PoolTicket<R>, crew: &PoolCrew<R>);

    /// The dial of this token is not wanted any more.
    fn abort(&mut self, token: Token);

    /// The next that is to shake hands, if one has come. It does not block.
    fn next(&mut self, crew: &PoolCrew<R>, now: Instant) -> Option<Newcomer<R>>;

    /// When to ask again at the latest.
    fn due(&self) -> Option<Instant>;
}

/// A connected stream that is to shake hands.
pub(crate) struct Newcomer<R: Role> {
    pub(crate) ticket: PoolTicket<R>,
    pub(crate) tcp: TcpStream,
    pub(crate) handshake: Result<Handshake, Failure>,
}

/// A handshake under way. Dropped, it ends.
struct Shaking<R: Role> {
    ticket: PoolTicket<R>,
    link: Arc<Link<Socket>>,
    handshake: Handshake,
}

/// What the driver's thread has.
pub(crate) struct Driver<R: Role + Send + 'static, S> {
    pub(crate) crew: Arc<PoolCrew<R>>,
    pub(crate) clock: MonotonicClock,
    pub(crate) poll: mio::Poll,
    pub(crate) reactor: Arc<Reactor>,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) supply: S,
}

/// Runs until the pool is closed.
pub(crate) fn drive<R: Role + Send + 'static>(driver: Driver<R, impl Supply<R>>) {
    let Driver { crew, clock, mut poll, reactor, keep_alive, mut supply } = driver;
    let _finally = Finally(&crew);
    let shell = crew.shell();
    let waker = Waker::from(Arc::clone(&reactor));
    let mut context = Context::from_waker(&waker);
    let mut floor = Floor { crew: &crew, reactor: &reactor, keep_alive, shaking: ByToken::new() };
    let mut events = Events::with_capacity(EVENTS);
    let mut orders = Vec::new();
    loop {
        let due = shell.turn(&mut orders);
        for order in orders.drain(..) {
            match crew.carry_out(order) {
                Some(Task::Begin(ticket)) => supply.dial(ticket, &crew),
                Some(Task::End(token)) => {
                    supply.abort(token);
                    drop(floor.shaking.remove(token));
                }
                None => {}
            }
        }
        if shell.is_closed() {
            return;
        }
        let now = clock.now();
        let mut newcomers = std::iter::from_fn(|| supply.next(&crew, now)).take(BURST);
        let many = newcomers.by_ref().map(|newcomer| floor.begin(newcomer)).count() == BURST;
        if many || shell.poll_work(&mut context).is_ready() {
            continue;
        }
        let due = [due, supply.due()].into_iter().flatten().min();
        match poll.poll(&mut events, due.map(|due| due.since(clock.now()).min(LONGEST_POLL))) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::error!(%error, "the driver cannot wait for its sockets; the pool closes");
                shell.note_failure(&format_args!("waiting for sockets failed: {error}"));
                return;
            }
        }
        for event in &events {
            match reactor.told(event.token()) {
                Waiting::Nobody => {}
                // It was over when the event came: the connection has a holder, who does not ask.
                Waiting::Handshake(token) if !floor.advance(token) => reactor.forget(event.token()),
                Waiting::Handshake(_) => {}
                Waiting::Watch(waker) => waker.wake(),
            }
        }
    }
}

/// Closes the pool when its driver ends, however that happens.
struct Finally<'a, R: Role + Send + 'static>(&'a PoolCrew<R>);

impl<R: Role + Send + 'static> Drop for Finally<'_, R> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Where hands are shaken.
struct Floor<'a, R: Role> {
    crew: &'a PoolCrew<R>,
    reactor: &'a Arc<Reactor>,
    keep_alive: Option<KeepAlive>,
    shaking: ByToken<Shaking<R>>,
}

impl<R: Role + Send + 'static> Floor<'_, R> {
    fn begin(&mut self, newcomer: Newcomer<R>) {
        let Newcomer { ticket, tcp, handshake } = newcomer;
        let token = ticket.token();
        let begun = handshake.and_then(|handshake| {
            let link = Socket::link(tcp, self.keep_alive, self.reactor);
            let link = link.and_then(|link| {
                link.socket().tell(Waiting::Handshake(token))?;
                Ok(link)
            });
            Ok((link.map_err(Failure::Options)?, handshake))
        });
        match begun {
            Ok((link, handshake)) => {
                // A former one was evicted to make room for this one; the order to end it finds it no
                // more.
                drop(self.shaking.insert(token, Shaking { ticket, link, handshake }));
                self.advance(token);
            }
            Err(failure) => self.crew.report(ticket, Err(failure)),
        }
    }

    /// Goes on with a handshake, as far as its socket lets it; says whether there is one.
    fn advance(&mut self, token: Token) -> bool {
        let Some(Shaking { link, handshake, .. }) = self.shaking.get_mut(token) else {
            return false;
        };
        let mut socket = pool_proto::transport::Socket::now(link.socket());
        // What the user has put into rustls' configuration may panic, which must cost this handshake
        // and not the pool. The handshake is dropped then.
        let advanced = catch_unwind(AssertUnwindSafe(|| handshake.advance(&mut socket)));
        drop(socket);
        if matches!(advanced, Ok(Poll::Pending)) {
            return true;
        }
        let Some(Shaking { ticket, link, handshake }) = self.shaking.remove(token) else {
            return false;
        };
        if let Ok(Poll::Ready(advanced)) = advanced {
            let outcome = advanced.and_then(|()| Ok((link, handshake.finish()?)));
            self.crew.report(ticket, outcome);
        } else {
            drop(ticket);
            self.crew.shell().note_failure(&"the handshake panicked");
        }
        true
    }
}

/// Tells when a pool's threads have ended.
#[derive(Default)]
pub(crate) struct Ended {
    ended: Mutex<bool>,
    condvar: Condvar,
}

impl Ended {
    pub(crate) fn tell(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.condvar.notify_all();
    }

    /// Whether they have ended before `timeout` was over.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.condvar.wait_timeout_while(ended, timeout, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
