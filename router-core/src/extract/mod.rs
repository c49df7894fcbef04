//! What a handler can ask for in its arguments.

/// As many as eight.
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

mod absent;
#[cfg(feature = "async-stripe")]
mod async_stripe;
pub(crate) mod fit;
mod idempotency_key;
mod identity;
pub(crate) mod needs;
mod object;
mod provided;
mod state;
mod tuple;

use std::future::Future;

use router_catalog::Kind;

pub use self::{
    absent::OptionalFromEvent,
    idempotency_key::IdempotencyKey,
    identity::{Account, EventId, EventType, Livemode},
    needs::Needs,
    object::{Object, Previous, StripeObject},
    provided::{DeliveringService, PerDelivery, ProvidedType},
    state::State,
};
pub(crate) use self::{provided::Provisions, state::States};
use crate::{event::Event, handler::Failure};

/// Why an argument could not be made: permanent (what is there does not decode) or to be tried
/// again (a fetch failed), as any [`Failure`] of the handler, which is not called then.
pub type Rejection = Failure;

/// A type that a handler can take as an argument: made from the event, and from what it says that it
/// needs beside.
///
/// It may take its time and fetch something:
///
/// ```
/// use router_core::{Event, FromEvent, Object, Rejection, State};
/// # struct Customers;
/// # impl Customers { async fn find(&self, _: &str) -> std::io::Result<Option<Customer>> { Ok(None) } }
/// # struct Customer;
/// #[derive(serde::Deserialize)]
/// struct Paid { customer: String }
///
/// impl FromEvent for Customer {
///     // One extractor's needs, or several as a tuple. `build()` demands that they are there.
///     type Needs = State<Customers>;
///
///     async fn from_event(event: &Event, customers: State<Customers>) -> Result<Self, Rejection> {
///         let paid: Paid = event.decode_object().map_err(Rejection::permanent)?;
///         let customer = customers.find(&paid.customer).await?; // tried again if it fails
///         Ok(customer.ok_or("no such customer yet")?)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}`",
    label = "not an extractor",
    note = "a handler's arguments are, each in any number and order:\n`Event`, `Object<T>` (T: serde::Deserialize), `Previous<T>`, `RelatedObject`, `State<T>`,\n`EventId`, `EventType`, `Account`, `Livemode`, `Recency`, `IdempotencyKey`, an `Option`, `Result<_, Rejection>` or tuple of these,\nor a type of your own that implements `FromEvent`"
)]
pub trait FromEvent: Sized + Send {
    /// What it needs beside the event: `()` for nothing, a [`State<T>`](State), a
    /// [`PerDelivery<T>`](PerDelivery), an `Option` of one of these, an [`IdempotencyKey`], or a tuple of these.
    type Needs: Needs;

    /// The kind of event that it can be made from, where it is only one: a handler of the other
    /// kind that takes it does not compile.
    const KIND: Option<Kind> = None;

    /// Makes it.
    ///
    /// # Errors
    ///
    /// The [`Rejection`] that becomes the handler's failure.
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
