//! Dispatches events to their handlers and reports the outcomes.

mod delivery_router;
mod dispatch;
mod earlier;
mod error;
mod filter;
mod handlers;
mod in_flight;
mod keyed_lock;
mod report_future;
mod router;
mod run;
mod table;
mod timeout;
mod unhandled;

pub use self::{
    delivery_router::{Delivery, DeliveryRouter, HandlerSpec},
    error::RouterError,
    report_future::ReportFuture,
    router::Router,
    timeout::{PausedTimeout, TimeoutPause},
};
pub(crate) use self::{
    dispatch::{Callable, RegisteredHandler},
    filter::LoggedExclusions,
    handlers::Handlers,
    router::Parts,
    table::Table,
};
