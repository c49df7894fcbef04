//! Handlers and their results.

mod delivery_order;
mod error_chain;
mod failure;
mod one_line;
mod outcome;
pub(crate) mod reply;
mod report;
mod retry;

use std::{future::Future, pin::Pin};

use async_trait::async_trait;

pub use self::{
    delivery_order::DeliveryOrder,
    error_chain::ErrorChain,
    failure::{BoxError, Failure, FailureExt},
    one_line::{is_unsafe_char, one_line},
    outcome::{IntoOutcome, Outcome},
    reply::Reply,
    report::{HandlerReport, Report},
    retry::RetryPolicy,
};
use crate::event::Event;

/// The result of a handler, into which its own return type is converted.
pub type HandlerResult = Result<Outcome, Failure>;

/// The future of a call of a handler.
pub type HandlerFuture = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// A handler that is registered with [`RouterBuilder::handler`](crate::RouterBuilder::handler),
/// rather than at link time with `#[on_event]`. It is implemented for closures that take an
/// [`Event`].
///
/// ```
/// use router_core::{Event, Failure, Handler, Outcome};
///
/// struct Audit { path: std::path::PathBuf }
///
/// #[async_trait::async_trait]
/// impl Handler for Audit {
///     async fn call(&self, event: Event) -> Result<Outcome, Failure> {
///         std::fs::write(&self.path, event.payload())?;
///         Ok(Outcome::Done)
///     }
/// }
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "a handler is an `impl Handler`, or a closure that takes an `Event` by value and returns a future"
)]
pub trait Handler: Send + Sync + 'static {
    /// Handles one event.
    async fn call(&self, event: Event) -> HandlerResult;

    /// Returns whether Stripe waits for the handler's reply. If `true`, the handler must return a
    /// [`Reply`], converted with [`into_outcome`](IntoOutcome::into_outcome). Default: `false`.
    fn replies(&self) -> bool {
        false
    }
}

#[async_trait]
impl<F, R> Handler for F
where
    F: Fn(Event) -> R + Send + Sync + 'static,
    R: Future<Output: IntoOutcome> + Send + 'static,
{
    async fn call(&self, event: Event) -> HandlerResult {
        self(event).await.into_outcome()
    }

    fn replies(&self) -> bool {
        <R::Output as IntoOutcome>::REPLIES
    }
}
