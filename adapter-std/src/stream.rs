//! A connection in a caller's hands: `Read`, `Write`, timeouts, two halves.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pool_driver::LeasedConnection;
use pool_driver::connection::{SharedSocket, Socket as _, TcpSocket};
use pool_proto::ConnId;

use crate::runtime::Threads;
use crate::wait::{Interest, Timeout};
#[cfg(feature = "tls")]
use crate::{Fingerprint, TlsFacts};

/// A connection acquired from a pool: reads and writes like any stream, and knows its id.
///
/// Data that the peer sent before the connection was acquired is read first. Dropping the stream
/// closes the connection at once; to close it in good order, [`shutdown`](Self::shutdown) it first.
/// `put` returns it to its pool.
///
/// A write sends all data that it accepts before it returns; no flush is needed. To read and write
/// from two threads at the same time, [`split`](Self::split) the stream.
///
/// When the pool is flushed or closed, or its graceful shutdown comes to its deadline, pending and
/// later reads and writes fail with [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), and the
/// error contains a [`Revoked`](crate::Revoked) with the reason.
///
/// # The socket beneath
///
#[doc = pool_driver::__socket_doc!()]
#[must_use = "dropping a stream closes its connection"]
pub struct PooledStream {
    shared: Shared,
    timeouts: Timeouts,
}

/// The timeouts of calls.
#[derive(Clone, Copy, Debug, Default)]
struct Timeouts {
    read: Option<Duration>,
    write: Option<Duration>,
}

impl From<LeasedConnection<Threads>> for PooledStream {
    fn from(stream: LeasedConnection<Threads>) -> Self {
        let socket = Arc::clone(stream.socket());
        let shared = Shared { id: stream.id(), socket, stream: Mutex::new(stream) };
        Self { shared, timeouts: Timeouts::default() }
    }
}

impl From<PooledStream> for LeasedConnection<Threads> {
    fn from(stream: PooledStream) -> Self {
        stream.shared.stream.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PooledStream {
    /// Returns the id, equal on both ends where ids are exchanged.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.shared.id
    }

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// Never: the result is for the likeness with other streams.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.shared.lock().peer_addr()
    }

    /// Returns the address of this end.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.lock().local_addr()
    }

    /// Returns the facts of the TLS session; `None` without TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<TlsFacts> {
        self.shared.lock().tls()
    }

    /// Returns the fingerprint of the certificate that the peer has proven to hold the key of; `None`
    /// without TLS, and if the peer has presented none, as a client does whose server requires none.
    ///
    /// An id is a name, and not a proof of who the peer is. An end that serves several peers compares
    /// this value after a take by id.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn peer_certificate(&self) -> Option<Fingerprint> {
        self.shared.lock().peer_certificate()
    }

    /// Sets how long a read may wait for data; `None`, the default, is for ever. A read that waits
    /// longer fails with [`TimedOut`](io::ErrorKind::TimedOut), and can be tried again.
    ///
    /// A peer that has vanished makes reads fail with the same kind. In this case it is an error of the
    /// system, for which [`raw_os_error`](io::Error::raw_os_error) has a number, and all later reads
    /// fail likewise.
    pub const fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.timeouts.read = timeout;
    }

    /// Sets how long a write, flush or shutdown may wait for the peer to accept sent data; `None`, the
    /// default, is for ever. A call that waits longer fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut). A write that has accepted data by then returns how much,
    /// and the next call, even a read, goes on sending it.
    pub const fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.timeouts.write = timeout;
    }

    /// Closes this end's half in good order. Data from the peer can still be read.
    ///
    /// # Errors
    ///
    /// [`Revoked`](crate::Revoked), [`TimedOut`](io::ErrorKind::TimedOut) as
    /// [`set_write_timeout`](Self::set_write_timeout) says, or the operating system's.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.shared.shutdown(self.timeouts)
    }

    /// Splits the stream into two halves for two threads: while one half waits, the other goes on.
    /// [`ReadHalf::reunite`] puts them together again.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let Self { shared, timeouts } = self;
        let shared = Arc::new(shared);
        let write = WriteHalf { shared: Arc::clone(&shared), timeouts };
        (ReadHalf { shared, timeouts }, write)
    }
}

pool_driver::__socket_traits! { |stream| stream.shared.socket.socket().stream() }

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
    /// Returns the stream of both halves, with this half's timeouts.
    ///
    /// # Errors
    ///
    /// Both halves, unchanged, if they are not of one stream.
    pub fn reunite(self, write: WriteHalf) -> Result<PooledStream, (Self, WriteHalf)> {
        if !Arc::ptr_eq(&self.shared, &write.shared) {
            return Err((self, write));
        }
        let Self { shared, timeouts } = self;
        drop(shared);
        let WriteHalf { shared, .. } = write;
        match Arc::try_unwrap(shared) {
            Ok(shared) => Ok(PooledStream { shared, timeouts }),
            // Unreachable: a stream has only two halves.
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

/// The state that both halves of a stream share. The mutex is held only for calls that do not block;
/// waiting happens outside of it.
struct Shared {
    id: ConnId,
    /// The socket of the stream, for waiting and borrowing.
    socket: Arc<SharedSocket<TcpSocket<Threads>>>,
    stream: Mutex<LeasedConnection<Threads>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LeasedConnection<Threads>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Repeats `act` whenever the socket is ready for it.
    fn wait<T>(
        &self,
        timeout: &mut Timeout,
        interest: Interest,
        mut act: impl FnMut(&mut LeasedConnection<Threads>, &mut Interest) -> io::Result<T>,
    ) -> io::Result<T> {
        timeout.wait(&self.socket, interest, |interest| act(&mut self.lock(), interest))
    }

    fn read(&self, timeouts: Timeouts, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(&mut Timeout::new(timeouts.read), Interest::READ, |stream, interest| {
            let read = stream.read(TcpSocket::now, buffer);
            if blocks(&read) {
                // The peer may be waiting for data that a timed-out write has left to send.
                interest.write = blocks(&stream.flush(TcpSocket::now));
            }
            read
        })
    }

    fn write(&self, timeouts: Timeouts, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut timeout = Timeout::new(timeouts.write);
        let taken = self.wait(&mut timeout, Interest::WRITE, |stream, _| {
            // Data that an earlier call has left goes first.
            stream.flush(TcpSocket::now)?;
            stream.write(TcpSocket::now, data)
        })?;
        match self.flush(&mut timeout) {
            // The data was accepted; the next call goes on sending it.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(taken),
            flushed => flushed.map(|()| taken),
        }
    }

    fn flush(&self, timeout: &mut Timeout) -> io::Result<()> {
        self.wait(timeout, Interest::WRITE, |stream, _| stream.flush(TcpSocket::now))
    }

    fn shutdown(&self, timeouts: Timeouts) -> io::Result<()> {
        let mut timeout = Timeout::new(timeouts.write);
        self.wait(&mut timeout, Interest::WRITE, |stream, _| stream.shutdown(TcpSocket::now))
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
