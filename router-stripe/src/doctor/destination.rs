//! The destinations of an account's events, from Stripe's API or from a file.

use std::collections::BTreeSet;

use router_catalog::Kind;
use serde::Deserialize;
use serde_json::Value;

pub(crate) const V1: &str = "/v1/webhook_endpoints";
pub(crate) const V2: &str = "/v2/core/event_destinations";

/// A destination of an account's events: an [event destination] or a [webhook endpoint].
///
/// [event destination]: https://docs.stripe.com/api/v2/core/event-destinations/object
/// [webhook endpoint]: https://docs.stripe.com/api/webhook_endpoints/object
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Destination {
    /// The id, such as `we_…` or `ed_…`.
    pub id: String,
    /// The URL of a webhook endpoint. `None` for a cloud platform.
    pub url: Option<String>,
    /// `false` if Stripe sends nothing to the destination.
    pub is_enabled: bool,
    /// The format of the events.
    pub payload: Kind,
    /// The accounts whose events are sent, such as `@self` and `@accounts`. `None` if the
    /// destination is only in the API v1, which does not return the accounts.
    pub events_from: Option<Vec<String>>,
    /// The event types that are sent. `*` means all, except those that Stripe sends only if they
    /// are named.
    pub enabled_events: Vec<String>,
    /// The API version of snapshot events. `None` for the account's default version.
    pub api_version: Option<String>,
    /// `false` in test mode and in a sandbox.
    pub livemode: Option<bool>,
    /// The path of the list that contains the destination: [`V1`] or [`V2`].
    pub(super) list: &'static str,
}

/// The fields of the objects of both lists.
#[derive(Deserialize)]
struct Fields {
    object: String,
    status: String,
    enabled_events: Vec<String>,
    livemode: Option<bool>,
    // v1
    url: Option<String>,
    api_version: Option<String>,
    // v2
    event_payload: Option<String>,
    events_from: Option<Vec<String>>,
    snapshot_api_version: Option<String>,
    webhook_endpoint: Option<WebhookEndpoint>,
}

#[derive(Deserialize)]
struct WebhookEndpoint {
    url: Option<String>,
}

impl Destination {
    /// Parses the JSON of destinations: objects or lists, as `GET /v1/webhook_endpoints` and
    /// `GET /v2/core/event_destinations` return them, one after the other.
    ///
    /// A webhook endpoint that is in both lists becomes one destination.
    ///
    /// # Errors
    ///
    /// Fails if the text is not JSON of this form, or if a list has further pages.
    pub fn parse_all(json: &str) -> Result<Vec<Self>, String> {
        let mut objects = Vec::new();
        for value in serde_json::Deserializer::from_str(json).into_iter::<Value>() {
            match value.map_err(|error| format!("not JSON: {error}"))? {
                Value::Array(items) => objects.extend(items),
                mut list if list["data"].is_array() => {
                    if list["has_more"] == true || list["next_page_url"].is_string() {
                        return Err("a list has further pages; export all pages".to_owned());
                    }
                    objects.extend(
                        list["data"].as_array_mut().map(std::mem::take).unwrap_or_default(),
                    );
                }
                object => objects.push(object),
            }
        }
        Self::merge(objects)
    }

    /// Parses the objects of both lists, and merges those of one webhook endpoint.
    pub(super) fn merge(objects: Vec<Value>) -> Result<Vec<Self>, String> {
        let parsed: Result<Vec<_>, _> = objects.into_iter().map(Self::parse).collect();
        let (mut merged, v1): (Vec<_>, Vec<_>) =
            parsed?.into_iter().partition(|destination| destination.list == V2);
        let mut is_paired = vec![false; merged.len()];
        for endpoint in v1 {
            // The event destination of a webhook endpoint has more fields than the endpoint. Stripe
            // does not document that both have the same id.
            let pair = merged
                .iter()
                .zip(&is_paired)
                .position(|(other, is_paired)| !is_paired && other.is_same(&endpoint));
            match pair {
                Some(index) => {
                    is_paired[index] = true;
                    merged[index].url = merged[index].url.take().or(endpoint.url);
                }
                None => {
                    merged.push(endpoint);
                    is_paired.push(true);
                }
            }
        }
        Ok(merged)
    }

