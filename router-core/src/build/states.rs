//! The states added to a builder.

use std::{
    any::{TypeId, type_name},
    panic::Location,
    sync::Arc,
};

use crate::extract::States;

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
