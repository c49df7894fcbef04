//! The routes of a program, from the router itself or from its JSON.

use std::collections::BTreeSet;

use router_catalog::Pattern;
use router_core::build::{Route, Routes};
use serde::Deserialize;

/// The routes of a program: the event types that its handlers take.
///
/// They are made from a router (`ProgramRoutes::from(router.routes())`), or from the JSON that
/// `serde_json::to_string(router.routes())` writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ProgramRoutes(Vec<ProgramRoute>);

/// A pattern of a handler. Other fields of the JSON are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ProgramRoute {
    pub(super) pattern: String,
    pub(super) handler: String,
    #[serde(default)]
    pub(super) endpoint: Option<String>,
    #[serde(default)]
    pub(super) livemode: Option<bool>,
}

impl ProgramRoutes {
    pub(super) fn iter(&self) -> impl Iterator<Item = &ProgramRoute> {
        self.0.iter()
    }

    /// Returns whether the program has no handlers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether every event has a handler.
    pub(super) fn takes_everything(&self) -> bool {
        self.iter().any(ProgramRoute::takes_everything)
    }

    /// Returns whether a handler takes events of this type. A handler for all unhandled events does
    /// not count.
    #[must_use]
    pub fn takes(&self, event_type: &str) -> bool {
        self.iter().any(|route| route.takes(event_type))
    }
}

impl ProgramRoute {
    pub(super) fn takes(&self, event_type: &str) -> bool {
        Pattern::parse(&self.pattern).is_ok_and(|pattern| pattern.matches(event_type))
    }

    /// Returns whether the handler takes events of all types, or those that no other handler takes.
    fn takes_everything(&self) -> bool {
        matches!(&*self.pattern, "*" | Route::UNHANDLED)
    }

    /// Returns the event types that must be sent for the route. A prefix is expanded to its known
    /// event types. A route of all types needs none in particular.
    pub(super) fn event_types(&self) -> BTreeSet<String> {
        match Pattern::parse(&self.pattern) {
            _ if self.takes_everything() => BTreeSet::new(),
            Ok(pattern @ Pattern::Prefix(_)) => {
                pattern.known().iter().map(|known| known.name.to_owned()).collect()
            }
            _ => BTreeSet::from([self.pattern.clone()]),
        }
    }
}

impl From<&Routes> for ProgramRoutes {
    fn from(routes: &Routes) -> Self {
        let convert = |route: &Route| ProgramRoute {
            pattern: route.pattern.clone(),
            handler: route.handler.clone(),
            endpoint: route.endpoint.map(str::to_owned),
            livemode: route.livemode,
        };
        Self(routes.iter().map(convert).collect())
    }
}
