//! How two ends that both acquire share their stock.

/// The number of acquires that decide, at the least. Twice the stock decides if that is more: then the
/// proportion is that of the last use of the whole stock.
const WINDOW: u32 = 32;

/// Ready connections, or connections that become ready, by the end that may acquire them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Parts {
    pub(crate) ours: u32,
    pub(crate) theirs: u32,
}

impl Parts {
    pub(crate) const fn of(&mut self, ours: bool) -> &mut u32 {
        if ours { &mut self.ours } else { &mut self.theirs }
    }
}

/// The last acquires of two ends, in whose proportion they share their stock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Share {
    acquired: Parts,
    /// Server: the number of connections that this end knows to have gone, not counting those that the
    /// peer has acquired, and that have not been replaced.
    missing: i32,
    /// Server: whether the peer has left a connection unused until it ended, and has acquired none since.
    unused: bool,
    /// Server: whether this end has left a connection of its own unused until that ended, and has acquired
    /// none since.
    idle: bool,
}

impl Share {
    /// Counts an acquire of any connection by one of the ends, which leaves `stock`. Returns whether this end
    /// should give up one of its connections.
    pub(crate) fn acquired(&mut self, ours: bool, stock: Parts) -> bool {
        *self.acquired.of(ours) += 1;
        self.idle &= !ours;
        let yields = !ours && self.acquired.theirs.is_multiple_of(2) && self.has_surplus(stock);
        let Parts { ours, theirs } = &mut self.acquired;
        if *ours + *theirs >= WINDOW.max((stock.ours + stock.theirs).saturating_mul(2)) {
            (*ours, *theirs) = (*ours / 2, *theirs / 2);
        }
        yields
    }

    /// A connection has left the stock, which was of this size at most. If it is one that the peer has
    /// acquired, it is counted by [`acquired_by_peer`](Self::acquired_by_peer), too.
    pub(crate) fn left(&mut self, ours: bool, most: u32) {
        // If it is acquired, that is counted next.
        self.idle |= ours;
        self.missing = self.missing.saturating_add(1).min(i32::try_from(most).unwrap_or(i32::MAX));
    }

    /// The peer has acquired a connection, and has one dialled in its place, perhaps has already. May come
    /// just before the connection [leaves](Self::left) the stock.
    pub(crate) fn acquired_by_peer(&mut self) {
        self.missing = self.missing.saturating_sub(1).max(-1);
        self.unused = false;
    }

    /// A connection that was the peer's for some time has ended, and it had not been used.
    pub(crate) fn left_unused(&mut self) {
        self.unused = true;
    }

    /// Whether the next connection is to be this end's, while `waiting` of its callers wait.
    ///
    /// An end without any goes first; if neither has any, and this end has let one end unused, the peer does.
    /// A connection that does not replace a missing one was dialled because the peer's users have acquired
    /// one, of which this end has not heard yet, or lack one. It is the peer's if the peer has no more,
    /// whatever the proportion of the acquires.
    ///
    /// Where callers of this end wait, those of the peer may wait, too. Then it is the peer's unless the
    /// peer was given as many already: an end that is served less acquires less, and the proportion alone
    /// would give it less. But if the peer leaves some of its own `unused`, it lacks none; if it has left a
    /// connection unused until that ended, the next one is for the callers of this end.
    pub(crate) fn next_is_ours(&mut self, stock: Parts, waiting: u32, unused: bool) -> bool {
        let replaces = self.missing > 0;
        self.missing = self.missing.saturating_sub(replaces.into());
        let given = self.acquired.theirs.saturating_add(stock.theirs);
        match (stock.ours.saturating_sub(waiting), stock.theirs) {
            (0, _) if waiting > 0 && core::mem::take(&mut self.unused) => true,
            (0, 0) if waiting == 0 && core::mem::take(&mut self.idle) => false,
            (0, 0) => self.acquired.ours <= self.acquired.theirs,
            (_, 0) => false,
            (0, _) if waiting > 0 => unused || given > self.acquired.ours,
            (0, _) => true,
            (ours, theirs) if !replaces && theirs <= ours => false,
            _ => self.burden(stock).ours <= self.burden(stock).theirs,
        }
    }

    /// Whether this end holds half as much again as its part, not counting one to keep.
    ///
    /// The margin is that of chance: of 64 acquires by two ends that acquire alike, one end does less
    /// than two fifths in one case of twenty.
    fn has_surplus(&self, stock: Parts) -> bool {
        let rest = Parts { ours: stock.ours.saturating_sub(1), theirs: stock.theirs + 1 };
        rest.ours > 0 && 2 * self.burden(rest).ours > 3 * self.burden(rest).theirs
    }

