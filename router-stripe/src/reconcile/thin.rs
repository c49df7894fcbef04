//! The handlers that name thin events in their patterns.
//!
//! Stripe's list has all thin events of the account, whether or not a destination sends them. A
//! handler of `*` must not get those that no webhook would have delivered to it.

use router_catalog::Pattern;
use router_core::{Event, build::Route, delivery::DeliveryRouter};

/// Returns whether a handler names thin events, so that their list has to be read.
pub(super) fn takes_thin_events(router: &DeliveryRouter) -> bool {
    router.routes().iter().any(|route| named_pattern(route).is_some_and(names_thin))
}

/// Returns whether a handler of this thin event names its type.
pub(super) fn is_named(router: &DeliveryRouter, event: &Event) -> bool {
    let names_event = |route: &Route| {
        named_pattern(route).is_some_and(|pattern| pattern.matches(event.event_type()))
    };
    router.plan(event).any(|handler| {
        router.routes().iter().any(|route| *route.handler == *handler.name && names_event(route))
    })
}

/// Returns the pattern of the route, unless it matches all events.
fn named_pattern(route: &Route) -> Option<Pattern<'_>> {
    Pattern::parse(&route.pattern).ok().filter(|pattern| *pattern != Pattern::All)
}

/// Returns whether the pattern names thin events, whose types begin with `v1.` or `v2.`.
fn names_thin(pattern: Pattern<'_>) -> bool {
    let (Pattern::Exact(name) | Pattern::Prefix(name)) = pattern else {
        return false;
    };
    matches!(name.split('.').next(), Some("v1" | "v2"))
}
