//! The event's object, decoded.

use std::ops::{Deref, DerefMut};

use router_catalog::Kind;
use serde::de::DeserializeOwned;

use super::{FromEvent, OptionalFromEvent, Rejection};
use crate::event::{DecodeError, Event};

/// The object that a snapshot event carries (`data.object`), decoded into a type of yours that has
/// the fields that you need.
///
/// One that does not decode is a permanent failure of the handler, with the path to what did not
/// fit: sending the same event again would not help. `Option<Object<T>>` is for handlers of thin
/// events too, which carry no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<T>(pub T);

/// What the changed fields of the object were before an update (`data.previous_attributes`), decoded
/// into a type of yours. Only what has changed is there: make its fields `Option`s, or give them
/// defaults. Only `*.updated` events have it; `Option<Previous<T>>` is for handlers of others too.
///
/// ```standalone_crate
/// use router_core::{Object, Previous, on_event};
/// # #[derive(serde::Deserialize)] struct Customer { email: Option<String> }
/// #[derive(serde::Deserialize)]
/// struct Before { email: Option<String> }
///
/// #[on_event("customer.updated")]
/// async fn note(now: Object<Customer>, before: Previous<Before>) {
///     println!("{:?}, was {:?}", now.email, before.email);
/// }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Previous<T>(pub T);

/// A type into which one of Stripe's objects decodes, tied to that object's name: a handler that
/// takes it from an event which carries another object does not compile. Derive it:
///
/// ```compile_fail,E0080
/// use router_core::{Object, StripeObject, on_event};
///
/// #[derive(serde::Deserialize, StripeObject)]
/// #[stripe(object = "payment_intent")]
/// struct PaymentIntent { amount: i64 }
///
/// #[on_event("invoice.paid")] // carries an `invoice`
/// async fn ship(intent: Object<PaymentIntent>) {}
/// ```
///
/// An event that carries one of several objects, such as `account.external_account.created`, is taken
/// as an enum of yours that decodes each, and is no `StripeObject`.
pub trait StripeObject {
    /// What Stripe writes in its `object` field, as in `payment_intent`.
    const OBJECT: &'static str;
}

impl<T: DeserializeOwned + Send> FromEvent for Object<T> {
    type Needs = ();

    const KIND: Option<Kind> = Some(Kind::Snapshot);

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        event.decode_object().map(Self).map_err(Rejection::permanent)
    }
}

impl<T: DeserializeOwned + Send> OptionalFromEvent for Object<T> {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Option<Self>, Rejection> {
        present(event.decode_object().map(Self))
    }
}

impl<T: DeserializeOwned + Send> FromEvent for Previous<T> {
    type Needs = ();

    const KIND: Option<Kind> = Some(Kind::Snapshot);

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        event.decode_previous_attributes().map(Self).map_err(Rejection::permanent)
    }
}

impl<T: DeserializeOwned + Send> OptionalFromEvent for Previous<T> {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Option<Self>, Rejection> {
        present(event.decode_previous_attributes().map(Self))
    }
}

fn present<T>(decoded: Result<T, DecodeError>) -> Result<Option<T>, Rejection> {
    match decoded {
        Ok(value) => Ok(Some(value)),
        Err(DecodeError::Absent { .. }) => Ok(None),
        Err(error) => Err(Rejection::permanent(error)),
    }
}

macro_rules! dereference {
    ($($name:ident)+) => {
        $(
            impl<T> Deref for $name<T> {
                type Target = T;

                fn deref(&self) -> &T {
                    &self.0
                }
            }

            impl<T> DerefMut for $name<T> {
                fn deref_mut(&mut self) -> &mut T {
                    &mut self.0
                }
            }
        )+
    };
}

dereference!(Object Previous);