    fn parse(object: Value) -> Result<Self, String> {
        let id = object["id"].as_str().ok_or("an object has no id")?.to_owned();
        let fields: Fields = serde_json::from_value(object)
            .map_err(|error| format!("{id} is not an event destination: {error}"))?;
        let list = match &*fields.object {
            "webhook_endpoint" => V1,
            "v2.core.event_destination" => V2,
            other => return Err(format!("{id} is a `{other}`, not an event destination")),
        };
        let payload = match fields.event_payload.as_deref() {
            Some("thin") => Kind::Thin,
            _ => Kind::Snapshot,
        };
        // Earlier API versions name the accounts without `@`.
        let account = |from: String| match &*from {
            "self" => "@self".to_owned(),
            "other_accounts" => "@accounts".to_owned(),
            _ => from,
        };
        let events_from =
            fields.events_from.map(|from| from.into_iter().map(account).collect::<Vec<_>>());
        Ok(Self {
            id,
            url: fields.webhook_endpoint.and_then(|endpoint| endpoint.url).or(fields.url),
            is_enabled: fields.status != "disabled",
            payload,
            events_from,
            enabled_events: fields.enabled_events,
            api_version: fields.snapshot_api_version.or(fields.api_version),
            livemode: fields.livemode,
            list,
        })
    }

    /// Returns whether the event destination is the same as a webhook endpoint.
    fn is_same(&self, endpoint: &Self) -> bool {
        let is_alike = self.url.is_some()
            && self.url == endpoint.url
            && self.payload == endpoint.payload
            && self.is_enabled == endpoint.is_enabled
            && self.api_version == endpoint.api_version
            && sorted(&self.enabled_events) == sorted(&endpoint.enabled_events);
        self.id == endpoint.id || is_alike
    }

    /// Returns whether the destination has this URL, with or without a query.
    pub(super) fn has_url(&self, url: &str) -> bool {
        let found = self.url.as_deref().unwrap_or_default();
        found == url || found.split('?').next() == Some(url)
    }

    /// Returns whether events of all types are enabled.
    pub(super) fn has_wildcard(&self) -> bool {
        self.enabled_events.iter().any(|enabled| enabled == "*")
    }

    /// Returns whether events of this type are enabled, in either format.
    pub(super) fn enables(&self, event_type: &str) -> bool {
        self.has_wildcard() || self.enabled_events.iter().any(|enabled| enabled == event_type)
    }

    /// Returns whether events of this type are enabled, in the format of the type.
    pub(super) fn sends(&self, event_type: &str) -> bool {
        self.payload == kind_of(event_type) && self.enables(event_type)
    }

    /// Returns whether events of connected accounts are sent; `None` if it is unknown.
    pub(super) fn sends_connected(&self) -> Option<bool> {
        let is_connected = |from: &String| from.ends_with("@accounts");
        self.events_from.as_ref().map(|from| from.iter().any(is_connected))
    }

    /// Returns whether events of the account itself are sent; `true` if it is unknown.
    pub(super) fn may_send_own(&self) -> bool {
        self.events_from.as_ref().is_none_or(|from| from.iter().any(|from| from == "@self"))
    }

    /// Returns whether some events are sent to both. `false` if it is unknown.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let share =
            |left: &[String], right: &[String]| left.iter().any(|item| right.contains(item));
        let is_shared = self.has_wildcard()
            || other.has_wildcard()
            || share(&self.enabled_events, &other.enabled_events);
        self.payload == other.payload
            && is_shared
            && matches!((&self.events_from, &other.events_from), (Some(a), Some(b)) if share(a, b))
    }
}

fn sorted(events: &[String]) -> BTreeSet<&String> {
    events.iter().collect()
}

/// Returns the format in which Stripe sends events of this type.
pub(super) fn kind_of(event_type: &str) -> Kind {
    match router_catalog::lookup(event_type) {
        Some(known) => known.kind,
        None if event_type.starts_with("v1.") || event_type.starts_with("v2.") => Kind::Thin,
        None => Kind::Snapshot,
    }
}
