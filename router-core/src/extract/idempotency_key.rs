//! Idempotency keys for calls to other systems.

use std::fmt::Write as _;

use bytestring::ByteString;
use sha2::{Digest as _, Sha256};

use super::{
    FromEvent, Needs, Rejection,
    needs::{Need, Supplies, sealed},
};
use crate::event::{Event, EventKey};

/// An idempotency key for a handler's requests to other systems, such as a mail or payment API.
/// With it, the other system applies a request once, however often the handler runs for the event.
/// Derefs to `str`.
///
/// The key is the same in every run of one handler for one event, in any process. It differs
/// between handlers, so two handlers of one event can call the same system; the event's id alone
/// would make the second request a duplicate of the first. It also differs for a replay of the
/// event, because a replay is meant to repeat the effects. A handler that makes several requests to
/// one system needs a key for each, for example this key with a suffix.
///
/// The key has 32 hexadecimal digits. [Stripe's API][stripe] accepts keys of up to 255 characters.
///
/// [stripe]: https://docs.stripe.com/api/idempotent_requests
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
///     mailer.send(&invoice.customer_email, &key).await // sent once, even if this runs twice
/// }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(ByteString);

impl_text!(IdempotencyKey);

impl IdempotencyKey {
    /// Derives the key from the event and the handler's stable name. For a stored delivery that is
    /// the name under which it was stored, so the key does not change if the handler is renamed
    /// later.
    fn derive(event: &EventKey, handler: &str) -> Self {
        let mut hash = Sha256::new();
        let account = event.account().unwrap_or_default();
        let parts = [handler, event.endpoint(), account, event.id(), event.event_type()];
        for part in parts {
            // The length prefix separates the parts, so different parts never hash alike.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(event.generation().to_be_bytes());
        hash.update(event.serial().unwrap_or_default().to_be_bytes());
        let mut key = String::with_capacity(32);
        for byte in &hash.finalize()[..16] {
            write!(key, "{byte:02x}").expect("writing to a `String` never fails");
        }
        Self(key.into())
    }
}

impl Needs for IdempotencyKey {}

impl sealed::Needs for IdempotencyKey {
    /// Declares no need, because every router knows the event and the handler of a call.
    fn declare(_: &mut Vec<Need>) {}

    fn take(supplies: &mut Supplies<'_>) -> Self {
        Self::derive(&supplies.event.key(), supplies.handler)
    }
}

impl FromEvent for IdempotencyKey {
    type Needs = Self;

    async fn from_event(_: &Event, key: Self) -> Result<Self, Rejection> {
        Ok(key)
    }
}
