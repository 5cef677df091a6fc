//! The part of the driver's state that its future depends on.

use std::hash::{Hash, Hasher};

use pool_proto::{CanonicalNames, ConnId, Token};

use super::super::names::made;
use super::super::state_key::{Naming, hash_set};
use super::{Driver, Place};
use crate::ledger::Want;

impl Driver {
    pub fn latest_ended_id(&self) -> Option<ConnId> {
        self.ledger.ended_ids().last().copied()
    }

    pub fn leases(&self) -> &[(Token, u32)] {
        &self.leases
    }

    /// Whether `held` has an entry number `n` that is unlike every entry before it. Entries of ended
    /// connections are alike.
    pub fn is_first_alike(&self, held: &[(Token, u32)], n: u8) -> bool {
        let lives = |(token, _): &(Token, u32)| self.ledger.life(*token).is_some();
        let n = usize::from(n);
        held.get(n).is_some_and(|nth| lives(nth) || held[..n].iter().all(lives))
    }

    /// Whether nobody holds anything of the connection that ended last.
    pub fn let_go(&self, held: &[(Token, u32)]) -> bool {
        self.ledger.ended().last().is_some_and(|ended| held.iter().all(|(token, _)| token != ended))
    }

    /// All but names; the connections in no order, since a script may choose any.
    pub fn hash_state(&self, naming: &Naming, hasher: &mut impl Hasher) {
        let distance =
            |at: pool_proto::Instant| at.as_nanos().wrapping_sub(self.ledger.seen().as_nanos());
        distance(self.now).hash(hasher);
        let lives = self.ledger.lives().into_iter().map(|life| {
            // A check is lost after a time; the lifetime is that of the naive pool.
            let since = (life.place == Place::Checking).then(|| distance(life.since));
            let id = life.id.map(|id| naming.id(id));
            let name = naming.connection(life.token);
            (name, life.place as u8, since, id, life.inside().is_some(), life.source)
        });
        hash_set(lives, hasher);
        for held in [&self.leases, &self.checks] {
            hash_set(held.iter().map(|(token, _)| naming.connection(*token)), hasher);
        }
        let waiters = self.ledger.waiters().iter().map(|(waiter, want)| {
            let want = match *want {
                Want::Any => (0, None, 0),
                Want::Id(id) => (1, naming.id(id), 0),
                Want::Stock(ready) => (2, None, ready),
                Want::Claimed => (3, None, 0),
            };
            (naming.waiter(*waiter), want)
        });
        hash_set(waiters, hasher);
        (self.ledger.ended().is_empty(), self.ledger.past_waiters().is_empty()).hash(hasher);
        // Ids that a step can name, at either end.
        naming.id(made(0)).hash(hasher);
        self.latest_ended_id().map(|id| naming.id(id)).hash(hasher);
    }
}
