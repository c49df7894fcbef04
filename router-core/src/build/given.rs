//! The states that a builder was given.

use std::{
    any::{TypeId, type_name},
    panic::Location,
    sync::Arc,
};

use crate::extract::States;

#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) states: States,
    /// Each that was given, in that order; a type that was given twice stands here twice.
    pub(super) list: Vec<GivenState>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct GivenState {
    pub(super) id: TypeId,
    pub(super) type_name: &'static str,
    pub(super) place: &'static Location<'static>,
}

impl Given {
    pub(super) fn add<T: ?Sized + Send + Sync + 'static>(
        &mut self,
        state: Arc<T>,
        place: &'static Location<'static>,
    ) {
        self.list.push(GivenState { id: TypeId::of::<T>(), type_name: type_name::<T>(), place });
        self.states.insert(state);
    }

    pub(super) fn has(&self, id: TypeId) -> bool {
        self.list.iter().any(|given| given.id == id)
    }
}
