//! From an event to its handlers, and what became of it.

mod delivery;
mod dispatch;
mod error;
mod in_flight;
mod keyed_lock;
mod router;
mod run;
mod table;

pub use self::{delivery::Delivery, error::RouterError, router::Router};
pub(crate) use self::{
    dispatch::{Caller, Filter, RegisteredHandler},
    router::Parts,
    table::Table,
};
