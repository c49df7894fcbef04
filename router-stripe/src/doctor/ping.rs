//! Ping events, which show that the events of a destination reach the program.

use std::{fmt, time::Duration};

use router_catalog::API_VERSION;
use serde::Deserialize;

use super::{
    Code, Destination, Finding,
    destination::{V1, V2},
};
use crate::{Client, Error};

/// A destination, and the ping event that Stripe sends to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ping {
    /// The destination.
    pub destination: Destination,
    /// The id of the ping event, `evt_…`, or the reason why Stripe was not asked for one.
    pub event: Result<String, Unpinged>,
}

/// The reason why a destination was not pinged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unpinged {
    /// The destination is disabled, so Stripe sends nothing to it.
    Disabled,
    /// The destination is a cloud platform. Its rules decide which events reach the program, and
    /// usually select event types. A missing ping event would not show that other events are lost.
    CloudPlatform,
    /// The destination is only in the API v1, which has no ping.
    ApiV1,
}

impl fmt::Display for Unpinged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "it is disabled",
            Self::CloudPlatform => "it is a cloud platform, whose rules may drop a ping event",
            Self::ApiV1 => "only the API v1 has it, which cannot ping",
        })
    }
}

impl Destination {
    /// Asks Stripe for a [ping event](https://docs.stripe.com/api/v2/core/events/ping) to the
    /// destination.
    pub(super) async fn ping(self, client: &Client) -> Result<Ping, Error> {
        #[derive(Deserialize)]
        struct PingEvent {
            id: String,
        }
        let event = match self.unpinged() {
            Some(reason) => Err(reason),
            None => {
                let path = format!("{V2}/{}/ping", self.id);
                let response = client.post(path).api_version(API_VERSION).send().await?;
                let PingEvent { id } = response.json()?;
                Ok(id)
            }
        };
        Ok(Ping { destination: self, event })
    }

    fn unpinged(&self) -> Option<Unpinged> {
        match self {
            Self { is_enabled: false, .. } => Some(Unpinged::Disabled),
            Self { list: V1, .. } => Some(Unpinged::ApiV1),
            Self { url: None, .. } => Some(Unpinged::CloudPlatform),
            _ => None,
        }
    }
}

impl Ping {
    /// Creates the finding that the program has not stored the ping event after this time. Returns
    /// `None` if the destination was not pinged.
    #[must_use]
    pub fn missing(&self, waited: Duration) -> Option<Finding> {
        let Self { destination, event } = self;
        let (id, event) = (&destination.id, event.as_ref().ok()?);
        let url = destination.url.as_deref().unwrap_or_default();
        let message = format!(
            "The ping event {event} of {id} to {url} did not arrive within {} s.",
            waited.as_secs_f64()
        );
        let remedy = format!(
            "Check that {url} reaches the server, that the server has the signing secret of {id}, \
             and that it stores events in this inbox. The recent deliveries of {id} in Stripe's \
             dashboard show the server's answer."
        );
        Some(Finding::new(Code::Ping, message, remedy).with_destination(destination))
    }

    /// Creates the finding that no destination was pinged. Returns `None` if one was.
    #[must_use]
    pub fn none_sent(pings: &[Self]) -> Option<Finding> {
        let message = "No destination was pinged: none is an enabled webhook endpoint.".to_owned();
        let remedy = "Create or enable a webhook endpoint, or pass its URL.".to_owned();
        let is_sent = pings.iter().any(|ping| ping.event.is_ok());
        (!is_sent).then(|| Finding::new(Code::Ping, message, remedy))
    }
}
