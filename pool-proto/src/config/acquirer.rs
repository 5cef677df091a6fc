//! Which end acquires any connection.

use crate::id::ConnId;

/// The end whose users [acquire](crate::Machine::acquire) *any* connection. The users of the other end
/// are told the id, and [acquire by it](crate::Machine::acquire_by_id).
///
/// An end learns that its peer has acquired a connection when the first data arrive on it, or when its
/// own user is told the id: one trip through the network later. Until then the connection looks ready.
/// If this end acquired it, or closed it, in that time, two requests would meet in one connection, or
/// one would fail. So each connection has one end that may do so, its *acquirer*. At the other end the
/// connection is [reserved](crate::State::Reserved): only an acquire by its id gets it there.
///
/// | this end | its peer | who acquires any connection |
/// |---|---|---|
/// | `ThisEnd` | `Peer` | this end only |
/// | `Both` | `Both` | both ends, each the connections that are its own |
/// | `Either` | `Either` | whoever likes, without a rule: let one of the ends do it |
///
/// The settings of the two ends must match as in the table; neither end can see the setting of the other.
/// If they do not, both ends may acquire the same connection, as with `Either`, or neither may. A Go end
/// has no such setting, and acquires whatever it likes: set `Peer` where only the Go end acquires any
/// connection, `ThisEnd` where only this end does. If both do, no rule can keep them apart, as the Go end
/// knows none; then an acquire by the id of a connection that this end has acquired itself is refused at
/// once ([`Refusal::AcquiredHere`](crate::Refusal::AcquiredHere)), and the user can try another one.
///
/// # Both
///
/// The id tells the acquirer: an id whose first byte is below 128 (as text: whose first character is a
/// digit below 8) is the server's, any other the client's. Both ends compute this alone, and nothing is
/// added to the wire. The server, which makes the ids, gives each new connection to the end that lacks
/// it: at first to both in turn, and then so that the stock of the two ends is in proportion to their
/// last acquires. An end that holds more than its part gives one connection up for every second one
/// that its peer acquires ([`CloseReason::Yielded`](crate::CloseReason::Yielded)); the client dials
/// another one in its place. So if only one end acquires, nearly all of the stock is soon its own. The other
/// end keeps one connection, or gets one back: an end that owns all of the stock gives one up after a second
/// or two. A server does this for each peer separately; clients at one address without certificates are one
/// peer.
///
/// Callers of a client whose ready connections are all the server's wait for the next ones. These are
/// dialled even beyond the capacity, so leave room in
/// [`max_connections`](crate::ClientConfigBuilder::max_connections) and in the capacity of the server.
///
/// # Who closes a connection
///
/// Only the acquirer ends a ready connection for its age, because there are more than the capacity, or by
/// [`clean`](crate::Machine::clean): set [`idle_timeout`](crate::ClientConfigBuilder::idle_timeout) and
/// [`max_lifetime`](crate::ClientConfigBuilder::max_lifetime) there (for `Both`, at both ends). At the
/// other end, these would meet an acquire that it does not know of yet. So that end keeps the connections
/// that are [put back](crate::Machine::put) beyond its capacity: at most as many as were in use at once, and
/// within `max_connections`, because a connection is then dialled or admitted only in place of another. A
/// server still ends a reserved connection where a limit demands it: to make room for another peer, or for
/// the same one after a reconnect, and where a new configuration lowers the limit.
/// [`flush`](crate::Machine::flush), [`close`](crate::Machine::close) and a
/// [graceful shutdown](crate::Machine::graceful_shutdown) end all ready connections, whichever end may
/// acquire them: stop acquiring at the peer first, if no request may be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Acquirer {
    /// Not said. This end acquires any connection that is ready, and so may its peer. Both end ready connections,
    /// too: one that the peer has acquired a moment ago fails then, with the request on it.
    #[default]
    Either,
    /// This end only.
    ThisEnd,
    /// The peer only. An acquire of any connection is refused here
    /// ([`Refusal::PeerAcquires`](crate::Refusal::PeerAcquires)).
    Peer,
    /// Both ends, each the connections whose ids say so.
    Both,
}

/// Whether an id is the server's: whether the server may acquire its connection without being told.
pub(crate) const fn is_servers(id: ConnId) -> bool {
    let [first, ..] = id.to_bytes();
    first < 128
}

/// The id that names the acquirer, and has all other bits of `id`.
pub(crate) const fn assigned(id: ConnId, servers: bool) -> ConnId {
    let [first, b, c, d] = id.to_bytes();
    let first = if servers { first & 0x7f } else { first | 0x80 };
    ConnId::from_bytes([first, b, c, d])
}