    /// The stock of each end in proportion to its acquires, times a common factor.
    fn burden(&self, stock: Parts) -> Burden {
        let times = |stock: u32, acquires: u32| u64::from(stock) * (u64::from(acquires) + 1);
        Burden {
            ours: times(stock.ours, self.acquired.theirs),
            theirs: times(stock.theirs, self.acquired.ours),
        }
    }
}

struct Burden {
    ours: u64,
    theirs: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two ends with a stock of `all`: the server makes the ids, and the client dials the missing
    /// connections.
    struct Pair {
        server: Share,
        client: Share,
        servers: u32,
        clients: u32,
        all: u32,
        dials: u32,
    }

    impl Pair {
        fn new(all: u32) -> Self {
            let (server, client) = (Share::default(), Share::default());
            let mut pair = Self { server, client, servers: 0, clients: 0, all, dials: 0 };
            pair.fill();
            pair
        }

        fn fill(&mut self) {
            while self.servers + self.clients < self.all {
                let stock = Parts { ours: self.servers, theirs: self.clients };
                let part = match self.server.next_is_ours(stock, 0, true) {
                    true => &mut self.servers,
                    false => &mut self.clients,
                };
                *part += 1;
                self.dials += 1;
            }
        }

        /// The server or the client acquires a connection, if it has one.
        fn acquire(&mut self, server: bool) -> bool {
            let part = if server { &mut self.servers } else { &mut self.clients };
            if *part == 0 {
                return false;
            }
            *part -= 1;
            if server {
                self.server.left(true, self.all);
            }
            let (servers, clients) = (self.servers, self.clients);
            let stock = Parts { ours: servers, theirs: clients };
            if self.server.acquired(server, stock) {
                self.servers -= 1;
                self.server.left(true, self.all);
            }
            let stock = Parts { ours: clients, theirs: servers };
            if self.client.acquired(!server, stock) {
                self.clients -= 1;
                self.server.left(false, self.all);
            }
            self.fill();
            true
        }
    }

    #[test]
    fn the_stock_is_halved_at_first() {
        for all in [2, 3, 8, 65] {
            let pair = Pair::new(all);
            assert_eq!((pair.servers, pair.clients), (all / 2, all.div_ceil(2)));
        }
    }

    #[test]
    fn the_only_end_that_acquires_has_nearly_all_of_it_soon() {
        for (all, server) in [(2, true), (2, false), (8, true), (64, true), (64, false)] {
            let mut pair = Pair::new(all);
            for _ in 0..2 * all.max(WINDOW) {
                assert!(pair.acquire(server));
            }
            let (ours, theirs) = match server {
                true => (pair.servers, pair.clients),
                false => (pair.clients, pair.servers),
            };
            assert!(theirs >= 1, "the other end keeps one");
            assert!(theirs <= 1 + all / 32, "{ours} and {theirs} of {all}");
        }
    }

    #[test]
    fn an_end_that_begins_to_acquire_gets_its_part_back() {
        let mut pair = Pair::new(64);
        for _ in 0..500 {
            pair.acquire(true);
        }
        for _ in 0..500 {
            assert!(pair.acquire(false));
        }
        assert!(pair.clients >= 60, "{} and {}", pair.servers, pair.clients);
    }

    #[test]
    fn a_connection_that_the_peer_left_unused_makes_room_for_a_waiter() {
        let mut share = Share::default();
        for _ in 0..8 {
            share.acquired(true, Parts::default());
        }
        assert!(!share.next_is_ours(Parts::default(), 1, false));
        share.left_unused();
        assert!(share.next_is_ours(Parts::default(), 1, false));
        // Only one connection for each unused one: the peer may begin to acquire.
        assert!(!share.next_is_ours(Parts::default(), 1, false));
        share.left_unused();
        share.acquired_by_peer();
        assert!(!share.next_is_ours(Parts::default(), 1, false));
    }

    #[test]
    fn of_ends_without_any_the_one_that_let_one_end_unused_comes_second() {
        let none = Parts::default();
        let mut share = Share::default();
        assert!(share.next_is_ours(none, 0, false));
        share.left(true, 1);
        assert!(!share.next_is_ours(none, 0, false), "it ended unused");
        assert!(share.next_is_ours(none, 0, false), "in turn");
        share.left(true, 1);
        share.acquired(true, none);
        share.acquired(false, none);
        assert!(share.next_is_ours(none, 0, false), "it was acquired");
        share.left(true, 1);
        assert!(share.next_is_ours(none, 1, false), "a caller waits here");
    }

    #[test]
    fn ends_that_acquire_alike_give_up_few() {
        let mut pair = Pair::new(64);
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let server = random.bool();
            pair.acquire(server);
        }
        // Each acquire takes one dial.
        let given_up = pair.dials - 10_000 - 64;
        assert!(given_up < 200, "{given_up} of 10,000");
    }
}
