//! The pool that dials.

use std::collections::VecDeque;
use std::io::{self, PipeWriter};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::Wake as _;
use std::thread::{Builder, JoinHandle};

use pool_proto::tls::ClientTls;
use pool_proto::transport::{BuildError, ClientSide, Failure, dial_address};
use pool_proto::{ByToken, Client, ClientConfig, Dialing, Instant, KeepAlive, Token};

use crate::driver::{Newcomer, PoolCrew, PoolTicket, Supply};
use crate::pool::{Pool, start_error};
use crate::reactor::Reactor;
use crate::socket::connect;

/// A pool that dials a peer and keeps connections ready.
pub type ClientPool = Pool<Dialing>;

/// Builds a [`ClientPool`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientPoolBuilder {
    config: Option<ClientConfig>,
    tls: Option<ClientTls>,
    keep_alive: Option<KeepAlive>,
}

impl ClientPool {
    /// A builder: default configuration, no TLS, keep-alive every 15 s.
    pub fn builder() -> ClientPoolBuilder {
        ClientPoolBuilder { config: None, tls: None, keep_alive: Some(KeepAlive::default()) }
    }
}

impl ClientPoolBuilder {
    /// Capacity, timeouts, tuning, ids: everything that is not I/O.
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// TLS with these settings; `None`, the default, is plain TCP.
    pub fn tls(mut self, tls: impl Into<Option<ClientTls>>) -> Self {
        self.tls = tls.into();
        self
    }

    /// TCP keep-alive; `None` leaves it off.
    pub fn keep_alive(mut self, keep_alive: impl Into<Option<KeepAlive>>) -> Self {
        self.keep_alive = keep_alive.into();
        self
    }

    /// Builds a pool that dials `address` ("host:port"), resolved anew at every dial. It begins at
    /// once.
    ///
    /// # Errors
    ///
    /// [`BuildError::Address`] for anything but "host:port", [`BuildError::Start`] when the system
    /// has no thread or descriptor left.
    pub fn connect(self, address: impl Into<String>) -> Result<ClientPool, BuildError> {
        let address = dial_address(address)?;
        let (ended, end) = io::pipe().map_err(start_error)?;
        let config = self.checked_config()?;
        let timeout = config.dial_timeout();
        self.start(&config, move || connect(&address, timeout, &ended), Some(end))
    }

    /// Builds a pool whose connections `dial` makes: through a proxy, from a certain address, in a
    /// network namespace… TLS, id and socket options are the pool's part.
    ///
    /// Each dial has a thread of its own while it lasts, at most
    /// [`max_dials`](pool_proto::ClientConfigBuilder::max_dials) at a time. Nothing can end it from
    /// outside, so `dial` should have a deadline: until it returns, the next has to wait in its
    /// place, and [`closed`](Pool::closed) waits for it, too (which `dial` itself must not call). The
    /// stream must be its only handle: it is set to non-blocking mode.
    ///
    /// ```
    /// # use adapter_std::ClientPool;
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// let gateway = "192.0.2.1:9000".parse()?;
    /// let pool = ClientPool::builder()
    ///     .connect_with(move || TcpStream::connect_timeout(&gateway, Duration::from_secs(5)))?;
    /// # drop(pool); Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`BuildError::Start`] when the system has no thread or descriptor left.
    pub fn connect_with<D>(self, dial: D) -> Result<ClientPool, BuildError>
    where
        D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
    {
        let config = self.checked_config()?;
        self.start(&config, dial, None)
    }

    fn checked_config(&self) -> Result<ClientConfig, BuildError> {
        let config = match &self.config {
            Some(config) => config.clone(),
            None => ClientConfig::builder().build()?,
        };
        Ok(config.or_seed(fastrand::u64(..)))
    }

