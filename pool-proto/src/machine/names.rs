//! The names of ids on a tape: where in the machine an id is found, instead of the id itself.

use super::Machine;
use crate::config::{assigned, is_servers};
use crate::id::{ConnId, Hint};
use crate::role::Role;
use crate::tape::IdName;
use crate::waiters::Request;

impl<C, R: Role> Machine<C, R> {
    /// The name of an id at this moment.
    ///
    /// A machine compares ids, and reads the hint in one that is new to it. Apart from that, the place of
    /// an id in the machine says as much as the id itself: any id without such a place is new. (The
    /// exception is a waiter whose grant has lapsed: it is not in a queue. A replay differs if more than
    /// 256 connections end before it asks again, and then a peer gives another connection the same id.)
    pub(crate) fn name_of(&self, id: ConnId) -> IdName {
        if id == ConnId::ZERO {
            return IdName::Zero;
        }
        if let Some(token) = self.ids.find(id).and_then(|index| self.slots.token(index)) {
            return IdName::Live(token);
        }
        if let Some(waiter) = self.waiters.named_by(id) {
            return IdName::Awaited(waiter);
        }
        let ended =
            (0..=u8::MAX).zip(self.ids.ended.iter().rev()).find(|(_, (ended, _))| *ended == id);
        match ended {
            Some((since, _)) => IdName::Ended(since),
            None if is_servers(id) => IdName::NewOfServer(Hint::of(id)),
            None => IdName::NewOfClient(Hint::of(id)),
        }
    }

    /// The id with this name at this moment; `None` if nothing in the machine has it. A new id is made
    /// from `fresh`, which counts the ids made so far.
    pub(crate) fn id_named(&self, name: IdName, fresh: &mut u32) -> Option<ConnId> {
        match name {
            IdName::Zero => Some(ConnId::ZERO),
            IdName::Live(token) => self.slots.get(self.slots.slab.resolve(token.0)?)?.id,
            IdName::Awaited(waiter) => match self.waiters.get(waiter)?.request {
                Request::Id(id) => Some(id),
                Request::Any | Request::Claimed | Request::Stock(_) => None,
            },
            IdName::Ended(since) => {
                self.ids.ended.iter().rev().nth(usize::from(since)).map(|(id, _)| *id)
            }
            IdName::NewOfServer(hint) | IdName::NewOfClient(hint) => {
                // Ends soon: a machine knows few of the 2³¹ ids of an end.
                loop {
                    *fresh = fresh.wrapping_add(1);
                    let id = ConnId::from_bytes(fresh.to_be_bytes());
                    let id = assigned(id, matches!(name, IdName::NewOfServer(_)));
                    let id = hint.mark(id);
                    if self.name_of(id) == name {
                        return Some(id);
                    }
                }
            }
        }
    }
}
