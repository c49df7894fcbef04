//! `Object<T>`: the event's object, decoded.

use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;

use super::FromEvent;
use crate::{event::Event, handler::Failure};

/// The object that a snapshot event carries (`data.object`), decoded into a type of yours that has
/// the fields that you need.
///
/// One that does not decode is a permanent failure of the handler, with the path to what did not
/// fit: sending the same event again would not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<T>(pub T);

impl<T: DeserializeOwned + Send> FromEvent for Object<T> {
    async fn from_event(event: &Event) -> Result<Self, Failure> {
        event.decode_object().map(Self).map_err(Failure::permanent)
    }
}

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Object<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
