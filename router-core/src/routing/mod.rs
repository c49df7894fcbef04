//! From an event to its handlers, and what became of it.

mod detach;
mod dispatch;
mod error;
mod in_flight;
mod keyed_lock;
mod router;
mod run;
mod table;

pub(crate) use self::{
    dispatch::{Caller, Filter, RegisteredHandler},
    router::Parts,
    table::Table,
};
pub use self::{error::RouterError, router::Router};
