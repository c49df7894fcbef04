//! Extractors that decode the event's object.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{FromEvent, OptionalFromEvent, Rejection};
use crate::event::{DecodeError, Event, Kind};

/// The object of a snapshot event (`data.object`), decoded into your type with the fields that you
/// need.
///
/// An object that does not decode is a permanent failure of the handler, because a redelivery of
/// the same event would not help; the error gives the path to the mismatch. Thin events carry no
/// object, so a handler of both kinds takes an `Option<Object<T>>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<T>(pub T);

/// The values of the object's changed fields before an update (`data.previous_attributes`), decoded
/// into your type.
///
/// Only the fields that have changed are present, so deserialize each field with [`changed`]. A
/// field that can be null at Stripe is an `Option<Option<_>>`. Only `*.updated` events have
/// previous attributes; a handler of other events too takes an `Option<Previous<T>>`.
///
/// ```standalone_crate
/// use router_core::{Object, Previous, extract::changed, on_event};
/// # #[derive(serde::Deserialize)] struct Subscription { id: String, cancel_at: Option<i64> }
/// #[derive(serde::Deserialize)]
/// struct Before {
///     /// `None` if it has not changed, `Some(None)` if it was null.
///     #[serde(default, deserialize_with = "changed")]
///     cancel_at: Option<Option<i64>>,
/// }
///
/// #[on_event("customer.subscription.updated")]
/// async fn note(now: Object<Subscription>, before: Previous<Before>) {
///     if let (Some(None), Some(time)) = (before.cancel_at, now.cancel_at) {
///         println!("{} has been canceled as of {time}", now.id);
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Previous<T>(pub T);

/// Deserializes a field of a [`Previous`] value: `Some` of its previous value if the field has
/// changed. With `#[serde(default)]`, a field that has not changed is `None`.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Before {
///     #[serde(default, deserialize_with = "router_core::extract::changed")]
///     status: Option<String>,
///     #[serde(default, deserialize_with = "router_core::extract::changed")]
///     cancel_at: Option<Option<i64>>, // can be null
/// }
///
/// let before: Before = serde_json::from_str(r#"{"cancel_at":null}"#)?;
/// assert_eq!((before.status, before.cancel_at), (None, Some(None)));
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// Without this attribute, serde reads null as `None` too, so a field that was null looks as if it
/// had not changed.
///
/// # Errors
///
/// Fails if the previous value does not match the type `T`. Null matches only an `Option`.
pub fn changed<'de, D, T>(previous: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(previous).map(Some)
}

/// A type that decodes one of Stripe's objects, with the name of that object. A handler that takes
/// the type from an event which carries another object does not compile. Derive it:
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
/// Some events carry one of several objects, such as `account.external_account.created`. For these,
/// decode an enum of your own, without `#[derive(StripeObject)]`.
pub trait StripeObject {
    /// The value of the object's `object` field, such as `payment_intent`.
    const OBJECT: &'static str;
}

/// An argument that is decoded from the object of an event.
///
/// An extractor need not implement this trait. If it does, a handler whose events are about another
/// [`StripeObject`] does not compile. An `Option` or a `Result` of such an argument is checked too.
pub trait ObjectArgument {
    /// The decoded type. The check applies if the type is a [`StripeObject`].
    type Decoded;

    /// `true` if the check applies to thin events too, because the argument is decoded from the
    /// object that they name.
    const CHECKS_THIN_EVENTS: bool = false;
}

impl<T> ObjectArgument for Object<T> {
    type Decoded = T;
}

impl<A: ObjectArgument> ObjectArgument for Option<A> {
    type Decoded = A::Decoded;

    const CHECKS_THIN_EVENTS: bool = A::CHECKS_THIN_EVENTS;
}

impl<A: ObjectArgument> ObjectArgument for Result<A, Rejection> {
    type Decoded = A::Decoded;

    const CHECKS_THIN_EVENTS: bool = A::CHECKS_THIN_EVENTS;
}

impl<T: DeserializeOwned + Send> FromEvent for Object<T> {
    type Needs = ();

    const KIND: Option<Kind> = Some(Kind::Snapshot);

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        decode_object(event).map(Self).map_err(Rejection::permanent)
    }
}

impl<T: DeserializeOwned + Send> OptionalFromEvent for Object<T> {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Option<Self>, Rejection> {
        none_if_absent(decode_object(event).map(Self))
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
        none_if_absent(event.decode_previous_attributes().map(Self))
    }
}

fn decode_object<T: DeserializeOwned>(event: &Event) -> Result<T, DecodeError> {
    #[cfg(feature = "async-stripe")]
    super::async_stripe::warn_of_other_version::<T>(event);
    event.decode_object()
}

fn none_if_absent<T>(decoded: Result<T, DecodeError>) -> Result<Option<T>, Rejection> {
    match decoded {
        Ok(value) => Ok(Some(value)),
        Err(DecodeError::Absent { .. }) => Ok(None),
        Err(error) => Err(Rejection::permanent(error)),
    }
}

macro_rules! impl_deref {
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

impl_deref!(Object Previous);
