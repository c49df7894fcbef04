//! Builds a router from registered handlers. `build()` checks everything and reports all problems
//! at once.

mod builder;
mod candidate;
mod check;
mod config;
mod plugin;
mod problem;
pub(crate) mod registry;
mod report;
mod routes;
mod state_advice;

pub use router_catalog::{NameError, PatternError};

pub use self::{
    builder::{DeliveryRouterBuilder, RouterBuilder},
    plugin::Plugin,
    problem::{BuildError, HandlerLocation, Problem},
    registry::Registered,
    report::{StartupReport, Warning},
    routes::{Explanation, Match, Route, Routes},
};
