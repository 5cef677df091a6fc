//! A connection as the pool holds it: a socket, with or without TLS, and what arrived early.

use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use super::limited::Limited;
use super::session::Session;
use super::{Link, Socket};
use crate::shared::{self, ReadinessWaker};
#[cfg(feature = "tls")]
use crate::tls::TlsFacts;
use pool_proto::CheckResult;

/// What the machine's `C` is: a pointer, because it is moved through queues.
pub type Pooled<S> = Box<Connection<S>>;

/// Data kept for the next holder, at the most; what is beyond stays in the kernel, where it holds
/// the peer back. One full TLS record. (Behind that much, the end of a connection is seen only by
/// its holder.)
const EARLY_LIMIT: usize = 16 * 1024;

/// Data thrown away when a connection is put back, at the most: what can have arrived by then on an
/// ordinary path, and little enough to read in a moment. With more, the connection is closed.
const DRAIN_LIMIT: usize = 256 * 1024;

/// A connection that is ready for use.
pub struct Connection<S: Socket> {
    session: Session,
    link: Arc<Link<S>>,
    /// Arrived before there was a holder.
    early: BytesMut,
    watch: Arc<ReadinessWaker<Pooled<S>>>,
    /// Of that watch. Made once, so that a reactor that holds it already knows it again.
    waker: Waker,
    /// Whether a peer that has spoken has taken the connection. Otherwise it may speak first, and
    /// its data does not make a close less of a close.
    peer_claims: bool,
}

impl<S: Socket> Connection<S> {
    pub(super) fn new(
        session: Session,
        link: Arc<Link<S>>,
        early: Bytes,
        watch: Arc<ReadinessWaker<Pooled<S>>>,
        peer_claims: bool,
    ) -> Pooled<S> {
        let waker = Waker::from(Arc::clone(&watch));
        Box::new(Self { session, link, early: early.into(), watch, waker, peer_claims })
    }

    pub(super) const fn link(&self) -> &Arc<Link<S>> {
        &self.link
    }

    #[cfg(feature = "tls")]
    pub(super) fn facts(&self) -> Option<TlsFacts> {
        self.session.facts()
    }

    /// Closes it in good order: TLS says goodbye before TCP does, if the kernel takes it at once.
    pub(super) fn close(mut self) {
        let socket = self.link.socket();
        // A connection that is being closed has nobody left to tell of an error.
        let _ = self.session.shut(&mut socket.now()).and_then(|()| socket.shut_write());
    }

    /// Early data first, then what comes. The watch's turn is over: the reactor gets other wakers.
    pub(super) fn read<'s, T: Read + Write>(
        &'s mut self,
        io: impl FnOnce(&'s S) -> T,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.len());
            self.early.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
            if self.early.is_empty() {
                self.early = BytesMut::new();
            }
            return Ok(count);
        }
        self.watch.disarm();
        self.session.read(&mut io(self.link.socket()), buffer)
    }

    pub(super) fn write<'s, T: Write>(
        &'s mut self,
        io: impl FnOnce(&'s S) -> T,
        data: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.session.write_vectored(&mut io(self.link.socket()), data)
    }

    pub(super) fn flush<'s, T: Write>(&'s mut self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        self.session.flush(&mut io(self.link.socket()))
    }

    pub(super) fn shut<'s, T: Write>(&'s mut self, io: impl FnOnce(&'s S) -> T) -> io::Result<()> {
        let socket = self.link.socket();
        self.session.shut(&mut io(socket))?;
        match socket.shut_write() {
            // The peer was faster.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// Reads all that has arrived, whether the reactor has heard of it or not, until nothing is
    /// left, and leaves the watch with the reactor. `keep` says whether to go on.
    fn read_available(
        &mut self,
        mut keep: impl FnMut(&mut BytesMut, &[u8]) -> bool,
    ) -> ReadOutcome {
        let Self { session, link, early, watch, waker, .. } = self;
        let mut context = Context::from_waker(waker);
        let mut socket = Limited::new(link.socket().now());
        let mut chunk = [0; 4096];
        // Before the look: what wakes it during the look must not be lost.
        watch.arm();
        loop {
            match session.read(&mut socket, &mut chunk) {
                Ok(0) => return ReadOutcome::End,
                Ok(count) if keep(early, chunk.get(..count).unwrap_or_default()) => {}
                Ok(_) => {
                    watch.disarm();
                    return ReadOutcome::Enough;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match link.socket().watch(&mut context) {
                        Poll::Pending => return ReadOutcome::All,
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return ReadOutcome::Failed,
                    }
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return ReadOutcome::End,
                Err(_) => return ReadOutcome::Failed,
            }
        }
    }
}

enum ReadOutcome {
    /// Nothing is left, and the watch is armed.
    All,
    Enough,
    End,
    Failed,
}

impl<S: Socket> shared::Connection for Pooled<S> {
    fn check(&mut self) -> CheckResult {
        match self.link.socket().peek() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if self.watch.is_armed() {
                    return if self.early.is_empty() {
                        CheckResult::Quiet
                    } else {
                        CheckResult::Data
                    };
                }
            }
            // A reset reports itself once: whoever reads next would see an ordinary end.
            Err(_) => return CheckResult::Closed,
            Ok(()) => {}
        }
        if self.early.len() >= EARLY_LIMIT {
            return CheckResult::Data;
        }
        let pulled = self.read_available(|early, data| {
            early.extend_from_slice(data);
            early.len() < EARLY_LIMIT
        });
        match pulled {
            ReadOutcome::Failed => CheckResult::Closed,
            // Where data is no claim, it must not hide the end that follows it.
            ReadOutcome::End if !self.peer_claims => CheckResult::Closed,
            // The peer may have sent its request and closed its half: the data is to be delivered.
            _ if !self.early.is_empty() => CheckResult::Data,
            ReadOutcome::End => CheckResult::Closed,
            ReadOutcome::All | ReadOutcome::Enough => CheckResult::Quiet,
        }
    }

    fn drain(&mut self) -> CheckResult {
        if self.session.is_shut() {
            return CheckResult::Closed;
        }
        // What TLS has not been able to send would go out with the next use.
        match self.session.flush(&mut self.link.socket().now()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return CheckResult::Data,
            Err(_) => return CheckResult::Closed,
        }
        let mut drained = self.early.len();
        self.early = BytesMut::new();
        let pulled = self.read_available(|_, data| {
            drained += data.len();
            drained <= DRAIN_LIMIT
        });
        match pulled {
            ReadOutcome::All => CheckResult::Quiet,
            ReadOutcome::Enough => CheckResult::Data,
            ReadOutcome::End | ReadOutcome::Failed => CheckResult::Closed,
        }
    }
}
