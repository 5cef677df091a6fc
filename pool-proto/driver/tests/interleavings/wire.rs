//! The sockets of the pool: ends of wires in memory. Each call of the kernel is one step, and so is each
//! act of the peer; the reactor reports it in a step of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pool_driver::connection::Socket;

use crate::world::{Probe, probe};

/// Lets the checker run other threads. All other code of these tests is a part of the step before it.
fn step() {
    shuttle::thread::sleep(Duration::ZERO);
}

#[derive(Default)]
struct Kernel {
    /// Data for the pool, unread.
    arrived: Vec<u8>,
    peer_has_sent: bool,
    peer_has_ended: bool,
    is_shut: bool,
    waker: Option<Waker>,
}

/// A wire, as the test sees it.
pub(crate) struct Wire {
    pub(crate) number: u32,
    /// Held within a step only.
    kernel: Mutex<Kernel>,
    drops: AtomicU32,
    /// The calls of the pool and of its peer.
    calls: AtomicU32,
    machine: Weak<dyn Probe>,
}

impl Wire {
    pub(crate) fn new(number: u32, machine: Weak<dyn Probe>) -> Arc<Self> {
        let (kernel, drops, calls) = Default::default();
        Arc::new(Self { number, kernel, drops, calls, machine })
    }

    fn call(&self) -> MutexGuard<'_, Kernel> {
        probe(&self.machine);
        step();
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.kernel.lock().unwrap()
    }

    /// The peer sends a byte.
    pub(crate) fn send(&self) {
        {
            let mut kernel = self.call();
            kernel.peer_has_sent = true;
            kernel.arrived.push(b'x');
        }
        self.report();
    }

    /// Data that have arrived before the reactor knows the socket.
    pub(crate) fn arrived_before(&self, data: &[u8]) {
        self.kernel.lock().unwrap().arrived.extend(data);
    }

    /// The peer closes its end.
    pub(crate) fn end(&self) {
        self.call().peer_has_ended = true;
        self.report();
    }

    /// The reactor reports readiness, perhaps in vain.
    pub(crate) fn report(&self) {
        let waker = self.call().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether the peer has not used the connection, nor closed it.
    pub(crate) fn is_unused(&self) -> bool {
        let kernel = self.kernel.lock().unwrap();
        !kernel.peer_has_sent && !kernel.peer_has_ended
    }

    /// Whether the pool has ended the calls of the holder.
    pub(crate) fn is_cut(&self) -> bool {
        self.kernel.lock().unwrap().is_shut
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How often the pool's end was dropped: once, if all is well.
    pub(crate) fn drops(&self) -> u32 {
        self.drops.load(Ordering::Relaxed)
    }
}

/// The pool's end of a wire.
pub(crate) struct Near(pub(crate) Arc<Wire>);

impl Drop for Near {
    fn drop(&mut self) {
        probe(&self.0.machine);
        self.0.drops.fetch_add(1, Ordering::Relaxed);
    }
}

impl Socket for Near {
    fn peer_addr(&self) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 4711))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer_addr())
    }

    fn now(&self) -> impl Read + Write + '_ {
        Now(self)
    }

    fn peek(&self) -> io::Result<()> {
        let kernel = self.0.call();
        match kernel.arrived.is_empty() && !kernel.peer_has_ended && !kernel.is_shut {
            true => Err(ErrorKind::WouldBlock.into()),
            false => Ok(()),
        }
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut kernel = self.0.call();
        if !kernel.arrived.is_empty() || kernel.peer_has_ended || kernel.is_shut {
            return Poll::Ready(Ok(()));
        }
        let former = kernel.waker.replace(cx.waker().clone());
        drop(kernel);
        drop(former);
        Poll::Pending
    }

    fn set_in_use(&self, _in_use: bool) {}

    fn shutdown_write(&self) -> io::Result<()> {
        drop(self.0.call());
        Ok(())
    }

    fn shutdown_both(&self) {
        let waker = {
            let mut kernel = self.0.call();
            kernel.is_shut = true;
            kernel.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Reads and writes that ask the kernel at once.
pub(crate) struct Now<'a>(pub(crate) &'a Near);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut kernel = self.0.0.call();
        let count = buffer.len().min(kernel.arrived.len());
        if count == 0 {
            let is_over = kernel.peer_has_ended || kernel.is_shut;
            return if is_over { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        for (target, byte) in buffer.iter_mut().zip(kernel.arrived.drain(..count)) {
            *target = byte;
        }
        Ok(count)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.0.0.call().is_shut {
            true => Err(ErrorKind::BrokenPipe.into()),
            false => Ok(data.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
