//! What the service that delivers an event gives to one call of a handler.

use std::{
    any::{Any, TypeId, type_name},
    fmt,
    ops::{Deref, DerefMut},
};

use super::{FromEvent, OptionalFromEvent, Rejection};
use crate::event::Event;

/// Something that is for one call alone, such as a transaction, given by the service that delivers the
/// event: a [`DeliveringService`]. It is handed over once, so a handler takes one of each type. A
/// router is not built with a handler that takes what nobody provides; `Option<PerDelivery<T>>` is for what may
/// be missing.
///
/// Extractors are made of it, as `Tx` of an inbox is: their [`Needs`](FromEvent::Needs) are a
/// `PerDelivery<T>`.
pub struct PerDelivery<T>(pub T);

/// A service that gives [`PerDelivery`] things to the handlers which it calls. A store of an inbox is one.
pub trait DeliveringService {
    /// What it gives to every call.
    fn provides(&self) -> Vec<ProvidedType>;

    /// What to do where a handler takes what this does not give, for the error that says so.
    fn hint(&self) -> Option<&'static str> {
        None
    }
}

/// A type of which a service gives each call one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvidedType {
    pub(crate) id: TypeId,
    pub(crate) type_name: &'static str,
}

impl ProvidedType {
    /// Things of this type.
    #[must_use]
    pub fn of<T: Send + 'static>() -> Self {
        Self { id: TypeId::of::<T>(), type_name: type_name::<T>() }
    }
}

/// What one call is given: a few things, each of another type.
#[derive(Default)]
pub(crate) struct Provisions(Vec<Box<dyn Any + Send>>);

impl Provisions {
    pub(crate) fn insert<T: Send + 'static>(&mut self, thing: T) {
        self.0.push(Box::new(thing));
    }

    pub(crate) fn has(&self, provision: ProvidedType) -> bool {
        self.0.iter().any(|thing| (**thing).type_id() == provision.id)
    }

    pub(crate) fn take<T: Send + 'static>(&mut self) -> Option<PerDelivery<T>> {
        let at = self.0.iter().position(|thing| thing.is::<T>())?;
        self.0.swap_remove(at).downcast().ok().map(|thing| PerDelivery(*thing))
    }
}

impl<T: Send + 'static> FromEvent for PerDelivery<T> {
    type Needs = Self;

    async fn from_event(_: &Event, provided: Self) -> Result<Self, Rejection> {
        Ok(provided)
    }
}

impl<T: Send + 'static> OptionalFromEvent for PerDelivery<T> {
    type Needs = Option<Self>;

    async fn from_event(_: &Event, provided: Option<Self>) -> Result<Option<Self>, Rejection> {
        Ok(provided)
    }
}

impl<T> Deref for PerDelivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for PerDelivery<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for PerDelivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PerDelivery").field(&self.0).finish()
    }
}

impl fmt::Debug for Provisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisions").finish_non_exhaustive()
    }
}
