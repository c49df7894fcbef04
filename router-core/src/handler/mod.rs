//! Handlers and their results.

mod error_chain;
mod failure;
mod into_handler;
mod one_line;
mod outcome;
pub(crate) mod reply;
mod report;
mod settings;

use std::{future::Future, pin::Pin};

use async_trait::async_trait;

pub(crate) use self::into_handler::{Callable, ManualArgument, ManualHandler};
pub use self::{
    error_chain::ErrorChain,
    failure::{BoxError, Failure, FailureExt},
    into_handler::IntoHandler,
    one_line::{is_unsafe_char, one_line},
    outcome::{IntoOutcome, Later, Outcome},
    reply::Reply,
    report::{HandlerReport, Report},
    settings::{HandlerSettings, RetryOverrides},
};
use crate::event::Event;

/// The result of a handler, into which its own return type is converted.
pub type HandlerResult = Result<Outcome, Failure>;

/// The future of a call of a handler.
pub type HandlerFuture = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// A handler that is a value, registered with
/// [`RouterBuilder::handler`](crate::build::RouterBuilder::handler). Functions and closures need no
/// `impl`: see [`IntoHandler`].
///
/// ```
/// use router_core::{Event, Failure, Outcome, handler::Handler};
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
    note = "functions and closures are handlers by `IntoHandler`"
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
