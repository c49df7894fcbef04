//! The builder of a router for a service that stores deliveries.

use std::{panic::Location, sync::Arc};

use super::{BuiltHandlers, RouterBuilder, in_memory_completions};
use crate::{
    build::BuildError,
    clock::Clock,
    delivery::{DeliveryRouter, RetryPolicy},
    routing::{Parts, Router},
};

/// Builds a [`DeliveryRouter`]. Created by [`RouterBuilder::delivered_by`].
#[must_use = "a router builder does nothing until `.build()` is called"]
#[derive(Debug)]
pub struct DeliveryRouterBuilder(pub(super) RouterBuilder);

impl DeliveryRouterBuilder {
    /// Sets the retry policy of all handlers. The values in `retry(…)` of `#[on_event]` replace
    /// those of the policy for one handler. Default: [`RetryPolicy::default`].
    ///
    /// An inline router has no such setting, because Stripe redelivers a failed event on a schedule
    /// of its own.
    #[track_caller]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.0.config.default_retry = Some((policy, Location::caller()));
        self
    }

    /// Sets the clock, like [`RouterBuilder::clock`].
    pub fn clock(self, clock: impl Clock) -> Self {
        Self(self.0.clock(clock))
    }

    /// Builds the router, and logs its [start-up report](DeliveryRouter::startup_report).
    ///
    /// # Errors
    ///
    /// Fails for the same reasons as [`RouterBuilder::build`], and if:
    ///
    /// - A handler that replies to Stripe takes a value that only a delivery provides.
    /// - A handler has `#[on_unhandled]`: unhandled events are not delivered.
    /// - `.completions(...)` or `.dead_letters(...)` was called. The delivery service stores both.
    /// - The policy passed to [`retry`](Self::retry) allows no attempt, has no backoff, or has a
    ///   backoff longer than its maximum.
    pub fn build(self) -> Result<DeliveryRouter, BuildError> {
        let Self(mut builder) = self;
        builder.check()?;
        let provided = builder.config.provided_types.clone().unwrap_or_default();
        let retry =
            builder.config.default_retry.map_or_else(RetryPolicy::default, |(policy, _)| policy);
        let (clock, wait_timeout) = (Arc::clone(&builder.clock), builder.timeout);
        let endpoints = builder.config.endpoints.clone();
        let BuiltHandlers { handlers, replying, .. } = builder.into_handlers();
        let into_router = |handlers| {
            let completions = in_memory_completions(clock);
            let (unhandled, dead_letters) = (None, None);
            Router::new(Parts { handlers, unhandled, completions, dead_letters, wait_timeout })
        };
        Ok(DeliveryRouter::new(handlers, replying.map(into_router), provided, endpoints, &retry))
    }
}
