//! The states of a connection and the table of transitions between them.

/// The states of a connection.
///
/// Closed is not among them: the machine forgets a connection when it ends. [`EDGES`] lists the
/// transitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum State {
    /// The driver connects the transport.
    Dialing,
    /// Server: the peer has connected, and nothing has come from it.
    Accepted,
    /// The driver does TLS, and at a client the id exchange.
    Handshaking,
    /// Server: the peer has proven its identity and has a place in the stock; its id is on the way to
    /// it.
    Admitted,
    /// Ready, in the pool.
    Idle,
    /// Ready, in the pool, and the peer's to acquire: only an acquire by its id may take it here. See
    /// [`Acquirer`](crate::Acquirer).
    Reserved,
    /// In the pool, but the peer has begun to use it: only an acquire by its id may take it.
    Claimed,
    /// Kept after the peer has closed it or it has failed, as the peer may have used it before: only an
    /// acquire by its id may take it, for the data that came first, and for its end. Counts against no
    /// limit, and is closed after the claim timeout.
    Finished,
    /// Assigned to a waiter that has not collected it. After 10 seconds it is taken back.
    Granted,
    /// In use, for as long as its holder likes: the only state without an end of its own. The holder
    /// puts it back or closes it; the pool ends it by a flush, a close, or the deadline of a graceful
    /// shutdown.
    Leased,
    /// Returning: put back, waiting for the reuse delay.
    Resting,
    /// Returning: with the driver, to be drained or inspected.
    Checking,
}

impl State {
    /// All states, in the order of a connection's life.
    pub const ALL: &'static [Self] = &Self::EACH;

    /// [`ALL`](Self::ALL) as an array, whose length is the number of states.
    pub(crate) const EACH: [Self; 12] = [
        Self::Dialing,
        Self::Accepted,
        Self::Handshaking,
        Self::Admitted,
        Self::Idle,
        Self::Reserved,
        Self::Claimed,
        Self::Finished,
        Self::Granted,
        Self::Leased,
        Self::Resting,
        Self::Checking,
    ];
}

/// A transition from one state to another. `None` stands for *outside the machine*: before the dial
/// or the admission, and after the end.
pub type Edge = (Option<State>, Option<State>);

/// Every transition that a connection may make.
///
/// A machine asserts each step against this table in builds with debug assertions, and a test
/// compares the [diagram](crate#states) with it. A call may take several steps; between two calls
/// only their first and last states can be seen.
///
/// Only clients have the edges of [`State::Dialing`], and only servers those of [`State::Accepted`] and
/// [`State::Admitted`]; a server's connection leaves [`State::Handshaking`] for these or for its end.
pub const EDGES: &[Edge] = {
    use State::{
        Accepted, Admitted, Checking, Claimed, Dialing, Finished, Granted, Handshaking, Idle,
        Leased, Reserved, Resting,
    };
    &[
        (None, Some(Dialing)),
        (None, Some(Accepted)),
        (Some(Accepted), Some(Handshaking)),
        // Without TLS there is nothing to prove.
        (Some(Accepted), Some(Admitted)),
        (Some(Accepted), None),
        (Some(Handshaking), Some(Admitted)),
        (Some(Admitted), Some(Idle)),
        (Some(Admitted), Some(Reserved)),
        // The control connection.
        (Some(Admitted), Some(Claimed)),
        (Some(Admitted), Some(Granted)),
        // Data came before the id was reported as sent.
        (Some(Admitted), Some(Checking)),
        (Some(Admitted), None),
        (Some(Dialing), Some(Handshaking)),
        (Some(Dialing), None),
        (Some(Handshaking), Some(Idle)),
        (Some(Handshaking), Some(Reserved)),
        // The control connection.
        (Some(Handshaking), Some(Claimed)),
        (Some(Handshaking), Some(Granted)),
        // Data came before the handshake was reported.
        (Some(Handshaking), Some(Checking)),
        (Some(Handshaking), None),
        (Some(Idle), Some(Granted)),
        (Some(Idle), Some(Leased)),
        (Some(Idle), Some(Checking)),
        (Some(Idle), None),
        (Some(Reserved), Some(Leased)),
        (Some(Reserved), Some(Checking)),
        (Some(Reserved), None),
        (Some(Claimed), Some(Leased)),
        // A waiter is back in the queue, because another connection that was granted to it has ended.
        (Some(Claimed), Some(Granted)),
        // More data, or the peer's end.
        (Some(Claimed), Some(Checking)),
        (Some(Claimed), None),
        (Some(Finished), Some(Leased)),
        (Some(Finished), Some(Granted)),
        (Some(Finished), None),
        (Some(Granted), Some(Leased)),
        // Its waiter was cancelled, or has not come: to the next waiter, or back into the pool.
        (Some(Granted), Some(Granted)),
        (Some(Granted), Some(Idle)),
        (Some(Granted), Some(Reserved)),
        (Some(Granted), Some(Claimed)),
        (Some(Granted), Some(Finished)),
        (Some(Granted), Some(Checking)),
        (Some(Granted), None),
        (Some(Leased), Some(Resting)),
        (Some(Leased), Some(Checking)),
        // Put back by a driver that has drained it.
        (Some(Leased), Some(Idle)),
        (Some(Leased), Some(Reserved)),
        (Some(Leased), Some(Claimed)),
        // Rejected: it was finished.
        (Some(Leased), Some(Finished)),
        (Some(Leased), Some(Granted)),
        (Some(Leased), None),
        (Some(Resting), Some(Checking)),
        (Some(Resting), None),
        (Some(Checking), Some(Idle)),
        (Some(Checking), Some(Reserved)),
        (Some(Checking), Some(Claimed)),
        (Some(Checking), Some(Finished)),
        (Some(Checking), Some(Granted)),
        // Data came while it was being drained.
        (Some(Checking), Some(Checking)),
        (Some(Checking), None),
    ]
};

/// Asserts that a step is in the table.
#[inline]
pub(crate) fn assert_edge(from: Option<State>, to: Option<State>) {
    #[cfg(test)]
    tests::walk::record((from, to));
    debug_assert!(EDGES.contains(&(from, to)), "no connection goes from {from:?} to {to:?}");
}

#[cfg(test)]
mod tests;
