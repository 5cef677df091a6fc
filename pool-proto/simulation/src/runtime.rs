//! The simulated runtime, as a pool wants it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::task::{Context, Poll};
use std::time::Duration;

use pool_driver::connection::Kernel;
use pool_driver::pool_proto::Instant;
use pool_driver::{BuildError, Clock, Direction, KeepAlive, Runtime, ShutdownGuard};

use crate::engine::{Purpose, Side, Sim, State};
use crate::network::{NOWHERE, REFUSES, SERVER, SocketId, errno, error};
use crate::reactor::Source;
use crate::stream::PooledStream;
use crate::task::TaskHandle;

/// A host of the simulated world: its runtime.
#[derive(Clone)]
pub struct Simulated {
    /// The world.
    pub sim: Sim,
    /// The host.
    pub side: Side,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Simulated").field(&self.side).finish()
    }
}

/// The clock of the world.
pub struct SimulatedClock(Sim);

impl Clock for SimulatedClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    /// As Linux does: the time of the last tick, every 4 ms.
    fn coarse(&self) -> Instant {
        let since = self.0.now().since(Instant::EPOCH).as_micros();
        let tick = since - since % 4_000;
        Instant::EPOCH + Duration::from_micros(u64::try_from(tick).unwrap_or(0))
    }
}

/// A stream of the world, and its descriptor.
pub struct Stream {
    sim: Sim,
    id: SocketId,
}

impl Stream {
    /// Returns the number of the socket.
    #[must_use]
    pub const fn id(&self) -> SocketId {
        self.id
    }

    /// Ends the connection by a reset when it is dropped.
    pub fn reset(self) {
        self.sim.with(|state| state.close_socket(self.id, true));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.sim.with(|state| state.close_socket(self.id, false));
    }
}

/// A listener of the world.
pub struct Listening {
    sim: Sim,
    address: SocketAddr,
    number: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.sim.with(|state| state.stop_listening(self.address, self.number));
    }
}

/// The kernel's socket of a [`Stream`] or a [`Listening`].
pub struct SimulatedKernel<'a> {
    sim: &'a Sim,
    source: Source,
}

impl SimulatedKernel<'_> {
    fn call<T>(&self, act: impl FnOnce(&mut State, SocketId) -> io::Result<T>) -> io::Result<T> {
        match self.source {
            Source::Stream(id) => self.sim.with(|state| act(state, id)),
            Source::Listener(_) => Err(error(errno::ENOTCONN)),
        }
    }
}

impl Read for SimulatedKernel<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.call(|state, id| state.recv(id, buffer))
    }
}

