//! The configuration of a router: its handlers, states and settings, before they are checked.

use std::{
    any::{TypeId, type_name},
    collections::BTreeSet,
    panic::Location,
    sync::Arc,
};

use super::{Plugin, candidate::Candidate};
use crate::{
    completions::CompletionBackend,
    dead_letters::DeadLetters,
    delivery::{ProvidedType, RetryPolicy},
    extract::States,
};

/// The part of a builder that [`check`](super::check) and the start-up report read.
#[derive(Default)]
pub(super) struct Configuration {
    pub(super) candidates: Vec<Candidate>,
    pub(super) left_out: Vec<Candidate>,
    pub(super) plugins: Option<Vec<Plugin>>,
    pub(super) required: Vec<String>,
    /// The only mode to handle, if the router is limited to one. `true` is live mode.
    pub(super) livemode: Option<bool>,
    /// The names of all endpoints, if they are known.
    pub(super) endpoints: Option<BTreeSet<String>>,
    pub(super) states: BuilderStates,
    /// The types that the delivery service provides with each delivery. `None` without a service:
    /// the router then runs all handlers of an event itself.
    pub(super) provided_types: Option<Vec<ProvidedType>>,
    /// The delivery service's advice for handlers that take a type it does not provide.
    pub(super) hint: Option<&'static str>,
    /// The retry policy of deliveries, and the location of the call that set it.
    pub(super) default_retry: Option<(RetryPolicy, &'static Location<'static>)>,
    pub(super) completions: Option<CompletionBackend>,
    pub(super) dead_letters: Option<Arc<dyn DeadLetters>>,
}

impl Configuration {
    /// Returns whether the router is built for a delivery service.
    pub(super) fn has_delivery_service(&self) -> bool {
        self.provided_types.is_some()
    }
}

/// The states added to a builder.
#[derive(Debug, Default)]
pub(super) struct BuilderStates {
    pub(super) values: States,
    /// One entry per call, in order. A type added twice has two entries, which `check` reports.
    pub(super) entries: Vec<StateEntry>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct StateEntry {
    pub(super) id: TypeId,
    pub(super) type_name: &'static str,
    pub(super) location: &'static Location<'static>,
}

impl BuilderStates {
    pub(super) fn add<T: ?Sized + Send + Sync + 'static>(
        &mut self,
        state: Arc<T>,
        location: &'static Location<'static>,
    ) {
        let entry = StateEntry { id: TypeId::of::<T>(), type_name: type_name::<T>(), location };
        self.entries.push(entry);
        self.values.insert(state);
    }

    pub(super) fn contains(&self, id: TypeId) -> bool {
        self.entries.iter().any(|entry| entry.id == id)
    }
}
