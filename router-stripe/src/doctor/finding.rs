//! A finding, and the request that fixes it.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::destination::{Destination, V1};
use crate::{Client, Error};

/// A fault in the setup of a program or of its destinations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The code, which never changes.
    pub code: Code,
    /// The severity of the finding.
    pub severity: Severity,
    /// The ids of the destinations concerned.
    pub destinations: Vec<String>,
    /// The event types concerned. Empty if the finding is not about event types.
    pub event_types: Vec<String>,
    /// The message, a sentence that names destinations, handlers and event types.
    pub message: String,
    /// The impact on the program.
    pub impact: String,
    /// The remedy.
    pub remedy: String,
    /// The request that fixes the finding, if one request of the API can.
    pub fix: Option<Fix>,
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

/// The code of a finding. Its [text](Code::as_str) is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The account has no destination, or none with one of the URLs.
    NoDestination,
    /// No destination sends events of a type that a handler takes.
    NotEnabled,
    /// A handler takes events of connected accounts, which no destination sends.
    Scope,
    /// A handler takes snapshot events and the destination sends thin events, or the reverse.
    PayloadKind,
    /// A destination is disabled.
    Disabled,
    /// The signing secret is missing or malformed.
    Secret,
    /// A ping event did not reach the program.
    Ping,
    /// The clock differs from Stripe's by more than 5 s.
    ClockSkew,
    /// Snapshot events have another API version than the program expects.
    ApiVersion,
    /// Two destinations send the same events to one URL.
    DuplicateUrl,
    /// A destination's URL is `http:`.
    InsecureUrl,
    /// A destination sends events of all types.
    Wildcard,
    /// A destination sends events of a type that no handler takes.
    Unhandled,
    /// A handler takes events of a type whose first part begins no known event type of Stripe.
    UnknownType,
}

/// A request to Stripe's API that fixes a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    method: &'static str,
    path: String,
    /// The parameters: a form for the API v1, JSON for v2.
    body: Value,
    /// The event types to add to those that are enabled when the request is sent.
    #[serde(skip)]
    added: Vec<String>,
}

impl Finding {
    pub(super) fn new(code: Code, message: String, remedy: String) -> Self {
        Self {
            code,
            severity: code.severity(),
            destinations: Vec::new(),
            event_types: Vec::new(),
            message,
            impact: code.impact().to_owned(),
            remedy,
            fix: None,
        }
    }

    pub(super) fn with_destination(mut self, destination: &Destination) -> Self {
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
            Self::Ping => "ping",
            Self::ClockSkew => "clock_skew",
            Self::ApiVersion => "api_version",
            Self::DuplicateUrl => "duplicate_url",
            Self::InsecureUrl => "insecure_url",
            Self::Wildcard => "wildcard",
            Self::Unhandled => "unhandled",
            Self::UnknownType => "unknown_type",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::NoDestination
            | Self::NotEnabled
            | Self::Scope
            | Self::PayloadKind
            | Self::Disabled
            | Self::Secret
            | Self::Ping => Severity::Error,
            Self::ClockSkew | Self::ApiVersion | Self::DuplicateUrl | Self::InsecureUrl => {
                Severity::Warning
            }
            Self::Wildcard | Self::Unhandled | Self::UnknownType => Severity::Info,
        }
    }

    fn impact(self) -> &'static str {
        match self {
            Self::NoDestination => "Stripe sends no event to a URL without a destination.",
            Self::NotEnabled => "Stripe does not send these events, so the handlers never run.",
            Self::Scope => {
                "Stripe does not send the events of connected accounts, so the handlers never run."
            }
            Self::PayloadKind => {
                "A snapshot event and its thin event have different types, so the handlers never run."
            }
            Self::Disabled => "Stripe sends nothing to a disabled destination.",
            Self::Secret => "The server cannot start, or refuses every event.",
            Self::Ping => "Events may not reach the program.",
            Self::ClockSkew => {
                "A signature is valid for 300 s by default, measured with the server's clock."
            }
            Self::ApiVersion => "Objects may have other fields than the program's types.",
            Self::DuplicateUrl => {
                "Each event arrives twice, and each destination signs with its own secret."
            }
            Self::InsecureUrl => {
                "Events are readable in transit, and Stripe refuses http in live mode."
            }
            Self::Wildcard | Self::Unhandled => {
                "The server receives and ignores events that no handler takes."
            }
            Self::UnknownType => "Stripe does not send these events.",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The field of a destination that [`Fix::enable_events`] changes.
#[derive(Deserialize)]
struct EnabledEvents {
    enabled_events: Vec<String>,
}

impl Fix {
    /// Adds event types to those that the destination sends.
    pub(super) fn enable_events(destination: &Destination, added: &[String]) -> Self {
        let events: Vec<_> = destination.enabled_events.iter().chain(added).collect();
        let fix = Self::new(destination, "", json!({"enabled_events": events}));
        Self { added: added.to_vec(), ..fix }
    }

    /// Enables the destination.
    pub(super) fn enable(destination: &Destination) -> Self {
        match destination.list {
            V1 => Self::new(destination, "", json!({"disabled": false})),
            _ => Self::new(destination, "/enable", json!({})),
        }
    }

    fn new(destination: &Destination, action: &str, body: Value) -> Self {
        let Destination { list, id, .. } = destination;
        Self { method: "POST", path: format!("{list}/{id}{action}"), body, added: Vec::new() }
    }

    /// Sends the request. Event types are added to those that are enabled now.
    ///
    /// # Errors
    ///
    /// Fails if the request fails. A restricted key needs the permission "Webhook Endpoints, Event
    /// Destinations": write.
    pub async fn send(&self, client: &Client) -> Result<(), Error> {
        let mut fix = self.clone();
        if !self.added.is_empty() {
            // The request replaces the list, which may have changed since it was read.
            let request = client.get(&*self.path).api_version(router_catalog::API_VERSION);
            let EnabledEvents { mut enabled_events } = request.send().await?.json()?;
            for event_type in &self.added {
                if !enabled_events.contains(event_type) {
                    enabled_events.push(event_type.clone());
                }
            }
            fix.body = json!({"enabled_events": enabled_events});
        }
        let request = client.post(&*fix.path).api_version(router_catalog::API_VERSION);
        let request = if fix.is_form() {
            let parameters = fix.form().into_iter();
            parameters.fold(request, |request, (name, value)| request.form(name, value))
        } else {
            request.json(fix.body)
        };
        request.send().await.map(drop)
    }

    fn is_form(&self) -> bool {
        self.path.starts_with(V1)
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

impl fmt::Display for Fix {
    /// Writes the method, the path and the parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if self.is_form() {
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
