//! From an event to its handlers, and what became of it.

mod detach;
mod dispatch;
mod router;
mod table;

pub use self::router::{Closed, Router};
pub(crate) use self::{
    dispatch::{Caller, Filter, RegisteredHandler},
    router::Parts,
    table::Table,
};
