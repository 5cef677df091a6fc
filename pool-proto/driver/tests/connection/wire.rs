//! A connection in memory, whose kernel does what a test tells it to.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use pool_driver::connection::Socket;

/// More than any test sends; a bound for what would send for ever.
const ROOM: usize = 1024 * 1024;

/// What the kernel does for one end, and what it was asked to do.
pub(crate) struct Kernel {
    /// The most bytes that one read or write moves.
    pub(crate) piece: usize,
    /// How many more bytes can be written before the peer has read.
    pub(crate) room: usize,
    /// Reads and writes that are interrupted before one is not.
    pub(crate) interrupts: u32,
    /// Instead of an answer, when nothing is left to read.
    pub(crate) read_error: Option<ErrorKind>,
    /// Instead of an answer, once.
    pub(crate) peek_error: Option<ErrorKind>,
    pub(crate) write_error: Option<ErrorKind>,
    /// Writes say that nothing was taken.
    pub(crate) takes_nothing: bool,
    pub(crate) shut_error: Option<ErrorKind>,
    pub(crate) watch_error: Option<ErrorKind>,
    /// The reactor believes that something is there, so many times.
    pub(crate) spurious: u32,
    pub(crate) local_error: Option<ErrorKind>,

    pub(crate) reads: u32,
    pub(crate) flushes: u32,
    pub(crate) watches: u32,
    pub(crate) shut_writes: u32,
    pub(crate) shut_boths: u32,

    /// Sent by this end and not read by the other.
    sent: VecDeque<u8>,
    /// This end sends no more.
    is_shut: bool,
    /// Who wants to know that something has arrived here.
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
            spurious: 0,
            local_error: None,
            reads: 0,
            flushes: 0,
            watches: 0,
            shut_writes: 0,
            shut_boths: 0,
            sent: VecDeque::new(),
            is_shut: false,
            waker: None,
        }
    }
}

impl Kernel {
    /// The reactor will not wake anybody.
    pub(crate) fn forget(&mut self) {
        self.waker = None;
    }

    fn is_interrupted(&mut self) -> bool {
        let interrupted = self.interrupts > 0;
        self.interrupts = self.interrupts.saturating_sub(1);
        interrupted
    }
}

/// One end of a wire: the adapter's socket, the peer's, and the test's hold on either.
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

    /// Bytes that have arrived here and were not read.
    pub(crate) fn unread(&self) -> usize {
        self.lock()[1 - self.side].sent.len()
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.get(|kernel| kernel.waker.is_some())
    }

    /// Whether the other end sends no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock()[1 - self.side].is_shut
    }

    pub(crate) fn send(&self, data: &[u8]) {
        Io(self).write_all(data).unwrap();
    }

    /// All that has arrived.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.lock()[1 - self.side].sent.drain(..).collect()
    }

    /// Closes this half, or what is left of it.
    pub(crate) fn end(&self) {
        self.set(|kernel| kernel.is_shut = true);
        self.wake_other();
    }

    /// The reactor believes that something has arrived here.
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
        kernel.waker = Some(cx.waker().clone());
        Poll::Pending
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
        // What it would have read has ended too.
        self.lock()[1 - self.side].is_shut = true;
    }
}

/// An end for reads and writes.
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
        for (handle, byte) in buffer.iter_mut().zip(other.sent.drain(..count)) {
            *handle = byte;
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
