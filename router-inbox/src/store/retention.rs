//! The minimum retention of events, which a purge must not undercut.

use std::time::Duration;

use crate::StoreError;

/// Minimum retention of an event. Stripe resends an event for up to three days, so an earlier purge
/// could cause the event to be handled twice.
pub const MIN_RETENTION: Duration = Duration::from_secs(4 * 24 * 60 * 60);

/// The error of a purge that could delete events which Stripe may still resend.
#[derive(Debug, thiserror::Error)]
#[error(
    "events are retained for at least 4 days, because Stripe resends an event for up to 3 days, and \
     a purged event would then be handled again; purge only events older than 4 days"
)]
#[non_exhaustive]
pub struct PurgeTooSoon;

impl PurgeTooSoon {
    /// Checks that `older_than` is at least [`MIN_RETENTION`].
    ///
    /// # Errors
    ///
    /// Fails with a [`PurgeTooSoon`] in a [`StoreError`] if it is less.
    pub fn check(older_than: Duration) -> Result<(), StoreError> {
        if older_than < MIN_RETENTION { Err(StoreError::rejected(Self)) } else { Ok(()) }
    }
}
