//! The budget for bodies that are being received and are not verified yet.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use super::Refusal;

/// The maximum number of bytes that all unfinished bodies of an endpoint may hold together. Clones
/// share the budget.
///
/// Anyone can send a body, and its signature can be checked only once the body is complete. Without
/// a budget, an unauthenticated sender decides how much memory the process uses.
///
/// A body that needs more than what is free displaces the oldest ones. The body of an event is
/// unfinished for a few round trips only, so the oldest are those of senders that stall.
#[derive(Debug, Clone)]
pub(super) struct BodyBudget {
    limit: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// The unfinished bodies by number, so the first one is the oldest.
    bodies: BTreeMap<u64, Unfinished>,
    next_number: u64,
    /// `true` from the first refusal until half of the budget is free again.
    is_exhausted: bool,
}

#[derive(Debug)]
struct Unfinished {
    bytes: usize,
    /// Wakes the task that reads the body, which then refuses it.
    waker: Waker,
}

impl BodyBudget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, state: Arc::default() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Creates a reservation of zero bytes.
    pub(super) fn reservation(&self) -> Reservation<'_> {
        Reservation { budget: self, number: None }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a [`BodyBudget`], which are released on drop.
pub(super) struct Reservation<'b> {
    budget: &'b BodyBudget,
    /// The body's number, from the first byte on.
    number: Option<u64>,
}

impl Reservation<'_> {
    /// Extends the reservation to this number of bytes. A reservation never shrinks. The waker is
    /// called if another body displaces this one.
    ///
    /// # Errors
    ///
    /// Fails if the bytes exceed the whole budget, or if this body is displaced.
    pub(super) fn extend_to(&mut self, bytes: usize, waker: &Waker) -> Result<(), Refusal> {
        let limit = self.budget.limit;
        let mut state = self.budget.state();
        let number = *self.number.get_or_insert_with(|| state.insert(waker));
        let mut displaced = Vec::new();
        if bytes > limit {
            state.remove(number, limit);
            state.warn_once(limit);
        } else if state.extend(number, bytes, waker) {
            while state.used > limit
                && let Some((_, oldest)) = state.bodies.pop_first()
            {
                state.used -= oldest.bytes;
                displaced.push(oldest.waker);
                state.warn_once(limit);
            }
        }
        let is_accepted = state.bodies.contains_key(&number);
        // A waker may run any code.
        drop(state);
        displaced.into_iter().for_each(Waker::wake);
        if is_accepted { Ok(()) } else { Err(Refusal::BodyBudget { limit }) }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.budget.state().remove(number, self.budget.limit);
        }
    }
}

impl State {
    fn insert(&mut self, waker: &Waker) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.bodies.insert(number, Unfinished { bytes: 0, waker: waker.clone() });
        number
    }

    /// Returns `false` if the body has been displaced.
    fn extend(&mut self, number: u64, bytes: usize, waker: &Waker) -> bool {
        let Some(body) = self.bodies.get_mut(&number) else { return false };
        body.waker.clone_from(waker);
        let more = bytes.saturating_sub(body.bytes);
        body.bytes += more;
        self.used += more;
        true
    }

    fn remove(&mut self, number: u64, limit: usize) {
        if let Some(body) = self.bodies.remove(&number) {
            self.used -= body.bytes;
        }
        if self.is_exhausted && self.used <= limit / 2 {
            self.is_exhausted = false;
            tracing::info!(limit, "half of the budget for unfinished bodies is free again");
        }
    }

    /// Logs an exhausted budget once per episode, because the senders could otherwise fill the log.
    fn warn_once(&mut self, limit: usize) {
        if !std::mem::replace(&mut self.is_exhausted, true) {
            tracing::warn!(
                limit,
                "unfinished bodies take up the whole budget; refusing the oldest ones with 503; \
                 `Endpoint::body_budget` sets this limit"
            );
        }
    }
}
