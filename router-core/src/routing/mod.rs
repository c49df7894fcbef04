//! From an event to its handlers, and what became of it.

mod dispatch;
mod error;
mod in_flight;
mod keyed_lock;
mod report_future;
mod router;
mod run;
mod table;

pub use self::{error::RouterError, report_future::ReportFuture, router::Router};
pub(crate) use self::{
    dispatch::{Caller, Filter, RegisteredHandler},
    router::Parts,
    table::Table,
};
