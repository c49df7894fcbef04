//! Dispatches events to their handlers and reports the outcomes.

mod dispatch;
mod earlier;
mod error;
mod handlers;
mod in_flight;
mod keyed_lock;
mod router;
mod run;
mod unmatched;

pub use self::{
    error::RouterError,
    router::{ReportFuture, Router},
};
pub(crate) use self::{
    handlers::{Handlers, RegisteredHandler, Table},
    run::Parts,
    unmatched::LoggedExclusions,
};
