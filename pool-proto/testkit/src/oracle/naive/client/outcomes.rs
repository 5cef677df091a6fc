//! The outcomes of dials, and their effects on the next ones.

use pool_proto::State::*;
use pool_proto::{CloseReason, HandshakeFailure, Instant, Token};

use super::{Connection, Naive, RECOVERY, Retry, SETTLING};

impl Naive {
    /// A connection was established.
    pub fn succeeded(&mut self, token: Token) {
        let (now, epoch) = (self.now, self.get(token).epoch);
        // This one is still counted as a handshake.
        let held = self.in_stock() + 1;
        let awaited = self.is_awaited();
        let Some(dialer) = self.dialer_mut() else { return };
        dialer.created += 1;
        dialer.window = dialer.window.saturating_add(2).max(16);
        let latest = epoch == dialer.epoch;
        // An attempt begun before the last success was disproved may be the same false success.
        if latest || !dialer.relapsed {
            dialer.relapsed = false;
            if dialer.failures > 0 {
                (dialer.recovered_at, dialer.forgiven) = (now, dialer.failures);
                (dialer.failures, dialer.retry) = (0, None);
            }
        }
        if awaited || dialer.ceiling.is_some_and(|ceiling| held > ceiling) {
            self.found_room(epoch, held);
        }
    }

    /// The server has let one more connection in, or one that was in use there at once.
    pub fn found_room(&mut self, epoch: u32, held: u32) {
        let (now, max_dials, most) = (self.now, self.setup.max_dials, self.setup.capacity.1);
        let Some(dialer) = self.dialer_mut() else { return };
        let latest = epoch == dialer.epoch;
        let Some(ceiling) = dialer.ceiling else { return };
        dialer.ceiling = Some(ceiling.max(held));
        if !latest {
            return;
        }
        // There is more room than was known. A connection from before the last rejection does not
        // show that.
        if dialer.rejections > 0 {
            let again = now.since(dialer.raised_at) <= RECOVERY;
            let before = if again { dialer.forgiven_rejections } else { 0 };
            dialer.forgiven_rejections = before.max(std::mem::take(&mut dialer.rejections));
        }
        (dialer.raised_at, dialer.retry) = (now, None);
        dialer.taken_since += 1;
        if dialer.taken_since + 1 >= max_dials || held >= most {
            (dialer.ceiling, dialer.taken_since) = (None, 0);
        }
    }

    /// A connection that the server seemed to have turned away was in use there: it has room for one
    /// more.
    pub fn doubt_refuted(&mut self) {
        let Some(dialer) = self.dialer_mut() else { return };
        dialer.ceiling = dialer.ceiling.map(|ceiling| ceiling + 1);
        dialer.retry = None;
        (dialer.rejections, dialer.failures) = (0, 0);
    }

    /// Applies the end of a connection, which is not counted any more, to the next dials.
    pub fn consequences(&mut self, connection: &Connection, reason: CloseReason) {
        let now = self.now;
        // A server that has just accepted a connection may close an older one for it.
        let raised_at = self.dialer().map_or(Instant::EPOCH, |dialer| dialer.raised_at);
        let settled = |at| now.since(at) >= SETTLING && now.since(raised_at) >= SETTLING;
        let young = connection.established.is_none_or(|at| !settled(at));
        let unused = !connection.used && connection.claimed.is_none() && !connection.finished;
        let early = reason == CloseReason::PeerClosed && young && unused;
        if early && self.dials() && self.find(connection.token).is_some() {
            self.get(connection.token).doubted = true;
        }
        let rejected = match reason {
            CloseReason::PeerClosed if early => true,
            CloseReason::HandshakeFailed => connection.failure != Some(HandshakeFailure::Tls),
            CloseReason::DialFailed
            | CloseReason::DialTimeout
            | CloseReason::HandshakeTimeout
            | CloseReason::DuplicateId
            | CloseReason::MissingId => false,
            _ => return,
        };
        // A server that holds others is full; one that holds none might as well be down.
        let others = self.connections.iter().any(|c| c.state == Leased || c.state == Claimed)
            || self.in_stock() > 0;
        let full = rejected && others;
        let (held, urgent, setup) = (self.stock(), self.is_urgent(), self.setup);
        let Some(dialer) = self.dialer_mut() else { return };
        let latest = connection.epoch == dialer.epoch;
        let fewer = full && dialer.ceiling.is_none_or(|ceiling| held < ceiling);
        if full && (latest || fewer) {
            dialer.ceiling = Some(held);
        }
        let (forgiven, since) = match full {
            true => (dialer.forgiven_rejections, dialer.raised_at),
            false => (dialer.forgiven, dialer.recovered_at),
        };
        let disproves = early && forgiven > 0 && now.since(since) <= RECOVERY;
        // Attempts begun before a failure fail for the same reason, and are not counted again, unless
        // they had counted as a success.
        if !latest && !disproves {
            return;
        }
        dialer.epoch += 1;
        dialer.relapsed |= early;
        let times = if full {
            if dialer.failures > 0 {
                // It is there again.
                (dialer.recovered_at, dialer.forgiven) = (now, dialer.failures);
                dialer.failures = 0;
            }
            dialer.taken_since = 0;
            if disproves {
                dialer.rejections = dialer.rejections.max(dialer.forgiven_rejections);
                dialer.forgiven_rejections = 0;
            } else {
                // This one was counted when it was dialled.
                dialer.rejections = if fewer { 0 } else { dialer.rejections.saturating_sub(1) };
            }
            &mut dialer.rejections
        } else {
            dialer.tuner.failed(now);
            (dialer.ceiling, dialer.taken_since, dialer.window) = (None, 0, 1);
            if disproves {
                dialer.failures = dialer.failures.max(std::mem::take(&mut dialer.forgiven));
            }
            &mut dialer.failures
        };
        let wait = setup.wait(*times, urgent);
        *times += 1;
        dialer.retry = Some(Retry::drawn(now, wait));
    }
}
