//! A connection in the user's hands.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool_driver::Socket;
#[cfg(feature = "tls")]
use pool_driver::tls::TlsFacts;
use pool_driver::transport::{Socket as _, Stream};
use pool_proto::ConnId;
use rustix::event::PollFlags;

use crate::runtime::Threads;
use crate::wait::Timeout;

/// A connection taken from a pool: reads and writes like any stream, and knows its id.
///
/// What the peer sent before the connection was taken is read first. Dropping it closes the
/// connection at once; to close in good order, [`shutdown`](Self::shutdown) it first.
/// [`Pool::put`](crate::Pool::put) returns it to its pool.
///
/// A write sends what it takes before it returns; nothing has to be flushed. [`split`](Self::split)
/// it to read and write from two threads at the same time.
///
/// When the pool is flushed or closed, the read or write that is waiting, or else the next one, fails
/// with [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), and the error holds a
/// [`Revoked`](crate::Revoked) that says why.
#[must_use = "dropping a stream closes its connection"]
pub struct PooledStream {
    shared: Shared,
    timeouts: Timeouts,
}

/// How long one call may wait.
#[derive(Clone, Copy, Debug, Default)]
struct Timeouts {
    read: Option<Duration>,
    write: Option<Duration>,
}

impl From<Stream<Socket<Threads>>> for PooledStream {
    fn from(stream: Stream<Socket<Threads>>) -> Self {
        let shared = Shared { id: stream.id(), stream: Mutex::new(stream) };
        Self { shared, timeouts: Timeouts::default() }
    }
}

impl From<PooledStream> for Stream<Socket<Threads>> {
    fn from(stream: PooledStream) -> Self {
        stream.shared.stream.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PooledStream {
    /// The id, equal on both ends where ids are exchanged.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.shared.id
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// [`NotConnected`](io::ErrorKind::NotConnected) never happens while the stream is held.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.lock().peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.lock().local_addr()
    }

    /// What TLS has agreed on; `None` without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<TlsFacts> {
        self.shared.lock().tls()
    }

    /// How long a read may wait for data; `None`, the default, for ever. Afterwards it fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut), and can be tried again.
    pub const fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.timeouts.read = timeout;
    }

    /// How long a write, flush or shutdown may wait for the peer to take in what was sent; `None`, the
    /// default, for ever. Afterwards it fails with [`TimedOut`](io::ErrorKind::TimedOut); a write that
    /// has taken something by then returns how much, and the next call, be it a read, goes on sending
    /// it.
    pub const fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.timeouts.write = timeout;
    }

    /// Closes this end's half in good order: what comes can still be read.
    ///
    /// # Errors
    ///
    /// [`Revoked`](crate::Revoked), [`TimedOut`](io::ErrorKind::TimedOut) as
    /// [`set_write_timeout`](Self::set_write_timeout) says, or what the operating system says.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.shared.shutdown(self.timeouts)
    }

    /// Two halves, for two threads: while one waits, the other goes on. [`ReadHalf::reunite`] puts
    /// them together again.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let Self { shared, timeouts } = self;
        let shared = Arc::new(shared);
        let write = WriteHalf { shared: Arc::clone(&shared), timeouts };
        (ReadHalf { shared, timeouts }, write)
    }
}

/// The reading half of a stream. The connection is closed when both halves are dropped.
#[must_use = "dropping both halves closes the connection"]
pub struct ReadHalf {
    shared: Arc<Shared>,
    timeouts: Timeouts,
}

/// The writing half of a stream. The connection is closed when both halves are dropped.
#[must_use = "dropping both halves closes the connection"]
pub struct WriteHalf {
    shared: Arc<Shared>,
    timeouts: Timeouts,
}

impl ReadHalf {
    /// The stream of both halves, with the timeouts that it had; or both as they were, if they are
    /// not of one stream.
    ///
    /// # Errors
    ///
    /// As said.
    pub fn reunite(self, write: WriteHalf) -> Result<PooledStream, (Self, WriteHalf)> {
        if !Arc::ptr_eq(&self.shared, &write.shared) {
            return Err((self, write));
        }
        let Self { shared, timeouts } = self;
        drop(shared);
        let WriteHalf { shared, .. } = write;
        match Arc::try_unwrap(shared) {
            Ok(shared) => Ok(PooledStream { shared, timeouts }),
            // There are two halves and no more: it does not come to this.
            Err(shared) => {
                let read = Self { shared: Arc::clone(&shared), timeouts };
                Err((read, WriteHalf { shared, timeouts }))
            }
        }
    }
}

impl WriteHalf {
    /// [`PooledStream::shutdown`].
    ///
    /// # Errors
    ///
    /// Those of [`PooledStream::shutdown`].
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.shared.shutdown(self.timeouts)
    }
}

/// What both halves of a stream share. The mutex is held for a call that does not block; who has to
/// wait does so outside.
struct Shared {
    id: ConnId,
    stream: Mutex<Stream<Socket<Threads>>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stream<Socket<Threads>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `act` again whenever the socket is ready for it.
    fn wait<T>(
        &self,
        timeout: &mut Timeout,
        ready: PollFlags,
        mut act: impl FnMut(&mut Stream<Socket<Threads>>, &mut PollFlags) -> io::Result<T>,
    ) -> io::Result<T> {
        let link = Arc::clone(self.lock().link()?);
        timeout.wait(link.socket().tcp().get_ref(), ready, |ready| act(&mut self.lock(), ready))
    }

    fn read(&self, timeouts: Timeouts, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(&mut Timeout::new(timeouts.read), PollFlags::IN, |stream, ready| {
            let read = stream.read(Socket::now, buffer);
            if blocks(&read) {
                // The peer may wait for what a write has left when its time was up, and answer then.
                ready.set(PollFlags::OUT, blocks(&stream.flush(Socket::now)));
            }
            read
        })
    }

    fn write(&self, timeouts: Timeouts, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut timeout = Timeout::new(timeouts.write);
        let taken = self.wait(&mut timeout, PollFlags::OUT, |stream, _| {
            // What an earlier call has left goes first.
            stream.flush(Socket::now)?;
            stream.write(Socket::now, data)
        })?;
        match self.flush(&mut timeout) {
            // It was taken; the next call goes on sending it.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(taken),
            flushed => flushed.map(|()| taken),
        }
    }

    fn flush(&self, timeout: &mut Timeout) -> io::Result<()> {
        self.wait(timeout, PollFlags::OUT, |stream, _| stream.flush(Socket::now))
    }

    fn shutdown(&self, timeouts: Timeouts) -> io::Result<()> {
        let mut timeout = Timeout::new(timeouts.write);
        self.wait(&mut timeout, PollFlags::OUT, |stream, _| stream.shut(Socket::now))
    }
}

fn blocks<T>(result: &io::Result<T>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

macro_rules! reads {
    ($type:ty) => {
        impl Read for $type {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.shared.read(self.timeouts, buffer)
            }
        }
    };
}

macro_rules! writes {
    ($type:ty) => {
        impl Write for $type {
            fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                self.shared.write(self.timeouts, &[IoSlice::new(data)])
            }

            fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
                self.shared.write(self.timeouts, data)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.shared.flush(&mut Timeout::new(self.timeouts.write))
            }
        }
    };
}

macro_rules! shows {
    ($($type:ident),*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("id", &self.shared.id).finish_non_exhaustive()
            }
        }
    )*};
}

reads!(PooledStream);
reads!(ReadHalf);
writes!(PooledStream);
writes!(WriteHalf);
shows!(PooledStream, ReadHalf, WriteHalf);
