//! What makes an effect outside of us happen once.

use std::{fmt, ops::Deref};

use sha2::{Digest as _, Sha256};

use super::{
    FromEvent, Needs, Rejection,
    needs::{Need, Supplies, sealed},
};
use crate::event::{Event, EventKey};

/// A key to hand on to whatever the handler asks of another system, a mail or a payment API, so that the
/// same effect is made once however often the handler runs for the event. A `Deref` to `str`.
///
/// It is the same in every run of one handler for one event, in any process, and another for any other
/// handler or event, and for an event that somebody has had replayed, which is meant to have its effects again.
/// It is 32 hexadecimal digits, so it fits wherever a key can be given; [Stripe's
/// own](https://docs.stripe.com/api/idempotent_requests) may have 255 characters.
///
/// ```standalone_crate
/// use router_core::{IdempotencyKey, Object, State, on_event};
/// # struct Mailer;
/// # impl Mailer { async fn send(&self, _: &str, _: &str) -> std::io::Result<()> { Ok(()) } }
/// # #[derive(serde::Deserialize)] struct Invoice { customer_email: String }
///
/// #[on_event("invoice.paid", name = "receipts.send")]
/// async fn receipt(
///     invoice: Object<Invoice>,
///     key: IdempotencyKey,
///     mailer: State<Mailer>,
/// ) -> std::io::Result<()> {
///     mailer.send(&invoice.customer_email, &key).await // run twice, and sent once
/// }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Of the handler's call, whose delivery is known by this name: the former one, where the handler was
    /// renamed since.
    fn of(event: &EventKey, handler: &str) -> Self {
        let mut hash = Sha256::new();
        let parts = [handler, event.endpoint(), event.account().unwrap_or_default(), event.id()];
        for part in parts {
            // With its length, so that what is one part of one key is never two of another.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(event.generation().to_be_bytes());
        let hash = hash.finalize();
        Self(hash[..16].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Needs for IdempotencyKey {}

impl sealed::Needs for IdempotencyKey {
    /// Nothing: every router knows for which event it calls which handler.
    fn declare(_: &mut Vec<Need>) {}

    fn take(supplies: &mut Supplies<'_>) -> Self {
        Self::of(&supplies.event.key(), supplies.handler)
    }
}

impl FromEvent for IdempotencyKey {
    type Needs = Self;

    async fn from_event(_: &Event, key: Self) -> Result<Self, Rejection> {
        Ok(key)
    }
}

impl Deref for IdempotencyKey {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
