//! The system calls of a socket, and how a poll makes them.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use pool_driver::{Direction, poll_until_done};

use crate::engine::{Side, Sim, State};
use crate::network::{Event, Segment, SocketId, errno, error};
use crate::reactor::Source;

impl State {
    pub(crate) fn recv(&mut self, id: SocketId, buffer: &mut [u8]) -> io::Result<usize> {
        self.call();
        let interrupted = self.options.mishaps;
        if self.mishap(interrupted / 4) {
            return Err(error(errno::EINTR));
        }
        let was_full = self.room(id) == 0;
        let Some(socket) = self.net.socket(id) else { return Err(error(errno::ENOTCONN)) };
        let count = buffer.len().min(socket.unread.len());
        if count > 0 || buffer.is_empty() {
            for (place, byte) in buffer.iter_mut().zip(socket.unread.drain(..count)) {
                *place = byte;
            }
            let peer = socket.peer;
            if was_full {
                let time = self.now() + self.trip();
                self.at(time, Event::Room(peer));
            }
            return Ok(count);
        }
        if let Some(code) = socket.error.take() {
            return Err(error(code));
        }
        if socket.is_at_end() { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    pub(crate) fn peek(&mut self, id: SocketId) -> io::Result<()> {
        self.call();
        let Some(socket) = self.net.socket(id) else { return Err(error(errno::ENOTCONN)) };
        if !socket.unread.is_empty() {
            return Ok(());
        }
        if let Some(code) = socket.error.take() {
            return Err(error(code));
        }
        if socket.is_at_end() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// The room for data that comes to a socket.
    fn room(&self, id: SocketId) -> usize {
        let used = self.net.sockets.get(id).map_or(0, |to| to.unread.len() + to.in_flight);
        self.options.window.saturating_sub(used)
    }

    pub(crate) fn transmit(&mut self, id: SocketId, data: &[u8]) -> io::Result<usize> {
        self.call();
        let interrupted = self.options.mishaps;
        if self.mishap(interrupted / 4) {
            return Err(error(errno::EINTR));
        }
        let Some(socket) = self.net.socket(id) else { return Err(error(errno::ENOTCONN)) };
        if let Some(code) = socket.error.take() {
            return Err(error(code));
        }
        if socket.dead || socket.fin_sent {
            return Err(error(errno::EPIPE));
        }
        if data.is_empty() {
            return Ok(0);
        }
        let (peer, full) = (socket.peer, socket.full);
        let room = self.room(peer);
        if full || room == 0 {
            if let Some(socket) = self.net.socket(id) {
                socket.full = true;
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut count = room.min(data.len());
        let mishaps = self.options.mishaps;
        let mut is_full = count < data.len();
        if self.mishap(mishaps) {
            // The system is short of memory: it takes a part, or nothing, and says later when to go on.
            count = self.rng.usize(..=count);
            is_full = true;
            let time = self.now() + self.trip();
            self.at(time, Event::Room(id));
        }
        if let Some(socket) = self.net.socket(id) {
            socket.full = is_full;
        }
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(other) = self.net.socket(peer) {
            other.in_flight += count;
        }
        let sent = data.get(..count).unwrap_or_default().to_vec();
        self.send(peer, Segment::Data(sent));
        Ok(count)
    }

    pub(crate) fn shut(&mut self, id: SocketId, read: bool) -> io::Result<()> {
        self.call();
        let Some(socket) = self.net.socket(id) else { return Err(error(errno::ENOTCONN)) };
        if socket.dead {
            return Err(error(errno::ENOTCONN));
        }
        socket.read_shut |= read;
        let (peer, fin_sent) = (socket.peer, socket.fin_sent);
        socket.fin_sent = true;
        if !fin_sent {
            self.send(peer, Segment::Fin);
        }
        if read {
            self.report_both(id);
        }
        Ok(())
    }

    /// Accepts a connection that has arrived.
    pub(crate) fn accept(&mut self, address: SocketAddr) -> io::Result<(SocketId, SocketAddr)> {
        self.call();
        let mishaps = self.options.mishaps;
        if self.mishap(mishaps) {
            let code = [errno::ECONNABORTED, errno::ENOBUFS, errno::EMFILE][self.rng.usize(..3)];
            return Err(error(code));
        }
        let Some(listener) = self.net.listeners.get_mut(&address) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let Some(id) = listener.backlog.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if !self.net.has_descriptor(Side::Server) {
            if let Some(listener) = self.net.listeners.get_mut(&address) {
                listener.backlog.push_front(id);
            }
            self.starves();
            return Err(error(errno::EMFILE));
        }
        let (inherited, now) = (self.net.inherited, self.now());
        let socket = self.net.socket(id).ok_or_else(|| error(errno::ENOTCONN))?;
        socket.accepted = true;
        socket.free_since = now;
        let peer_addr = socket.peer_addr;
        self.keep_alive(id, inherited);
        self.accepted();
        Ok((id, peer_addr))
    }

    pub(crate) fn poll_call<T>(
        sim: &Sim,
        source: Source,
        cx: &mut Context<'_>,
        direction: Direction,
        mut act: impl FnMut() -> io::Result<T>,
        is_short: impl Fn(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        let (edges, is_over) = sim.with(|state| (state.options.edges, state.violation().is_some()));
        if is_over {
            // A task that goes round and round is stopped here.
            return Poll::Pending;
        }
        if !edges {
            return poll_until_done(act, || {
                sim.with(|state| state.poll_ready(source, direction, cx)).map(Ok)
            });
        }
        loop {
            ready!(sim.with(|state| state.poll_ready(source, direction, cx)));
            match act() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    sim.with(|state| state.clear_ready(source, direction));
                }
                Ok(result) if is_short(&result) => {
                    sim.with(|state| state.clear_ready(source, direction));
                    return Poll::Ready(Ok(result));
                }
                result => return Poll::Ready(result),
            }
        }
    }
}
