//! The outcomes of a client's attempts, and what they mean for the next dials.

use super::{Client, Dialing, RECOVERY, SECOND_WINDOW};
use crate::state::State;
use crate::time::Instant;

impl<C> Client<C> {
    /// An attempt that was begun in this epoch has succeeded.
    pub(super) fn succeeded(&mut self, epoch: u32, now: Instant) {
        let (established, awaited) = (self.established(), self.is_awaited());
        let role = &mut self.role;
        role.created = role.created.saturating_add(1);
        role.window = role.window.saturating_add(2).max(SECOND_WINDOW);
        let recent = epoch == role.epoch;
        if recent || !role.relapsed {
            role.relapsed = false;
            if role.recovered(now) {
                role.retry_at = None;
            }
        }
        // Connections that callers wait for are in use at once, and leave their places at the peer: they
        // never raise the supply, and yet there may be more room.
        if awaited || role.ceiling.is_some_and(|ceiling| established > ceiling) {
            self.found_room(recent, now);
        }
    }

    /// The peer has let a connection in beyond the ceiling, or one that a caller at either end has waited
    /// for.
    pub(super) fn found_room(&mut self, recent: bool, now: Instant) {
        let established = self.established();
        let role = &mut self.role;
        let Some(ceiling) = role.ceiling else { return };
        role.ceiling = Some(ceiling.max(established));
        // An attempt that was begun before the last rejection does not tell whether there is room now.
        if recent {
            // Until it is final, a success may be revoked with all that it has forgiven.
            let revocable = now.since(role.raised_at) <= RECOVERY;
            let forgiven = if revocable { role.probes.forgiven } else { 0 };
            role.raised_at = now;
            role.probes.success();
            role.probes.forgiven = role.probes.forgiven.max(forgiven);
            role.retry_at = None;
            role.allowance = role.allowance.saturating_add(1);
            if role.allowance >= role.max_dials || established >= role.tuner.max_capacity() {
                // The ceiling does not limit anything any more.
                role.ceiling = None;
                role.allowance = 1;
            }
        }
    }

    /// An attempt that was begun in this epoch has failed: the peer is down. With `early`, it had
    /// counted as a success.
    pub(super) fn failed(&mut self, epoch: u32, early: bool, now: Instant) {
        let cap = self.longest_wait();
        let role = &mut self.role;
        let revokes =
            early && role.backoff.forgiven > 0 && now.since(role.recovered_at) <= RECOVERY;
        if epoch != role.epoch && !revokes {
            return;
        }
        role.tuner.failed(now);
        // A peer that comes back may have more room than before, or less.
        (role.ceiling, role.allowance) = (None, 1);
        role.window = 1;
        role.epoch = role.epoch.wrapping_add(1);
        role.relapsed |= early;
        let wait = match revokes {
            true => role.backoff.relapse_within(cap),
            false => role.backoff.failure_within(cap),
        };
        role.wait(wait, now);
    }

    /// The peer has turned away an attempt that was begun in this epoch; with `early`, after it had
    /// counted as a success. `index` is the connection, which is about to end.
    pub(super) fn turned_away(&mut self, index: u32, epoch: u32, early: bool, now: Instant) {
        let others = self.held().saturating_sub(self.in_flight()).saturating_sub(early.into());
        if others == 0 {
            return self.failed(epoch, early, now);
        }
        let counted = early && !matches!(self.state(index), Some(State::Leased | State::Claimed));
        // Attempts under way may have their places already. Each that is turned away lowers it further.
        let supply = self.supply().saturating_sub(u32::from(counted || !early));
        let cap = self.longest_wait();
        let role = &mut self.role;
        let lowered = role.ceiling.is_none_or(|ceiling| supply < ceiling);
        let revokes = early && role.probes.forgiven > 0 && now.since(role.raised_at) <= RECOVERY;
        let recent = epoch == role.epoch;
        if recent || lowered {
            role.ceiling = Some(supply);
        }
        if !recent && !revokes {
            return;
        }
        role.epoch = role.epoch.wrapping_add(1);
        role.relapsed |= early;
        role.allowance = 1;
        // The peer is up, after all.
        role.recovered(now);
        let wait = if revokes {
            role.probes.relapse_within(cap)
        } else {
            // It has less room than before, perhaps for a moment only; or the attempt was counted when
            // it began.
            let counted = role.probes.failures.saturating_sub(1);
            role.probes.failures = if lowered { 0 } else { counted };
            role.probes.failure_within(cap)
        };
        role.wait(wait, now);
    }
}

impl Dialing {
    /// The peer is up. Returns whether it was down: then a failure may revoke this for a while.
    fn recovered(&mut self, now: Instant) -> bool {
        let was_down = self.is_down();
        if was_down {
            self.recovered_at = now;
            self.backoff.success();
        }
        was_down
    }

    /// A connection that counted as turned away was acquired here by its id. So the peer's user had
    /// acquired and closed it: the peer has the room that was doubted. The failures were none, and
    /// nothing brings them back.
    pub(super) fn not_turned_away(&mut self) {
        self.ceiling = self.ceiling.map(|ceiling| ceiling.saturating_add(1));
        self.retry_at = None;
        (self.probes.failures, self.backoff.failures) = (0, 0);
    }
}
