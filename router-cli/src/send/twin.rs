//! The thin event that Stripe sends in addition to a snapshot event.

use router_core::testing::{Payload, SyntheticError, SyntheticEvent};

use crate::error::Error;

/// Builds the thin event that reports the same change as a snapshot event.
///
/// # Errors
///
/// Fails if the event is a thin event itself, or if Stripe has no thin event of its type.
pub(super) fn build_twin(snapshot: &Payload, seed: u64) -> Result<Payload, Error> {
    let event_type = snapshot.event_type();
    if snapshot.event().is_thin() {
        return Err(Error::Usage(format!(
            "`{event_type}` is a thin event, and --twin adds one to a snapshot event; send it without \
             --twin"
        )));
    }
    SyntheticEvent::twin_of(snapshot).seed(seed).build().map_err(|error| {
        Error::Usage(match error {
            SyntheticError::NoThin { .. } | SyntheticError::UnknownType { .. } => {
                format!("there is no thin event for `{event_type}`; send it without --twin")
            }
            other => other.to_string(),
        })
    })
}
