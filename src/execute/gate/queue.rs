//! Calls that wait under one key: one of each principal in turn, and those of one in their order.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::auth::Principal;

/// A call that waits. Dropped, it is told that its turn never comes.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) turn: oneshot::Sender<()>,
}

/// The calls that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Whose turn is next stands first. Each has at least one call.
    principals: VecDeque<(Principal, VecDeque<Ticket>)>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.principals.is_empty()
    }

    /// How many calls of each principal wait.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Principal, usize)> {
        let principals = self.principals.iter();
        principals.map(|(principal, calls)| (principal, calls.len()))
    }

    pub(super) fn push(&mut self, principal: &Principal, ticket: Ticket) {
        let mut principals = self.principals.iter_mut();
        if let Some((_, calls)) = principals.find(|(other, _)| other == principal) {
            calls.push_back(ticket);
        } else {
            let calls = VecDeque::from([ticket]);
            self.principals.push_back((principal.clone(), calls));
        }
    }

    /// The call whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Ticket> {
        let (principal, mut calls) = self.principals.pop_front()?;
        let next = calls.pop_front();
        if !calls.is_empty() {
            self.principals.push_back((principal, calls));
        }
        next
    }

    /// The number of the call of a principal that came last.
    pub(super) fn newest(&self, principal: &Principal) -> Option<u64> {
        let mut principals = self.principals.iter();
        let (_, calls) = principals.find(|(other, _)| other == principal)?;
        calls.back().map(|ticket| ticket.number)
    }

    /// Takes a call out; false if it does not wait here.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        for (_, calls) in &mut self.principals {
            let before = calls.len();
            calls.retain(|ticket| ticket.number != number);
            if calls.len() < before {
                self.principals.retain(|(_, calls)| !calls.is_empty());
                return true;
            }
        }
        false
    }
}
