//! What the expansion of `#[on_event]` uses. No user does: it changes without notice.

use std::panic::resume_unwind;

use tracing::Span;

use crate::handler::Reply;

pub use crate::{
    build::registry::{DeliveryKeys, Handles, Registered, Registration, submit},
    event::Event,
    extract::{
        FromEvent, StripeObject,
        compat::{AnyObject, Argument, misfit, no_event_type},
        needs::{Need, Supplies, sealed::Needs},
    },
    handler::{
        HandlerFuture, HandlerResult, IntoOutcome,
        reply::{AnyReturn, Returned},
    },
};

/// Calls a handler that blocks, on the pool of threads that may.
pub async fn blocking(call: impl FnOnce() -> HandlerResult + Send + 'static) -> HandlerResult {
    let span = Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(call)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            // It goes on here, where the panics of all handlers are caught.
            Ok(panic) => resume_unwind(panic),
            Err(cancelled) => Err(cancelled.into()),
        },
    }
}

/// What `default_reply = path` names is a function of this form.
pub fn default_reply<T: serde::Serialize>(make: fn() -> Reply<T>) -> HandlerResult {
    make().into_outcome()
}
