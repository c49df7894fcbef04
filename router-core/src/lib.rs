#![doc = include_str!("docs/tour.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod build;
pub mod clock;
mod completions;
mod dead_letters;
mod delivery;
mod endpoint;
pub mod event;
mod extract;
mod handler;
pub mod panic_guard;
#[doc(hidden)]
pub mod private;
mod routing;
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
    build::{
        BuildError, DeliveryRouterBuilder, Explanation, HandlerLocation, Match, PatternError,
        Plugin, Problem, Registered, Route, RouterBuilder, Routes, StartupReport, Warning,
    },
    completions::{Completion, CompletionStore, HandlerProgress, InMemoryCompletions},
    dead_letters::{DeadLetter, DeadLetterFile, DeadLetters},
    delivery::{
        Delivery, DeliveryOrder, DeliveryRouter, DeliveryService, HandlerSpec, PausedTimeout,
        ProvidedType, RetryPolicy, TimeoutPause,
    },
    endpoint::{Answer, Endpoint, EventService, FullBody, Refusal, Response, SecretProvider},
    event::{Event, EventKey, ObjectId, Recency, RelatedObject},
    extract::{
        Account, Attempt, EventId, EventType, FromEvent, IdempotencyKey, Livemode, Needs, Object,
        OptionalFromEvent, PerDelivery, Previous, Rejection, State, StripeObject, changed,
    },
    handler::{
        BoxError, ErrorChain, Failure, FailureExt, Handler, HandlerFuture, HandlerReport,
        HandlerResult, IntoHandler, IntoOutcome, Outcome, Reply, Report, is_unsafe_char, one_line,
    },
    routing::{ReportFuture, Router, RouterError},
    signature::{EndpointName, Secrets, SigningSecret, Tolerance},
};
