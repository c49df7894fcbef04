//! A handler's answer to Stripe.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;

use super::{Failure, HandlerResult, IntoOutcome, Outcome};

/// What a handler returns that Stripe waits for the answer of: the JSON of the response. Approving or
/// declining a card payment is one
/// ([`issuing_authorization.request`](https://docs.stripe.com/issuing/controls/real-time-authorizations),
/// within 2 s).
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
/// The response is 200 with this JSON and, as Stripe demands, a `Stripe-Version` header: the event's own
/// version. Of an event's handlers the one that replies runs first, and the answer leaves as soon as it has
/// replied; the others run after it, and since Stripe will not send the event again, what they fail is a dead
/// letter. There is one such handler for an event at most; `build()` refuses two.
///
/// A handler that has no reply by its `deadline` (1.5 s), or fails, is answered for by its `default_reply`, and
/// its failure is a dead letter. Without a default the answer is 500, and Stripe decides by the account's
/// own settings.
///
/// A duplicate of the event gets the reply that was made.
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

/// A return type, asked whether it replies. Of one that no handler can return the answer is
/// `AnyReturn`'s: the compiler then says once what is wrong with it, and not here.
#[derive(Debug)]
pub struct Returned<R>(PhantomData<R>);

impl<R: IntoOutcome> Returned<R> {
    #[expect(missing_docs, reason = "only the macro uses it")]
    pub const REPLIES: bool = R::REPLIES;
}

#[expect(missing_docs, reason = "only the macro uses it")]
pub trait AnyReturn {
    const REPLIES: bool = false;
}

impl<R> AnyReturn for Returned<R> {}
