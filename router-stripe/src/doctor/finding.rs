//! A finding, and the request that mends it.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::destination::{Destination, V1};
use crate::{Client, Error};

/// A difference between the events that a program wants and those that Stripe sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The stable code.
    pub code: Code,
    /// The severity.
    pub severity: Severity,
    /// The ids of the destinations.
    pub destinations: Vec<String>,
    /// The event types; empty if the finding is about all.
    pub event_types: Vec<String>,
    /// The fact.
    pub what: String,
    /// The consequence.
    pub why: String,
    /// The remedy.
    pub cure: String,
    /// The request that mends it, if one request of the API can.
    pub mend: Option<Mend>,
}

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Events are lost or refused.
    Error,
    /// Events may be lost, refused or handled twice.
    Warning,
    /// No event is lost.
    Info,
}

/// The code of a finding. Its text does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// No destination has one of the URLs.
    NoDestination,
    /// No destination sends events of a type that a handler takes.
    NotEnabled,
    /// A handler takes events of connected accounts, and no destination sends them.
    Scope,
    /// A handler takes snapshot events and the destination sends thin events, or the reverse.
    PayloadKind,
    /// A destination is disabled.
    Disabled,
    /// The signing secret cannot be one.
    Secret,
    /// The clock differs from Stripe's.
    ClockSkew,
    /// Snapshot events have another API version than the program expects.
    ApiVersion,
    /// Two destinations send the same events to one URL.
    DuplicateUrl,
    /// The URL is `http:`.
    InsecureUrl,
    /// A destination sends events of all types.
    Wildcard,
    /// A destination sends events of a type that no handler takes.
    Unhandled,
}

/// A request that mends a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mend {
    method: &'static str,
    path: String,
    /// The parameters: a form for the API v1, JSON for v2.
    body: Value,
}

impl Finding {
    pub(super) fn new(code: Code, what: String, cure: String) -> Self {
        Self {
            code,
            severity: code.severity(),
            destinations: Vec::new(),
            event_types: Vec::new(),
            what,
            why: code.why().to_owned(),
            cure,
            mend: None,
        }
    }

    pub(super) fn at(mut self, destination: &Destination) -> Self {
        self.destinations.push(destination.id.clone());
        self
    }
}

impl Code {
    /// Returns the stable text of the code, such as `not_enabled`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoDestination => "no_destination",
            Self::NotEnabled => "not_enabled",
            Self::Scope => "scope",
            Self::PayloadKind => "payload_kind",
            Self::Disabled => "disabled",
            Self::Secret => "secret",
            Self::ClockSkew => "clock_skew",
            Self::ApiVersion => "api_version",
            Self::DuplicateUrl => "duplicate_url",
            Self::InsecureUrl => "insecure_url",
            Self::Wildcard => "wildcard",
            Self::Unhandled => "unhandled",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::NoDestination
            | Self::NotEnabled
            | Self::Scope
            | Self::PayloadKind
            | Self::Disabled
            | Self::Secret => Severity::Error,
            Self::ClockSkew | Self::ApiVersion | Self::DuplicateUrl | Self::InsecureUrl => {
                Severity::Warning
            }
            Self::Wildcard | Self::Unhandled => Severity::Info,
        }
    }

    fn why(self) -> &'static str {
        match self {
            Self::NoDestination => "Stripe sends no event to the program.",
            Self::NotEnabled => "Stripe does not send these events, so the handlers never run.",
            Self::Scope => {
                "Stripe does not send the events of connected accounts, so the handlers never run."
            }
            Self::PayloadKind => {
                "A snapshot event and its thin event have different types, so the handlers never run."
            }
            Self::Disabled => "Stripe sends nothing to a disabled destination.",
            Self::Secret => "The server cannot start, or refuses every event.",
            Self::ClockSkew => {
                "A signature is valid for 300 s by default, measured with the server's clock."
            }
            Self::ApiVersion => "Objects may have other fields than the program's types.",
            Self::DuplicateUrl => {
                "Each event arrives twice, and each destination signs with a secret of its own."
            }
            Self::InsecureUrl => {
                "Events can be read on their way, and Stripe refuses http in live mode."
            }
            Self::Wildcard => "The server is sent events that no handler takes.",
            Self::Unhandled => "The server is sent events that no handler takes.",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Mend {
    /// Adds event types to those that the destination sends.
    pub(super) fn enable_events(destination: &Destination, added: &[String]) -> Self {
        let events: Vec<_> = destination.enabled_events.iter().chain(added).collect();
        Self::new(destination, "", json!({"enabled_events": events}))
    }

    pub(super) fn enable(destination: &Destination) -> Self {
        match destination.list {
            V1 => Self::new(destination, "", json!({"disabled": false})),
            _ => Self::new(destination, "/enable", json!({})),
        }
    }

    fn new(destination: &Destination, action: &str, body: Value) -> Self {
        let Destination { list, id, .. } = destination;
        Self { method: "POST", path: format!("{list}/{id}{action}"), body }
    }

    /// Sends the request.
    ///
    /// # Errors
    ///
    /// Fails if the request fails. A restricted key needs write access to webhook endpoints.
    pub async fn send(&self, client: &Client) -> Result<(), Error> {
        let request = client.post(&*self.path).api_version(router_catalog::API_VERSION);
        let request = match self.path.starts_with(V1) {
            true => self
                .form()
                .into_iter()
                .fold(request, |request, (name, value)| request.form(name, value)),
            false => request.json(self.body.clone()),
        };
        request.send().await.map(drop)
    }

    /// Returns the parameters as those of a form.
    fn form(&self) -> Vec<(String, String)> {
        let mut form = Vec::new();
        for (name, value) in self.body.as_object().into_iter().flatten() {
            match value.as_array() {
                Some(items) => {
                    form.extend(items.iter().map(|item| (format!("{name}[]"), text(item))));
                }
                None => form.push((name.clone(), text(value))),
            }
        }
        form
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl fmt::Display for Mend {
    /// Writes the method, the path and the parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if self.path.starts_with(V1) {
            for (name, value) in self.form() {
                write!(f, " {name}={value}")?;
            }
            return Ok(());
        }
        match &self.body {
            Value::Object(fields) if fields.is_empty() => Ok(()),
            body => write!(f, " {body}"),
        }
    }
}
