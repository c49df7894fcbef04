#![doc = include_str!("docs/tour.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod build;
pub mod clock;
pub mod completions;
pub mod dead_letters;
pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod extract;
pub mod handler;
pub mod health;
pub mod panic_guard;
#[doc(hidden)]
pub mod private;
pub mod routing;
#[cfg(feature = "server")]
pub mod server;
mod sharded;
pub mod signature;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

/// The crates whose types are in the API of an [`Endpoint`], in their versions.
#[doc(no_inline)]
pub use {bytes, http};

pub use router_catalog::event_type;
/// Ties a type to the name of the Stripe object that it decodes. A handler that takes the type then
/// does not compile for an event that carries another object. See the trait
/// [`StripeObject`](trait@StripeObject).
///
/// ```
/// use router_core::StripeObject;
///
/// #[derive(serde::Deserialize, StripeObject)]
/// #[stripe(object = "payment_intent")]
/// struct PaymentIntent { amount: i64 }
///
/// assert_eq!(PaymentIntent::OBJECT, "payment_intent");
/// ```
///
/// A name that no known event carries is a compile error, unless `unlisted` follows it.
/// `crate = path` gives the path of router_core if the crate is renamed or re-exported.
pub use router_macros::StripeObject;
#[doc = include_str!("docs/on_event.md")]
pub use router_macros::on_event;
#[doc = include_str!("docs/on_unhandled.md")]
pub use router_macros::on_unhandled;

pub use crate::{
    build::Plugin,
    endpoint::Endpoint,
    event::Event,
    extract::{
        EventId, FromEvent, IdempotencyKey, Object, Previous, Rejection, State, StripeObject,
    },
    handler::{BoxError, Failure, FailureExt, Outcome, Reply},
    routing::Router,
    signature::{Secrets, SigningSecret},
};
