//! Choices of the machine that a specification leaves open.

use std::collections::VecDeque;

use pool_proto::{
    Acquired, Action, CloseReason, Collected, ConnId, Lease, Stock, Token, WaitOutcome, WaitReason,
    WaiterId,
};

use crate::call::{Answer, Did};

/// The choices that the machine made in a call.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    pub dialled: VecDeque<Token>,
    pub queued: Option<WaiterId>,
    pub accepted: Option<Token>,
    pub admitted: Option<ConnId>,
    pub leased: Option<(Token, ConnId)>,
    pub evicted: Vec<Token>,
    /// Whether the machine says that it waits before it dials again.
    pub holds_back: bool,
}

impl Choices {
    pub fn of(answer: &Answer, actions: &[Did]) -> Self {
        let mut choices = Self::default();
        match answer {
            Answer::Acquired(Acquired::Ready(Lease { token, id, .. }))
            | Answer::Collected(Collected::Ready(Lease { token, id, .. })) => {
                choices.leased = Some((*token, *id));
            }
            Answer::Acquired(Acquired::Queued(waiter)) | Answer::Stock(Stock::Queued(waiter)) => {
                choices.queued = Some(*waiter);
            }
            Answer::Accepted(Ok(token)) => choices.accepted = Some(*token),
            Answer::Admitted(Ok(id)) => choices.admitted = Some(*id),
            Answer::Reason(Some(WaitReason::BackingOff { .. } | WaitReason::Full { .. }))
            | Answer::Outcome(WaitOutcome::Waiting(
                WaitReason::BackingOff { .. } | WaitReason::Full { .. },
            )) => {
                choices.holds_back = true;
            }
            _ => {}
        }
        for action in actions {
            match action {
                Action::Dial { token } => choices.dialled.push_back(*token),
                Action::Close {
                    token,
                    reason:
                        CloseReason::Evicted
                        | CloseReason::HandshakeEvicted
                        | CloseReason::Surplus
                        | CloseReason::Unclaimed,
                    ..
                }
                | Action::Abort { token, reason: CloseReason::HandshakeEvicted } => {
                    choices.evicted.push(*token);
                }
                _ => {}
            }
        }
        choices
    }
}
