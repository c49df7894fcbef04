//! Extractors: the types that a handler can take as arguments.

/// Calls a macro for each tuple of up to eight types.
macro_rules! for_each_tuple {
    ($implement:ident) => {
        $implement!(A);
        $implement!(A B);
        $implement!(A B C);
        $implement!(A B C D);
        $implement!(A B C D E);
        $implement!(A B C D E F);
        $implement!(A B C D E F G);
        $implement!(A B C D E F G H);
    };
}

pub(crate) use for_each_tuple;

/// Implements the methods and traits of extractors that are a text.
macro_rules! impl_text {
    ($($name:ident)+) => {
        $(
            impl $name {
                /// Wraps a text, for example in a test that calls a handler directly.
                pub fn new(text: impl Into<String>) -> Self {
                    Self(text.into().into())
                }

                /// Returns the text.
                #[must_use]
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl ::std::ops::Deref for $name {
                type Target = str;

                fn deref(&self) -> &str {
                    &self.0
                }
            }

            impl AsRef<str> for $name {
                fn as_ref(&self) -> &str {
                    &self.0
                }
            }

            impl ::std::fmt::Display for $name {
                fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                    ::std::fmt::Display::fmt(&*self.0, f)
                }
            }
        )+
    };
}

#[cfg(feature = "async-stripe")]
mod async_stripe;
mod attempt;
pub(crate) mod compat;
mod idempotency_key;
mod identity;
pub(crate) mod needs;
mod object;
mod optional;
mod per_delivery;
mod rejection;
mod state;
mod tuple;

use std::future::Future;

pub use self::{
    attempt::Attempt,
    idempotency_key::IdempotencyKey,
    identity::{Account, EventId, EventType, Livemode},
    needs::Needs,
    object::{Object, ObjectArgument, Previous, StripeObject, changed},
    optional::OptionalFromEvent,
    per_delivery::{Either, PerDelivery},
    rejection::Rejection,
    state::State,
};
pub(crate) use self::{rejection::short_type_name, state::States};
use crate::event::{Event, Kind};

/// A type that a handler can take as an argument. It is extracted from the event and from the
/// resources that [`Needs`](Self::Needs) declares.
///
/// An extractor is asynchronous and may fetch data:
///
/// ```
/// use router_core::{Event, FailureExt as _, FromEvent, Rejection, State};
/// # struct Customers;
/// # impl Customers { async fn find(&self, _: &str) -> std::io::Result<Option<Customer>> { Ok(None) } }
/// # struct Customer;
/// #[derive(serde::Deserialize)]
/// struct Paid { customer: String }
///
/// impl FromEvent for Customer {
///     // One resource, or several as a tuple. `build()` checks that the router has them.
///     type Needs = State<Customers>;
///
///     async fn from_event(event: &Event, customers: State<Customers>) -> Result<Self, Rejection> {
///         let paid: Paid = event.decode_object().or_permanent()?;
///         let customer = customers.find(&paid.customer).await?; // retried if it fails
///         Ok(customer.ok_or("no such customer yet")?)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}`",
    label = "not an extractor",
    note = "a handler can take these types of router_core, in any number and order:\n`Event`, `Object<T>` (T: serde::Deserialize), `Previous<T>`, `RelatedObject`, `State<T>`,\n`EventId`, `EventType`, `EndpointName`, `Account`, `Livemode`, `Recency`, `IdempotencyKey`, `Attempt`, `PerDelivery<T>`,\nwith an inbox a `Tx<_>` of router_inbox, an `Option`, `Result<_, Rejection>` or tuple of these,\nor a type of your own that implements `FromEvent`",
    note = "extractors of web frameworks do not work here: instead of axum's `State` take a `router_core::State`, and instead of `Json` an `Object`"
)]
pub trait FromEvent: Sized + Send {
    /// The resources needed besides the event: `()` for none, a [`State<T>`](State), a
    /// [`PerDelivery<T>`](PerDelivery), an `Option` of one of these, an [`IdempotencyKey`], an
    /// [`Attempt`], or a tuple of these.
    type Needs: Needs;

    /// The kind of event from which the argument can be extracted, if only one kind. A handler of
    /// the other kind that takes the argument does not compile.
    const KIND: Option<Kind> = None;

    /// Extracts the argument.
    ///
    /// # Errors
    ///
    /// Fails if the argument cannot be extracted. The [`Rejection`] becomes the handler's failure.
    fn from_event(
        event: &Event,
        needs: Self::Needs,
    ) -> impl Future<Output = Result<Self, Rejection>> + Send;
}

impl FromEvent for Event {
    type Needs = ();

    async fn from_event(event: &Event, (): ()) -> Result<Self, Rejection> {
        Ok(event.clone())
    }
}
