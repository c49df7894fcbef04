//! Replies of handlers to Stripe.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;

use super::{Failure, HandlerResult, IntoOutcome, Outcome};

/// A reply for which Stripe waits: the JSON of the response. For example, Stripe waits up to 2 s
/// for the approval of a card payment ([`issuing_authorization.request`][authorizations]).
///
/// [authorizations]: https://docs.stripe.com/issuing/controls/real-time-authorizations
///
/// ```standalone_crate
/// use router_core::{BoxError, Object, Reply, on_event};
///
/// #[derive(serde::Deserialize)]
/// struct Authorization { amount: i64 }
///
/// #[derive(serde::Serialize)]
/// struct Decision { approved: bool }
///
/// fn decline() -> Reply<Decision> {
///     Reply(Decision { approved: false })
/// }
///
/// #[on_event("issuing_authorization.request", deadline = "1s", default_reply = decline)]
/// async fn authorize(request: Object<Authorization>) -> Result<Reply<Decision>, BoxError> {
///     Ok(Reply(Decision { approved: request.amount <= 10_000 }))
/// }
/// # fn main() {}
/// ```
///
/// The response has status 200, this JSON as its body, and the `Stripe-Version` header that Stripe
/// requires, with the event's own API version.
///
/// An event has at most one handler that replies; `build()` fails if there are two. That handler
/// runs first, and the response is sent as soon as it has replied. The other handlers run
/// afterwards. Stripe does not redeliver the event, so every failure of theirs becomes a dead
/// letter.
///
/// If the handler fails or misses its `deadline` (default: 1.5 s), its `default_reply` is sent and
/// the failure becomes a dead letter. Without a `default_reply` the response is 500, or 200 if the
/// failure is permanent. Stripe then gets no reply, and decides by the account's settings.
///
/// With an inbox, the handler runs before the event is stored for the other handlers. The response
/// is sent once the event is stored; if that fails, it is 503, and Stripe gets no reply.
///
/// A duplicate of the event receives the same reply, and does not run the handler again, even if
/// the reply was the default one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a reply is sent only once the handler returns it"]
pub struct Reply<T>(pub T);

impl<T: Serialize> IntoOutcome for Reply<T> {
    const REPLIES: bool = true;

    fn into_outcome(self) -> HandlerResult {
        let json = serde_json::to_vec(&self.0).map_err(Failure::permanent)?;
        Ok(Outcome::Replied(Bytes::from(json)))
    }
}

/// A wrapper for a return type. Its constant `REPLIES` tells whether the type is a reply.
///
/// For a type that a handler cannot return, `REPLIES` resolves to the constant of the trait
/// [`AnyReturn`], so that the compiler does not report the wrong type a second time here.
#[derive(Debug)]
pub struct Returned<R>(PhantomData<R>);

impl<R: IntoOutcome> Returned<R> {
    #[expect(missing_docs, reason = "used only by the macro")]
    pub const REPLIES: bool = R::REPLIES;
}

#[expect(missing_docs, reason = "used only by the macro")]
pub trait AnyReturn {
    const REPLIES: bool = false;
}

impl<R> AnyReturn for Returned<R> {}
