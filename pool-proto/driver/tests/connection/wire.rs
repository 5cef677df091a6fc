//! A connection in memory, whose kernel behaves as a test determines.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use pool_driver::connection::Socket;

/// The default room: more than any test sends, and a bound for endless sends.
const ROOM: usize = 1024 * 1024;

/// The kernel's behaviour for one end, and the calls that it has received.
pub(crate) struct Kernel {
    /// The most bytes of one read or write.
    pub(crate) piece: usize,
    /// The number of bytes that can still be written.
    pub(crate) room: usize,
    /// The number of next reads and writes that are interrupted.
    pub(crate) interrupts: u32,
    /// The error of a read without data.
    pub(crate) read_error: Option<ErrorKind>,
    /// The error of the next peek only.
    pub(crate) peek_error: Option<ErrorKind>,
    pub(crate) write_error: Option<ErrorKind>,
    /// Whether writes return zero.
    pub(crate) takes_nothing: bool,
    pub(crate) shut_error: Option<ErrorKind>,
    pub(crate) watch_error: Option<ErrorKind>,
    /// Whether the reactor wakes as soon as it has the next waker.
    pub(crate) wakes_at_once: bool,
    /// The number of times that the reactor reports readiness without data.
    pub(crate) spurious: u32,
    pub(crate) local_error: Option<ErrorKind>,

    pub(crate) reads: u32,
    pub(crate) flushes: u32,
    pub(crate) watches: u32,
    pub(crate) shut_writes: u32,
    pub(crate) shut_boths: u32,
    /// The changes between the pool and a holder that uses the socket.
    pub(crate) uses: Vec<bool>,

    /// Bytes that this end has sent, and the other end has not read.
    sent: VecDeque<u8>,
    /// Whether this end has closed its writing half.
    is_shut: bool,
    /// The waker for data that arrives at this end.
    waker: Option<Waker>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            piece: ROOM,
            room: ROOM,
            interrupts: 0,
            read_error: None,
            peek_error: None,
            write_error: None,
            takes_nothing: false,
            shut_error: None,
            watch_error: None,
            wakes_at_once: false,
            spurious: 0,
            local_error: None,
            reads: 0,
            flushes: 0,
            watches: 0,
            shut_writes: 0,
            shut_boths: 0,
            uses: Vec::new(),
            sent: VecDeque::new(),
            is_shut: false,
            waker: None,
        }
    }
}

impl Kernel {
    /// Drops the waker, so that the reactor reports nothing.
    pub(crate) fn forget(&mut self) {
        self.waker = None;
    }

    /// Undoes the end of the writing half, and makes room.
    pub(crate) fn reopen(&mut self, room: usize) {
        (self.is_shut, self.room) = (false, room);
    }

    fn is_interrupted(&mut self) -> bool {
        let interrupted = self.interrupts > 0;
        self.interrupts = self.interrupts.saturating_sub(1);
        interrupted
    }
}

/// An end of a wire. Clones refer to the same end: the socket of the pool or of the peer, and the
/// test's handle of it.
#[derive(Clone)]
pub(crate) struct End {
    wire: Arc<Mutex<[Kernel; 2]>>,
    side: usize,
}

impl End {
    pub(crate) fn pair() -> (Self, Self) {
        let near = Self { wire: Arc::default(), side: 0 };
        (near.clone(), Self { side: 1, ..near })
    }

