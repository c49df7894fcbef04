//! Events that the program has fetched from Stripe's API.

use super::{AlreadyAuthenticated, EnvelopeError, Event, Receipt};
use crate::signature::EndpointName;

impl Event {
    /// Reads an event, snapshot or thin, that this program has fetched from [Stripe's API][api],
    /// such as one of the list that `GET /v1/events` returns. Nothing is verified here:
    /// [`AlreadyAuthenticated::fetched_from_stripe`] is the caller's assertion.
    ///
    /// A polled event and its delivery to a webhook endpoint are duplicates of each other if their
    /// [keys](Event::key) are equal:
    ///
    /// - The endpoint of the assertion is the name of that endpoint's secret, or
    ///   [`EndpointName::DEFAULT`] if the secret has no name.
    /// - Both name the same account. An event of a connected account names it in `account`, or, if
    ///   it is thin, in its `context`.
    ///
    /// Stripe writes a polled event in the account's API version at the time of the event, and a
    /// delivered one in the version of the endpoint. The versions are not part of the key.
    ///
    /// ```
    /// use router_core::{Event, event::AlreadyAuthenticated};
    /// use serde_json::value::RawValue;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct List<'l> {
    ///     #[serde(borrow)]
    ///     data: Vec<&'l RawValue>,
    /// }
    ///
    /// # let response = r#"{"object": "list", "data": [{
    /// #     "id": "evt_1", "object": "event", "type": "customer.created",
    /// #     "data": {"object": {"id": "cus_1", "object": "customer"}}
    /// # }], "has_more": false}"#;
    /// let list: List = serde_json::from_str(response)?; // of `GET /v1/events`
    /// // Stripe lists the newest event first.
    /// for event in list.data.iter().rev() {
    ///     let json = event.get().to_owned();
    ///     let fetched = AlreadyAuthenticated::fetched_from_stripe(json, "default");
    ///     let event = Event::from_stripe_api(fetched)?;
    ///     println!("{event:?}"); // call the router, or the inbox, with it
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [api]: https://docs.stripe.com/api/events
    ///
    /// # Errors
    ///
    /// Fails if the text is not one event, for example if it is the whole list.
    pub fn from_stripe_api(fetched: AlreadyAuthenticated) -> Result<Self, EnvelopeError> {
        let (body, endpoint) = fetched.into_parts(EndpointName::DEFAULT);
        Self::from_payload(body, Receipt::new(endpoint, None))
    }
}
