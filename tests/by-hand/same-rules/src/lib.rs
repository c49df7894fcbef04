//! The handlers of the shop by hand, with its rules and its tables, for a router. Only the
//! verification, the dispatch and the table of processed events are gone.

use std::time::UNIX_EPOCH;

use router_core::{BoxError, Event};

#[path = "../../../../handlers/mail/src/amount.rs"]
mod amount;
mod disputes;
#[path = "../../src/mail.rs"]
mod mail;
mod mirror;
mod orders;
mod receipts;
mod subscriptions;

pub use self::mail::Mailer;

router_core::plugin!();

/// Returns the creation of an event, in seconds since 1970.
fn created(event: &Event) -> Result<i64, BoxError> {
    let created = event.created().ok_or("the event has no creation time")?;
    Ok(created.duration_since(UNIX_EPOCH)?.as_secs().cast_signed())
}
