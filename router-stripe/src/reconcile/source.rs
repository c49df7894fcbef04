//! A list of events at Stripe.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use router_core::{
    Event,
    event::{AlreadyAuthenticated, EnvelopeError},
};
use serde_json::value::RawValue;

use super::{V1, V2};
use crate::{Client, Request};

/// A list of the events of one account, with the endpoint that they belong to.
///
/// `Display` is `v1/endpoint/account`, where an account of `self` is that of the client's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventSource {
    list: EventList,
    endpoint: String,
    account: Option<String>,
}

/// One of Stripe's lists of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventList {
    /// The snapshot events that are [still pending, or whose delivery to a webhook endpoint has
    /// failed][list] (`GET /v1/events` with `delivery_success=false`).
    ///
    /// [list]: https://docs.stripe.com/api/events/list#list_events-delivery_success
    Undelivered,
    /// All snapshot events (`GET /v1/events`).
    Snapshot,
    /// All thin events (`GET /v2/core/events`). Stripe does not say which of them were delivered.
    Thin,
}

impl EventSource {
    /// Creates the source of the events of the client's account.
    ///
    /// `endpoint` is the name of the endpoint that receives the events as webhooks: the name of its
    /// secret, or `default` if the secret has no name. With another name each event counts as
    /// another one, and is handled again.
    #[must_use]
    pub fn new(list: EventList, endpoint: impl Into<String>) -> Self {
        Self { list, endpoint: endpoint.into(), account: None }
    }

    /// Sets the connected account (`acct_…`) whose events are listed.
    #[must_use]
    pub fn account(self, account: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..self }
    }

    /// Returns the list.
    #[must_use]
    pub fn list(&self) -> EventList {
        self.list
    }

    /// Returns the name of the endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the connected account, or `None` for the client's account.
    #[must_use]
    pub fn connected_account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Creates the request for the list, without a range of times.
    pub(super) fn request(&self, client: &Client) -> Request {
        let account = self.account.as_deref();
        match (self.list, account) {
            (EventList::Thin, Some(account)) => client.get(V2).context(account),
            (EventList::Thin, None) => client.get(V2),
            (list, account) => {
                let mut request = client.get(V1);
                if let Some(account) = account {
                    request = request.account(account);
                }
                match list {
                    EventList::Undelivered => request.query("delivery_success", "false"),
                    _ => request,
                }
            }
        }
    }

    /// Writes a time in the form of the list's filters.
    pub(super) fn time(&self, seconds: u64) -> String {
        match self.list {
            EventList::Undelivered | EventList::Snapshot => seconds.to_string(),
            EventList::Thin => {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
                humantime::format_rfc3339_seconds(time).to_string()
            }
        }
    }

    /// Reads an item of the list, with the identity that a webhook gives it.
    pub(super) fn event(&self, item: Box<RawValue>) -> Result<Event, EnvelopeError> {
        let json = String::from(Box::<str>::from(item));
        let fetched = AlreadyAuthenticated::fetched_from_stripe(json, &self.endpoint);
        Event::from_stripe_api(match &self.account {
            Some(account) => fetched.account(account),
            None => fetched,
        })
    }
}

impl fmt::Display for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.list {
            EventList::Undelivered | EventList::Snapshot => "v1",
            EventList::Thin => "v2",
        };
        write!(f, "{version}/{}/{}", self.endpoint, self.account.as_deref().unwrap_or("self"))
    }
}
