//! The reactor: its reports, their times and receivers.
//!
//! It keeps the last waker of each source and direction. A report comes some time after the fact.
//! Reactors have different memories: an edge-triggered one keeps readiness until a call would have
//! waited; one with registrations reports once for each.

use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use pool_driver::Direction;

use crate::engine::State;
use crate::network::{Socket, SocketId};

/// A source that the reactor watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stream(SocketId),
    Listener(SocketAddr),
}

/// A direction of a source.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    /// By edges: the source may be ready. By registrations: it was reported since the registration.
    pub(crate) ready: bool,
    pub(crate) waker: Option<Waker>,
}

impl State {
    fn interest(&mut self, source: Source, direction: Direction) -> Option<&mut Interest> {
        match (source, direction) {
            (Source::Stream(id), _) => {
                let socket = self.net.sockets.get_mut(id).filter(|socket| !socket.closed)?;
                Some(match direction {
                    Direction::Read => &mut socket.read,
                    Direction::Write => &mut socket.write,
                })
            }
            (Source::Listener(address), Direction::Read) => {
                Some(&mut self.net.listeners.get_mut(&address)?.read)
            }
            (Source::Listener(_), Direction::Write) => None,
        }
    }

    fn is_ready(&self, source: Source, direction: Direction) -> bool {
        match source {
            Source::Stream(id) => self.net.sockets.get(id).is_some_and(|socket| match direction {
                Direction::Read => socket.is_readable(),
                Direction::Write => socket.is_writable(),
            }),
            Source::Listener(address) => {
                let listener = self.net.listeners.get(&address);
                listener.is_some_and(|listener| !listener.backlog.is_empty())
            }
        }
    }

    /// The reactor looks at a source, and reports its readiness, or, by mistake, a stale one.
    pub(crate) fn look(&mut self, source: Source, direction: Direction) {
        let stale = self.options.mishaps;
        if !self.is_ready(source, direction) && !self.mishap(stale) {
            return;
        }
        let edges = self.options.edges;
        let Some(interest) = self.interest(source, direction) else { return };
        let waker = interest.waker.take();
        interest.ready = edges || waker.is_some();
        self.wake(waker);
    }

    /// Registers a waker, unless the source has been reported.
    pub(crate) fn poll_ready(
        &mut self,
        source: Source,
        direction: Direction,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let edges = self.options.edges;
        let Some(interest) = self.interest(source, direction) else { return Poll::Ready(()) };
        if interest.ready {
            // By edges, a call that would wait clears it.
            interest.ready = edges;
            return Poll::Ready(());
        }
        let former = interest.waker.replace(cx.waker().clone());
        self.discard(former);
        if !edges && self.is_ready(source, direction) {
            self.report(source, direction);
        }
        Poll::Pending
    }

    /// By edges: this call, or the next one, would wait. It clears reported readiness, except for the
    /// end of the peer.
    pub(crate) fn clear_ready(&mut self, source: Source, direction: Direction) {
        let lasts = match (source, direction) {
            (Source::Stream(id), Direction::Read) => {
                self.net.sockets.get(id).is_some_and(Socket::is_at_end)
            }
            _ => false,
        };
        if let Some(interest) = self.interest(source, direction) {
            interest.ready = lasts;
        }
    }
}