    fn start(
        self,
        config: &ClientConfig,
        dial: impl Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
        end: Option<PipeWriter>,
    ) -> Result<ClientPool, BuildError> {
        let (poll, reactor) = Reactor::new().map_err(start_error)?;
        let (dialled, inbox) = mpsc::channel();
        let supply = Dialer {
            dial: Arc::new(dial),
            side: ClientSide::new(self.tls, config.ids()),
            limit: usize::try_from(config.max_dials()).unwrap_or(usize::MAX),
            dialling: 0,
            wanted: ByToken::new(),
            queue: VecDeque::new(),
            threads: Threads { running: Vec::new(), end },
            dialled,
            inbox,
            reactor: Arc::clone(&reactor),
        };
        let machine = |now: Instant| Client::new(config, now);
        Pool::start("pool-client", machine, supply, poll, reactor, self.keep_alive, None)
    }
}

/// Dials on threads of their own, as calls of `dial` may block.
struct Dialer<D> {
    dial: Arc<D>,
    side: ClientSide,
    /// How many dials may be under way, and are.
    limit: usize,
    dialling: usize,
    /// Dials that were not given up. With the connection of another nothing would be begun: nobody
    /// would end its handshake.
    wanted: ByToken<()>,
    /// Dials that wait for a thread: those before them were given up, and have not returned yet.
    queue: VecDeque<PoolTicket<Dialing>>,
    threads: Threads,
    dialled: Sender<Dialled>,
    inbox: Receiver<Dialled>,
    reactor: Arc<Reactor>,
}

/// What came of a dial; `None` if the dialer panicked.
type Dialled = (PoolTicket<Dialing>, Option<io::Result<TcpStream>>);

/// The dials under way. Dropped, it ends those that can be ended, and waits for all.
struct Threads {
    running: Vec<JoinHandle<()>>,
    /// Dropped, it ends dials of [`connect`].
    end: Option<PipeWriter>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end = None;
        for thread in self.running.drain(..) {
            // Its panics were caught.
            let _ = thread.join();
        }
    }
}

impl<D> Dialer<D>
where
    D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
{
    /// Gives those that wait a thread, as far as there may be more.
    fn begin(&mut self, crew: &PoolCrew<Dialing>) {
        while self.dialling < self.limit {
            let Some(ticket) = self.queue.pop_front() else { return };
            let (dial, dialled) = (Arc::clone(&self.dial), self.dialled.clone());
            let reactor = Arc::clone(&self.reactor);
            let thread = Builder::new().name("pool-dial".to_owned()).spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| dial()));
                // The pool may be gone; then so is the interest in this.
                let _ = dialled.send((ticket, outcome.ok()));
                reactor.wake();
            });
            match thread {
                Ok(thread) => {
                    self.dialling += 1;
                    self.threads.running.retain(|thread| !thread.is_finished());
                    self.threads.running.push(thread);
                }
                Err(error) => crew
                    .shell()
                    .note_failure(&format_args!("no thread could be started to dial: {error}")),
            }
        }
    }
}

impl<D> Supply<Dialing> for Dialer<D>
where
    D: Fn() -> io::Result<TcpStream> + Send + Sync + 'static,
{
    fn dial(&mut self, ticket: PoolTicket<Dialing>, crew: &PoolCrew<Dialing>) {
        self.wanted.insert(ticket.token(), ());
        self.queue.push_back(ticket);
        self.begin(crew);
    }

    fn abort(&mut self, token: Token) {
        self.wanted.remove(token);
        self.queue.retain(|ticket| ticket.token() != token);
    }

    fn next(&mut self, crew: &PoolCrew<Dialing>, _now: Instant) -> Option<Newcomer<Dialing>> {
        while let Ok((mut ticket, dialled)) = self.inbox.try_recv() {
            self.dialling = self.dialling.saturating_sub(1);
            let wanted = self.wanted.remove(ticket.token()).is_some();
            match dialled {
                Some(Ok(_)) if !wanted => {}
                Some(Ok(tcp)) => {
                    ticket.dialed();
                    let handshake = self.side.begin();
                    return Some(Newcomer { ticket, tcp, handshake });
                }
                Some(Err(error)) => crew.report(ticket, Err(Failure::Dial(error))),
                None => {
                    drop(ticket);
                    crew.shell().note_failure(&"the dialer panicked");
                }
            }
        }
        if !self.queue.is_empty() {
            self.begin(crew);
        }
        None
    }

    fn due(&self) -> Option<Instant> {
        None
    }
}
