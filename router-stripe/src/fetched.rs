//! The extractor of an object as it is now.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use router_core::{
    BoxError, Event, FromEvent, Rejection, State,
    bytes::Bytes,
    event::decode_json,
    extract::{ObjectArgument, OptionalFromEvent},
};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use tokio::sync::OnceCell;

use crate::{Client, Error, object_path::object_path};

/// The object that an event is about, as it is now. The object is fetched from Stripe's API, and
/// decoded into your type with the fields that you need.
///
/// - The object of a thin event is fetched from its `related_object.url`, in the event's context.
/// - The object of a snapshot event is fetched by its id, in the event's account. Events arrive in
///   any order, and the fetched object is newer than the one in the event, or the same.
///
/// The router needs a [`Client`] as a state; `build()` fails without one. Without an inbox, all
/// handlers of an event share one response. With an inbox, each attempt of a handler fetches the
/// object.
///
/// ```
/// use router_core::{Router, StripeObject, on_event, testing::{SyntheticEvent, TestRouter}};
/// use router_stripe::{Fetched, testing::StubStripe};
///
/// #[derive(serde::Deserialize, StripeObject)]
/// #[stripe(object = "invoice")]
/// struct Invoice { id: String, status: String }
///
/// #[on_event("v1.invoice.paid", name = "orders.fulfil")]
/// async fn fulfil(invoice: Fetched<Invoice>) {
///     assert_eq!(invoice.status, "paid");
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stripe = StubStripe::start().await?; // in production: Client::builder(key).build()?
/// let event = SyntheticEvent::new("v1.invoice.paid").build()?;
/// stripe.set_object_of_event(event.event());
/// let router = Router::builder().only::<fulfil>().state(stripe.client());
/// let answer = TestRouter::new(router)?.deliver(event).await;
/// assert!(answer.handler("orders.fulfil").is_done());
/// # Ok(())
/// # }
/// ```
///
/// A handler whose events are about another object does not compile:
///
/// ```compile_fail,E0080
/// # use router_core::{StripeObject, on_event};
/// # use router_stripe::Fetched;
/// # #[derive(serde::Deserialize, StripeObject)]
/// # #[stripe(object = "invoice")]
/// # struct Invoice { id: String }
/// #[on_event("v1.customer.created")]
/// async fn fulfil(invoice: Fetched<Invoice>) {}
/// ```
///
/// # Failures
///
/// | failure | the handler's failure |
/// |---|---|
/// | Stripe has no such object (404 with its error code, or a tombstone) | permanent, or `None` |
/// | the key is refused, or lacks a permission, which the error names (401, 403) | permanent |
/// | 429, 409, 5xx, no answer, or a proxy's page | retried, not before `Retry-After` |
/// | another refusal by Stripe (4xx), or a response that is too large | permanent |
/// | the response does not decode into the type | permanent |
/// | the event names no object, or one that the API does not return by itself | permanent |
///
/// # Permissions
///
/// A restricted key needs the permission to read the object, such as `Invoices: Read`. For events
/// of connected accounts it needs the same permission for connected accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched<T>(pub T);

/// The object was deleted, or is not in the event's account. There is no source if Stripe returned
/// a tombstone (`"deleted": true`).
#[derive(Debug, thiserror::Error)]
#[error("the object was deleted at Stripe, or is not in the event's account")]
struct Deleted(#[source] Option<Error>);

/// The API has no path for the event's object, for this reason.
#[derive(Debug, thiserror::Error)]
#[error("cannot fetch the object of this event: {0}")]
struct NoPath(String);

/// The bodies of the responses to an event's requests, by path. Clones of the event share them.
#[derive(Clone, Default)]
struct Bodies(Arc<Mutex<HashMap<String, BodyCell>>>);

type BodyCell = Arc<OnceCell<Bytes>>;

impl Bodies {
    fn get(&self, path: &str) -> BodyCell {
        let mut bodies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bodies.entry(path.to_owned()).or_default().clone()
    }
}

/// The name of the object in decode errors.
const PART: &str = "fetched object";

/// The reason why no object was fetched.
enum Absence {
    Deleted(Deleted),
    Failed(Rejection),
}

async fn fetch<T: DeserializeOwned>(event: &Event, client: &Client) -> Result<T, Absence> {
    /// The field that marks the remainder of a deleted object.
    #[derive(Deserialize)]
    struct Tombstone {
        #[serde(default)]
        deleted: bool,
    }
    let permanent = |error: BoxError| Absence::Failed(Rejection::permanent(error));
    let path = object_path(event).map_err(|reason| permanent(NoPath(reason).into()))?;
    let cell = event.extension::<Bodies>().get(&path);
    let body = cell.get_or_try_init(async || {
        let mut request = client.get(&*path);
        if let Some(context) = event.context() {
            request = request.context(context);
        } else if let Some(account) = event.account() {
            request = request.account(account);
        }
        let response = request.send().await?;
        // The page of a proxy must not be shared as the object.
        response.json::<IgnoredAny>()?;
        Ok(response.body().clone())
    });
    let body = body.await.map_err(|error: Error| match error.is_missing_object() {
        true => Absence::Deleted(Deleted(Some(error))),
        false => Absence::Failed(error.into_failure().into()),
    })?;
    let json = std::str::from_utf8(body).map_err(|error| permanent(error.into()))?;
    // Stripe returns a tombstone of some deleted objects, such as customers.
    if decode_json(PART, json).is_ok_and(|Tombstone { deleted }| deleted) {
        return Err(Absence::Deleted(Deleted(None)));
    }
    decode_json(PART, json).map_err(|error| permanent(error.into()))
}

impl<T: DeserializeOwned + Send> FromEvent for Fetched<T> {
    type Needs = State<Client>;

    async fn from_event(event: &Event, client: State<Client>) -> Result<Self, Rejection> {
        fetch(event, &client).await.map(Self).map_err(|absence| match absence {
            Absence::Deleted(error) => Rejection::permanent(error),
            Absence::Failed(rejection) => rejection,
        })
    }
}

/// `None` if the object was deleted.
impl<T: DeserializeOwned + Send> OptionalFromEvent for Fetched<T> {
    type Needs = State<Client>;

    async fn from_event(event: &Event, client: State<Client>) -> Result<Option<Self>, Rejection> {
        match fetch(event, &client).await {
            Ok(object) => Ok(Some(Self(object))),
            Err(Absence::Deleted(_)) => Ok(None),
            Err(Absence::Failed(rejection)) => Err(rejection),
        }
    }
}

impl<T> ObjectArgument for Fetched<T> {
    type Decoded = T;

    const CHECKS_THIN_EVENTS: bool = true;
}

impl<T> Deref for Fetched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Fetched<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
