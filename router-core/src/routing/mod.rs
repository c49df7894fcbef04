//! From an event to its handlers, and what became of it.

mod delivered;
mod dispatch;
mod error;
mod handlers;
mod in_flight;
mod keyed_lock;
mod report_future;
mod router;
mod run;
mod table;
mod unhandled;

pub use self::{
    delivered::{Delivery, DeliveryRouter, HandlerSpec},
    error::RouterError,
    report_future::ReportFuture,
    router::Router,
};
pub(crate) use self::{
    dispatch::{Caller, Filter, RegisteredHandler},
    handlers::Handlers,
    router::Parts,
    table::Table,
};
