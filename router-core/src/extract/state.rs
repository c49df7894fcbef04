//! State that an application shares with its handlers.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::Arc,
};

use super::{FromEvent, OptionalFromEvent, Rejection};
use crate::{event::Event, sharded::Hasher};

/// A value that the application has registered with
/// [`RouterBuilder::state`](crate::build::RouterBuilder::state). It is looked up by its type.
///
/// `build()` fails if a handler takes a state that is missing; a handler that can do without it
/// takes an `Option<State<T>>`.
///
/// ```standalone_crate
/// use router_core::{EventId, Router, State, on_event};
///
/// struct Mailer { from: String }
///
/// #[on_event("invoice.paid")]
/// async fn thank(id: EventId, mailer: State<Mailer>) {
///     println!("{}: from {}", id, mailer.from);
/// }
///
/// # fn main() -> Result<(), router_core::build::BuildError> {
/// let router = Router::builder().state(Mailer { from: "shop@example.com".into() }).build()?;
/// # Ok(())
/// # }
/// ```
pub struct State<T: ?Sized>(pub Arc<T>);

impl<T> State<T> {
    /// Wraps a value, for example in a test that calls a handler directly.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T: ?Sized> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("State").field(&&*self.0).finish()
    }
}

impl<T: ?Sized + Send + Sync + 'static> FromEvent for State<T> {
    type Needs = Self;

    async fn from_event(_: &Event, state: Self) -> Result<Self, Rejection> {
        Ok(state)
    }
}

impl<T: ?Sized + Send + Sync + 'static> OptionalFromEvent for State<T> {
    type Needs = Option<Self>;

    async fn from_event(_: &Event, state: Option<Self>) -> Result<Option<Self>, Rejection> {
        Ok(state)
    }
}

/// The states of a router, by type.
#[derive(Default)]
pub(crate) struct States(HashMap<TypeId, Box<dyn Any + Send + Sync>, Hasher>);

impl States {
    pub(crate) fn insert<T: ?Sized + Send + Sync + 'static>(&mut self, state: Arc<T>) {
        self.0.insert(TypeId::of::<T>(), Box::new(State(state)));
    }

    pub(crate) fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Option<State<T>> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref().cloned()
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").finish_non_exhaustive()
    }
}
