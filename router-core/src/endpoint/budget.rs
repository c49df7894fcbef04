//! The budget for bodies that are being received and are not verified yet.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::Refusal;

/// The maximum number of bytes that all unfinished bodies of an endpoint may hold together. Clones
/// share the budget.
///
/// Anyone can send a body, and its signature can be checked only once the body is complete. Without
/// a budget, an unauthenticated sender decides how much memory the process uses.
#[derive(Debug, Clone)]
pub(super) struct BodyBudget {
    limit: usize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    used: AtomicUsize,
    /// `true` from the first refusal until half of the budget is free again.
    exhausted: AtomicBool,
}

impl BodyBudget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, shared: Arc::default() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Creates a reservation of zero bytes.
    pub(super) fn reservation(&self) -> Reservation<'_> {
        Reservation { budget: self, bytes: 0 }
    }
}

/// Bytes of a [`BodyBudget`], which are released on drop.
pub(super) struct Reservation<'b> {
    budget: &'b BodyBudget,
    bytes: usize,
}

impl Reservation<'_> {
    /// Extends the reservation to this number of bytes. A reservation never shrinks.
    ///
    /// # Errors
    ///
    /// Fails if the budget has too few free bytes.
    pub(super) fn extend_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let Some(more @ 1..) = bytes.checked_sub(self.bytes) else { return Ok(()) };
        let BodyBudget { limit, shared } = self.budget;
        let extended = shared.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(more).filter(|used| used <= limit)
        });
        if extended.is_ok() {
            self.bytes = bytes;
            return Ok(());
        }
        // Once per episode, because the senders could otherwise fill the log.
        if !shared.exhausted.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                limit,
                "unfinished bodies take up the whole budget; refusing further ones with 503; \
                 `Endpoint::body_budget` sets this limit"
            );
        }
        Err(Refusal::BodyBudget { limit: *limit })
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let BodyBudget { limit, shared } = self.budget;
        let used = shared.used.fetch_sub(self.bytes, Ordering::Relaxed) - self.bytes;
        if used <= limit / 2
            && shared.exhausted.load(Ordering::Relaxed)
            && shared.exhausted.swap(false, Ordering::Relaxed)
        {
            tracing::info!(limit, "half of the budget for unfinished bodies is free again");
        }
    }
}
