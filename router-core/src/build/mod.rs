//! From registrations to a router: everything that can be found wrong is found here, all at once.

mod builder;
mod candidate;
mod check;
mod explain;
mod given;
mod plugin;
mod problem;
pub(crate) mod registry;
mod report;
mod routes;

pub use self::{
    builder::{DeliveryRouterBuilder, RouterBuilder},
    explain::{Explanation, Match},
    plugin::Plugin,
    problem::{BuildError, HandlerLocation, Problem},
    registry::Registered,
    report::{StartupReport, Warning},
    routes::{Route, Routes},
};