impl Write for SimulatedKernel<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.call(|state, id| state.transmit(id, data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kernel for SimulatedKernel<'_> {
    fn peek(&self) -> io::Result<()> {
        self.call(State::peek)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.call(|state, id| {
            let socket = state.net.socket(id).ok_or_else(|| error(errno::ENOTCONN))?;
            Ok(socket.peer_addr)
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.source {
            Source::Listener(address) => Ok(address),
            Source::Stream(_) => self.call(|state, id| {
                let socket = state.net.socket(id).ok_or_else(|| error(errno::ENOTCONN))?;
                Ok(socket.local_addr)
            }),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self.source {
            Source::Listener(address) => {
                self.sim.with(|state| {
                    let number = state.net.listeners.get(&address).map(|listener| listener.number);
                    state.stop_listening(address, number.unwrap_or(0));
                });
                Ok(())
            }
            Source::Stream(_) => self.call(|state, id| state.shut(id, how != Shutdown::Write)),
        }
    }

    fn configure(&self, keep_alive: Option<KeepAlive>) -> io::Result<()> {
        match self.source {
            // Accepted sockets have it from their listener.
            Source::Listener(_) => self.sim.with(|state| {
                state.net.inherited = keep_alive.map(|settings| settings.budget());
                Ok(())
            }),
            Source::Stream(_) => self.call(|state, id| {
                state.keep_alive(id, keep_alive.map(|settings| settings.budget()));
                Ok(())
            }),
        }
    }

    fn set_in_use(&self, _keep_alive: KeepAlive, _in_use: bool) -> io::Result<()> {
        Ok(())
    }
}

/// A descriptor for a connection that is being dialled.
struct Connecting {
    sim: Sim,
    side: Side,
}

impl Connecting {
    fn new(host: &Simulated) -> io::Result<Self> {
        host.sim.with(|state| {
            if !state.net.has_descriptor(host.side) {
                return Err(error(errno::EMFILE));
            }
            *state.net.connecting.entry(host.side).or_default() += 1;
            Ok(Self { sim: host.sim.clone(), side: host.side })
        })
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.sim.with(|state| {
            if let Some(count) = state.net.connecting.get_mut(&self.side) {
                *count -= 1;
            }
        });
    }
}

impl Simulated {
    /// Connects to an address.
    ///
    /// # Errors
    ///
    /// Those of Linux.
    pub async fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        let connecting = Connecting::new(self)?;
        let (trip, mishap) = self.sim.with(|state| {
            let (trip, mishaps) = (state.options.trip, state.options.mishaps);
            (trip, state.mishap(mishaps).then(|| state.rng.u32(..3)))
        });
        match mishap {
            Some(0) => return Err(error(errno::EHOSTUNREACH)),
            // The first segment is lost. (RFC 6298: a second.)
            Some(1) => self.sim.sleep(Duration::from_secs(1)).await,
            _ => {}
        }
        self.sim.sleep(trip).await;
        loop {
            let outcome = self.sim.with(|state| {
                if state.net.cut || address == NOWHERE {
                    return None;
                }
                if address == REFUSES || !state.net.listeners.contains_key(&address) {
                    return Some(Err(error(errno::ECONNREFUSED)));
                }
                state.open_pair(self.side, address).map(Ok)
            });
            match outcome {
                None => self.sim.sleep(Duration::from_secs(1)).await,
                Some(Err(error)) => {
                    self.sim.sleep(trip).await;
                    return Err(error);
                }
                Some(Ok(id)) => {
                    // The descriptor is the stream's from now on, also while the answer is under way.
                    let stream = Stream { sim: self.sim.clone(), id };
                    drop(connecting);
                    self.sim.sleep(trip).await;
                    return Ok(stream);
                }
            }
        }
    }

    async fn look_up(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let (delay, answer) = self.sim.with(|state| {
            let mishaps = state.options.mishaps;
            if state.mishap(mishaps) {
                let slow = Duration::from_millis(state.rng.u64(..5_000));
                return (slow, Err(io::Error::other("temporary failure in name resolution")));
            }
            let mut addresses = vec![SERVER];
            // Also without faults: another address must not keep the pool from the one that answers.
            for other in [NOWHERE, REFUSES] {
                if state.rng.u32(..8) == 0 {
                    addresses.push(other);
                }
            }
            state.rng.shuffle(&mut addresses);
            (Duration::from_micros(state.rng.u64(..2_000)), Ok(addresses))
        });
        self.sim.sleep(delay).await;
        answer.map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
    }
}

impl Runtime for Simulated {
    type Handle = Self;
    type Executor = Self;
    type Task = TaskHandle;
    type TcpStream = Stream;
    type Registered = Stream;
    type Listener = Listening;
    type Kernel<'a> = SimulatedKernel<'a>;
    type Stream = PooledStream;

    fn current() -> Result<Self, BuildError> {
        Err(BuildError::NoRuntime)
    }

    fn clock(handle: &Self) -> impl Clock {
        SimulatedClock(handle.sim.clone())
    }

    fn start<F>(
        handle: &Self,
        _max_dials: u32,
        _guard: ShutdownGuard,
        driver: impl FnOnce(Self, Self) -> F,
    ) -> Result<Self, BuildError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let driver = driver(handle.clone(), handle.clone());
        handle.sim.spawn(handle.side, Purpose::Pool, driver).detach();
        Ok(handle.clone())
    }

    fn spawn(host: &Self, future: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        host.sim.spawn(host.side, Purpose::Pool, future)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        self.sim.sleep(time)
    }

    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        self.look_up(name).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        self.dial(address).await
    }

    async fn resolve_on(handle: &Self, name: &str) -> io::Result<Vec<SocketAddr>> {
        handle.look_up(name).await
    }

    fn listen(handle: &Self, address: SocketAddr) -> io::Result<Listening> {
        let number = handle.sim.with(|state| state.listen(address))?;
        Ok(Listening { sim: handle.sim.clone(), address, number })
    }

    fn register(_handle: &Self, _listener: TcpListener) -> io::Result<Listening> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the world has no sockets of the system"))
    }

    fn kernel_listener(listener: &Listening) -> SimulatedKernel<'_> {
        SimulatedKernel { sim: &listener.sim, source: Source::Listener(listener.address) }
    }

    async fn accept(&self, listener: &Listening) -> io::Result<(Stream, SocketAddr)> {
        let source = Source::Listener(listener.address);
        let sim = &self.sim;
        let (id, peer) = poll_fn(|cx| {
            let accept = || sim.with(|state| state.accept(listener.address));
            State::poll_call(sim, source, cx, Direction::Read, accept, |_| false)
        })
        .await?;
        Ok((Stream { sim: sim.clone(), id }, peer))
    }

    fn kernel(stream: &Stream) -> SimulatedKernel<'_> {
        SimulatedKernel { sim: &stream.sim, source: Source::Stream(stream.id) }
    }

    fn poll_io<T>(
        stream: &Stream,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut() -> io::Result<T>,
        is_short: impl Fn(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        State::poll_call(&stream.sim, Source::Stream(stream.id), cx, direction, act, is_short)
    }

    fn poll_readable(stream: &Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let source = Source::Stream(stream.id);
        let edges = stream.sim.with(|state| state.options.edges);
        if edges {
            let peek = || stream.sim.with(|state| state.peek(stream.id));
            return State::poll_call(&stream.sim, source, cx, Direction::Read, peek, |()| false);
        }
        stream.sim.with(|state| state.poll_ready(source, Direction::Read, cx)).map(Ok)
    }
}
