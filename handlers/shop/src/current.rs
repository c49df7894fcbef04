//! The extractor of an object's present state.

use router_core::{Event, FromEvent, Object, Rejection, State, extract::OptionalFromEvent};
use router_stripe::{Client, Fetched};
use serde::de::DeserializeOwned;

/// The object of an event: fetched from Stripe if the program has a [`Client`], or else the object
/// in the event.
///
/// Stripe dates events by the second, so two updates in one second have an equal
/// [`Recency`](router_core::event::Recency), and nothing in the events says which came later. A
/// fetched state is never older than the event, so it decides such a tie. The object is fetched for
/// every update, but not for its creation or its deletion, which tie with no other event.
///
/// The state in the event is taken if the object no longer exists. If the API cannot return the
/// object of this event, or the key lacks a permission, it is taken too, with a warning in the log.
#[derive(Debug)]
pub struct Current<T> {
    /// The object.
    pub object: T,
    /// `true` if the object was fetched.
    pub is_fetched: bool,
}

impl<T: DeserializeOwned + Send> FromEvent for Current<T> {
    type Needs = Option<State<Client>>;

    async fn from_event(event: &Event, client: Self::Needs) -> Result<Self, Rejection> {
        let can_tie = !event.is_thin()
            && !event.event_type().ends_with(".created")
            && !event.event_type().ends_with(".deleted");
        if let Some(client) = client.filter(|_| can_tie) {
            match <Fetched<T> as OptionalFromEvent>::from_event(event, client).await {
                Ok(Some(Fetched(object))) => return Ok(Self { object, is_fetched: true }),
                Ok(None) => {}
                Err(error) if error.is_permanent() => tracing::warn!(
                    event.id = event.id(),
                    event.type = event.event_type(),
                    %error,
                    "cannot fetch the object; taking its state in the event"
                ),
                Err(error) => return Err(error),
            }
        }
        let Object(object) = <Object<T> as FromEvent>::from_event(event, ()).await?;
        Ok(Self { object, is_fetched: false })
    }
}
