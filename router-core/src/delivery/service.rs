//! The service that delivers events, and the resources that it provides for a single call of a
//! handler.

use std::{
    any::{Any, TypeId, type_name},
    fmt,
};

use super::TimeoutPause;

/// A service that provides resources for each call of a handler, as
/// [`PerDelivery`](crate::extract::PerDelivery) arguments. The store of an inbox is one.
pub trait DeliveryService {
    /// Returns the types of the resources that the service provides for every call.
    fn provides(&self) -> Vec<ProvidedType>;

    /// Returns advice for the error of a handler that takes a resource which this service does not
    /// provide.
    fn hint(&self) -> Option<&'static str> {
        None
    }
}

/// The type of a resource that a service provides for each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvidedType {
    pub(crate) id: TypeId,
    pub(crate) type_name: &'static str,
}

impl ProvidedType {
    /// Returns the `ProvidedType` of type `T`.
    #[must_use]
    pub fn of<T: Send + 'static>() -> Self {
        Self { id: TypeId::of::<T>(), type_name: type_name::<T>() }
    }
}

/// The resources for one call, at most one of each type, and the pause of the call's timeout if the
/// service may pause that timeout.
#[derive(Default)]
pub(crate) struct PerDeliveryValues {
    values: Vec<Box<dyn Any + Send>>,
    pub(crate) timeout_pause: Option<TimeoutPause>,
}

impl PerDeliveryValues {
    pub(crate) fn insert<T: Send + 'static>(&mut self, resource: T) {
        self.values.push(Box::new(resource));
    }

    pub(crate) fn has(&self, provided: ProvidedType) -> bool {
        self.values.iter().any(|resource| (**resource).type_id() == provided.id)
    }

    pub(crate) fn take<T: Send + 'static>(&mut self) -> Option<T> {
        let index = self.values.iter().position(|resource| resource.is::<T>())?;
        self.values.swap_remove(index).downcast().ok().map(|resource| *resource)
    }
}

impl fmt::Debug for PerDeliveryValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerDeliveryValues").finish_non_exhaustive()
    }
}