    fn lock(&self) -> MutexGuard<'_, [Kernel; 2]> {
        self.wire.lock().unwrap()
    }

    pub(crate) fn set(&self, act: impl FnOnce(&mut Kernel)) {
        act(&mut self.lock()[self.side]);
    }

    pub(crate) fn get<T>(&self, ask: impl FnOnce(&Kernel) -> T) -> T {
        ask(&self.lock()[self.side])
    }

    /// Returns the number of bytes that have arrived at this end and were not read.
    pub(crate) fn unread(&self) -> usize {
        self.lock()[1 - self.side].sent.len()
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.get(|kernel| kernel.waker.is_some())
    }

    /// Returns whether the other end has closed its writing half.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock()[1 - self.side].is_shut
    }

    pub(crate) fn send(&self, data: &[u8]) {
        Io(self).write_all(data).unwrap();
    }

    /// Returns all bytes that have arrived.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.lock()[1 - self.side].sent.drain(..).collect()
    }

    /// Closes the writing half, if it is still open.
    pub(crate) fn end(&self) {
        self.set(|kernel| kernel.is_shut = true);
        self.wake_other();
    }

    /// Wakes the waker, as the reactor does for data.
    pub(crate) fn wake(&self) {
        let waker = self.lock()[self.side].waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn wake_other(&self) {
        let waker = self.lock()[1 - self.side].waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn peek_at(&self) -> io::Result<()> {
        let kernels = self.lock();
        let other = &kernels[1 - self.side];
        if !other.sent.is_empty() || other.is_shut || kernels[self.side].read_error.is_some() {
            return Ok(());
        }
        Err(ErrorKind::WouldBlock.into())
    }
}

impl Socket for End {
    fn peer_addr(&self) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 1000 + u16::from(self.side == 1)))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self.get(|kernel| kernel.local_error) {
            Some(kind) => Err(kind.into()),
            None => Ok(SocketAddr::from(([192, 0, 2, 1], 1000 + u16::from(self.side == 0)))),
        }
    }

    fn now(&self) -> impl Read + Write + '_ {
        Io(self)
    }

    fn peek(&self) -> io::Result<()> {
        let error = self.lock()[self.side].peek_error.take();
        error.map_or_else(|| self.peek_at(), |kind| Err(kind.into()))
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let there = self.peek_at().is_ok();
        let kernel = &mut self.lock()[self.side];
        kernel.watches += 1;
        if let Some(kind) = kernel.watch_error {
            return Poll::Ready(Err(kind.into()));
        }
        if there || kernel.spurious > 0 {
            kernel.spurious = kernel.spurious.saturating_sub(1);
            return Poll::Ready(Ok(()));
        }
        if std::mem::take(&mut kernel.wakes_at_once) {
            cx.waker().wake_by_ref();
        } else {
            kernel.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn set_in_use(&self, in_use: bool) {
        self.set(|kernel| kernel.uses.push(in_use));
    }

    fn shutdown_write(&self) -> io::Result<()> {
        self.set(|kernel| kernel.shut_writes += 1);
        if let Some(kind) = self.get(|kernel| kernel.shut_error) {
            return Err(kind.into());
        }
        self.end();
        Ok(())
    }

    fn shutdown_both(&self) {
        self.set(|kernel| kernel.shut_boths += 1);
        self.end();
        // The reading half ends too.
        self.lock()[1 - self.side].is_shut = true;
    }
}

/// Reads and writes of an end.
pub(crate) struct Io<'a>(pub(crate) &'a End);

impl Read for Io<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut kernels = self.0.lock();
        let own = &mut kernels[self.0.side];
        own.reads += 1;
        if own.is_interrupted() {
            return Err(ErrorKind::Interrupted.into());
        }
        let (piece, error) = (own.piece, own.read_error);
        let other = &mut kernels[1 - self.0.side];
        if other.sent.is_empty() {
            return match error {
                Some(kind) => Err(kind.into()),
                None if other.is_shut => Ok(0),
                None => Err(ErrorKind::WouldBlock.into()),
            };
        }
        let count = buffer.len().min(piece).min(other.sent.len());
        for (target, byte) in buffer.iter_mut().zip(other.sent.drain(..count)) {
            *target = byte;
        }
        Ok(count)
    }
}

impl Write for Io<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = {
            let own = &mut self.0.lock()[self.0.side];
            if own.is_interrupted() {
                return Err(ErrorKind::Interrupted.into());
            }
            if let Some(kind) = own.write_error {
                return Err(kind.into());
            }
            if own.is_shut {
                return Err(ErrorKind::BrokenPipe.into());
            }
            if own.takes_nothing {
                return Ok(0);
            }
            if own.room == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let before = own.sent.len();
            let bytes = data.iter().flat_map(|slice| slice.iter());
            own.sent.extend(bytes.take(own.piece.min(own.room)));
            let count = own.sent.len() - before;
            own.room -= count;
            count
        };
        self.0.wake_other();
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.set(|kernel| kernel.flushes += 1);
        Ok(())
    }
}
