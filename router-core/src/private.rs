//! Items for the expansion of `#[on_event]`. They are not public API and may change at any time.

use std::panic::resume_unwind;

use tracing::Span;

use crate::{
    extract::Rejection,
    handler::{Failure, Reply},
};

pub use crate::{
    build::registry::{Handles, Registered, Registration, submit},
    delivery::DeliveryOrder,
    event::Event,
    extract::{
        FromEvent, StripeObject,
        compat::{AnyObject, Argument, check_argument, check_pattern},
        needs::{Need, Supplies, sealed::Needs},
    },
    handler::{
        HandlerFuture, HandlerResult, HandlerSettings, IntoOutcome, RetryOverrides,
        reply::{AnyReturn, Returned},
    },
};

/// Calls a blocking handler on tokio's blocking thread pool.
pub async fn blocking(call: impl FnOnce() -> HandlerResult + Send + 'static) -> HandlerResult {
    let span = Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(call)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            // Resumed here, because the caller catches the panics of all handlers.
            Ok(panic) => resume_unwind(panic),
            Err(cancelled) => Err(cancelled.into()),
        },
    }
}

/// Converts the rejection of an argument of type `A` into the failure of its handler.
pub fn reject<A: ?Sized>(rejection: Rejection) -> Failure {
    rejection.of_argument::<A>().into()
}

/// Calls the function that `default_reply = path` names. Its type checks that function.
pub fn default_reply<T: serde::Serialize>(make: fn() -> Reply<T>) -> HandlerResult {
    make().into_outcome()
}
