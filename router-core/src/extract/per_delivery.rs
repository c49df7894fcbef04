//! Resources that the delivery service provides for a single call of a handler.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use super::{FromEvent, OptionalFromEvent, Rejection};
use crate::event::Event;

/// A resource for a single call of a handler, such as a transaction. The
/// [`DeliveryService`](crate::delivery::DeliveryService), which delivers the event, provides it.
///
/// The resource is handed over once, so a handler can take only one argument of each type.
/// `build()` fails if no service provides the type; a handler that can do without it takes an
/// `Option<PerDelivery<T>>`.
///
/// Other extractors can be built on it: their [`Needs`](FromEvent::Needs) are a `PerDelivery<T>`.
/// The `Tx` of an inbox is an example.
pub struct PerDelivery<T>(pub T);

/// One of two resources of a delivery: the first one, or else the second one. `build()` fails if
/// the [`DeliveryService`](crate::delivery::DeliveryService) provides neither.
///
/// An extractor that works with several services [needs](FromEvent::Needs) it, such as one with the
/// `Tx` of an inbox in SQLite or in PostgreSQL:
///
/// ```standalone_crate
/// use router_core::{Event, FromEvent, Rejection, extract::{Either, PerDelivery}};
/// # mod sqlite { pub struct Tx; }
/// # mod postgres { pub struct Tx; }
///
/// enum Database { Sqlite(sqlite::Tx), Postgres(postgres::Tx) }
///
/// impl FromEvent for Database {
///     type Needs = Either<PerDelivery<sqlite::Tx>, PerDelivery<postgres::Tx>>;
///
///     async fn from_event(_: &Event, provided: Self::Needs) -> Result<Self, Rejection> {
///         Ok(match provided {
///             Either::First(PerDelivery(tx)) => Self::Sqlite(tx),
///             Either::Second(PerDelivery(tx)) => Self::Postgres(tx),
///         })
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first resource.
    First(A),
    /// The second resource, because the first one is not provided.
    Second(B),
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
