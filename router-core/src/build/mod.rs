//! From registrations to a router: everything that can be found wrong is found here, all at once.

mod builder;
mod check;
mod plugin;
mod problem;
pub(crate) mod registry;
mod routes;

pub use self::{
    builder::RouterBuilder,
    plugin::Plugin,
    problem::{BuildError, Place, Problem},
    routes::{Route, Routes},
};
