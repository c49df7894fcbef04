//! Events without a Stripe signature: those that a cloud platform delivers and authenticates, each
//! in the platform's envelope, and those that the program has fetched from Stripe's API.
//!
//! `wrapped.rs` has the events of other providers.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    Event, Receipt,
    envelope::{decode_text, expect_object, expect_type, unset_slot},
    error::{EnvelopeError, EnvelopeProblem, Fault, JsonType, SourceError},
    scanner::{Key, Scanner, Value},
};
use crate::signature::EndpointName;

/// A payload without a signature of Stripe, with the caller's assertion that it is authentic.
/// Nothing is verified here.
///
/// There are three assertions: the payload is from a cloud platform
/// ([`by_the_platform`](Self::by_the_platform)), from Stripe's API
/// ([`fetched_from_stripe`](Self::fetched_from_stripe)), or from another provider whose signature
/// the caller has verified ([`by_its_signature`](Self::by_its_signature)).
///
/// Use [`by_the_platform`](Self::by_the_platform) only for a payload with which the platform itself
/// invokes this program: an AWS Lambda function that is the target of a rule on the partner event
/// bus, or an Azure function with an Event Grid trigger. Never use it for the body of an HTTP
/// request, which anyone can send; Stripe's requests go through an [`Endpoint`](crate::Endpoint),
/// which verifies the signature.
///
/// ```
/// use bytes::Bytes;
/// use router_core::{BoxError, Event, Router, event::AlreadyAuthenticated};
/// use tower_service::Service as _;
///
/// /// Called by the Lambda runtime. If it returns an error, Lambda retries the invocation.
/// async fn handle(payload: Bytes, mut router: Router) -> Result<(), BoxError> {
///     let event = Event::from_event_bridge(AlreadyAuthenticated::by_the_platform(payload))?;
///     let report = router.call(event).await?;
///     match report.needs_retry() {
///         true => Err(format!("{} must be retried", report.event().id()).into()),
///         false => Ok(()),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let router = Router::builder()
///     .handler("log", ["customer.*"], async |event: Event| println!("{event:?}"))
///     .build()?;
/// let payload = r#"{
///     "version": "0", "id": "17e8dff5-d6cd-3770-ace9-aeac02b6ac3f",
///     "detail-type": "customer.created", "source": "aws.partner/stripe.com/ed_123",
///     "account": "111122223333", "time": "2026-01-31T12:00:00Z", "region": "us-west-2",
///     "resources": [],
///     "detail": {
///         "id": "evt_1", "object": "event", "type": "customer.created",
///         "data": {"object": {"id": "cus_1", "object": "customer"}}
///     }
/// }"#;
/// handle(payload.into(), router).await
/// # }
/// ```
///
/// With `lambda_runtime`, take a `LambdaEvent<Box<serde_json::value::RawValue>>`, whose text is the
/// unmodified payload.
#[derive(Clone)]
#[must_use = "pass it to a constructor of `Event`, such as `Event::from_event_bridge`"]
pub struct AlreadyAuthenticated {
    body: Bytes,
    endpoint: Option<EndpointName>,
    account: Option<String>,
}

impl AlreadyAuthenticated {
    /// Asserts that the platform itself delivered these bytes to this program.
    pub fn by_the_platform(bytes: impl Into<Bytes>) -> Self {
        Self { body: bytes.into(), endpoint: None, account: None }
    }

    /// Asserts that this program has fetched these bytes from Stripe's API, with its own key.
    ///
    /// `endpoint` is the name that [`Event::endpoint`] returns: see [`Event::from_stripe_api`].
    pub fn fetched_from_stripe(bytes: impl Into<Bytes>, endpoint: &str) -> Self {
        Self::by_the_platform(bytes).endpoint(endpoint)
    }

    /// Asserts that these bytes are the body of another provider's webhook, and that this program
    /// has verified the provider's signature of them: see [`Event::wrapped`].
    pub fn by_its_signature(bytes: impl Into<Bytes>) -> Self {
        Self::by_the_platform(bytes)
    }

    /// Sets the name that [`Event::endpoint`] returns, for a program with several event
    /// destinations at Stripe. Default: `event_bridge` or `event_grid`, and for another provider's
    /// webhook the provider's name.
    pub fn endpoint(self, name: &str) -> Self {
        Self { endpoint: Some(EndpointName::new(name)), ..self }
    }

    /// Sets the connected account (`acct_…`) of an event that names none.
    ///
    /// Stripe's list of a connected account's events (`GET /v1/events` with `Stripe-Account`) may
    /// omit the account, but a webhook for the same event names it. Without it the two have
    /// different [keys](Event::key), and every handler would run for both.
    ///
    /// The payload gets the account as a webhook has it: in the `account` of a snapshot event, or
    /// in the `context` of a thin event. An event that names an account or a context is unchanged.
    ///
    /// ```
    /// use router_core::{Event, event::AlreadyAuthenticated};
    ///
    /// let listed = r#"{
    ///     "id": "evt_1", "object": "event", "type": "customer.created",
    ///     "data": {"object": {"id": "cus_1", "object": "customer"}}
    /// }"#;
    /// let fetched = AlreadyAuthenticated::fetched_from_stripe(listed, "default");
    /// let event = Event::from_stripe_api(fetched.account("acct_1"))?;
    /// assert_eq!(event.account(), Some("acct_1"));
    /// assert_eq!(event.key().to_string(), "default/acct_1/evt_1/customer.created");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn account(self, id: impl Into<String>) -> Self {
        Self { account: Some(id.into()), ..self }
    }

    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(super) fn account_id(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Returns the endpoint's name, or this default.
    fn endpoint_or(&self, default: &str) -> EndpointName {
        self.endpoint.clone().unwrap_or_else(|| EndpointName::new(default))
    }

    /// Reads the event, which is the whole payload or a part of it, and adds the account to it.
    pub(super) fn event(&self, payload: ByteString, default: &str) -> Result<Event, EnvelopeError> {
        let receipt = || Receipt::new(self.endpoint_or(default), None);
        let event = Event::from_text(payload, receipt())?;
        match &self.account {
            Some(account) if event.account().or(event.context()).is_none() => {
                let payload = with_account(&event, account)
                    .map_err(|fault| EnvelopeError::locate(event.payload(), fault))?;
                Event::from_text(payload.into(), receipt())
            }
            _ => Ok(event),
        }
    }
}

/// Omits the payload, which contains personal data.
impl fmt::Debug for AlreadyAuthenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { body, endpoint, account } = self;
        f.debug_struct("AlreadyAuthenticated")
            .field("bytes", &body.len())
            .field("endpoint", endpoint)
            .field("account", account)
            .finish()
    }
}

/// Returns the payload of an event that names no account, with this account in it.
fn with_account(event: &Event, account: &str) -> Result<String, Fault> {
    let field = if event.is_thin() { "context" } else { "account" };
    let payload = event.payload_text();
    let mut scanner = Scanner::new(payload);
    scanner.skip_whitespace();
    let mut empty = None;
    let object = scanner.walk(|scanner, key| {
        if key.name().as_deref() != Some(field) {
            return scanner.skip();
        }
        // Of several, the last one counts.
        empty = Some(scanner.value()?);
        Ok(())
    })?;
    let account = serde_json::Value::from(account);
    Ok(match empty {
        // Null or the empty text. A second field of this name would be ambiguous.
        Some(value) => {
            format!("{}{account}{}", &payload[..value.start], &payload[value.end..])
        }
        None => {
            let start = object.start + 1;
            format!(r#"{}"{field}":{account},{}"#, &payload[..start], &payload[start..])
        }
    })
}

/// The envelope that a platform wraps around an event.
struct Platform {
    name: &'static str,
    /// The default name of the endpoint.
    endpoint: &'static str,
    /// The field that identifies the platform's envelope.
    marker_field: &'static str,
    /// The value of the marker field, if it is always the same.
    marker_value: Option<&'static str>,
    /// The value of `source` for Stripe's events, without the slash and the destination's id that
    /// may follow.
    source_prefix: &'static str,
    /// The field that holds Stripe's event.
    event_field: &'static str,
}

const EVENT_BRIDGE: Platform = Platform {
    name: "Amazon EventBridge",
    endpoint: "event_bridge",
    marker_field: "detail-type",
    marker_value: None,
    source_prefix: "aws.partner/stripe.com",
    event_field: "detail",
};

const EVENT_GRID: Platform = Platform {
    name: "Azure Event Grid",
    endpoint: "event_grid",
    marker_field: "specversion",
    marker_value: Some("1.0"),
    source_prefix: "/providers/stripe",
    event_field: "data",
};

impl Event {
    /// Reads an event, snapshot or thin, that [Amazon EventBridge][stripe] delivered.
    ///
    /// The event is the `detail` of [AWS's envelope][aws], whose `source` begins with
    /// `aws.partner/stripe.com`. [`payload`](Event::payload) returns the `detail`, byte for byte.
    ///
    /// [stripe]: https://docs.stripe.com/event-destinations/eventbridge
    /// [aws]: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
    ///
    /// # Errors
    ///
    /// Fails if the payload is not an EventBridge envelope with one event from Stripe.
    /// [`SourceError`] describes the problem and names the party that must fix it.
    pub fn from_event_bridge(delivered: AlreadyAuthenticated) -> Result<Self, SourceError> {
        EVENT_BRIDGE.open(delivered)
    }

    /// Reads an event, snapshot or thin, that [Azure Event Grid][stripe] delivered.
    ///
    /// The event is the `data` of a [CloudEvent 1.0][azure], whose `source` begins with
    /// `/providers/stripe`. [`payload`](Event::payload) returns the `data`, byte for byte.
    ///
    /// An array of one event is accepted too. Event Grid sends several events in one array only if
    /// [output batching][batching] is turned on; the caller must then pass each event separately.
    /// Event Grid's webhook validation is an HTTP handshake that does not concern a function with
    /// an Event Grid trigger.
    ///
    /// [stripe]: https://docs.stripe.com/event-destinations/eventgrid
    /// [azure]: https://learn.microsoft.com/azure/event-grid/cloud-event-schema
    /// [batching]: https://learn.microsoft.com/azure/event-grid/delivery-and-retry#output-batching
    ///
    /// # Errors
    ///
    /// Fails if the payload is not a CloudEvent with one event from Stripe. [`SourceError`]
    /// describes the problem and names the party that must fix it.
    pub fn from_event_grid(delivered: AlreadyAuthenticated) -> Result<Self, SourceError> {
        EVENT_GRID.open(delivered)
    }

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
    ///   it is thin, in its `context`. [`AlreadyAuthenticated::account`] adds it if the list omits
    ///   it.
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
        fetched.event(Event::text_of(&fetched.body)?, EndpointName::DEFAULT)
    }
}

impl Platform {
    fn open(&self, delivered: AlreadyAuthenticated) -> Result<Event, SourceError> {
        let body = &delivered.body;
        let platform = self.name;
        let locate = |fault| {
            let EnvelopeError { problem, line, column } = EnvelopeError::locate(body, fault);
            SourceError::NotAnEnvelope { platform, problem, line, column }
        };
        let text =
            ByteString::try_from(body.clone()).map_err(|error| locate(Fault::not_utf8(error)))?;
        let (events, fields) = Fields::scan(&text, self).map_err(locate)?;
        if events != 1 {
            return Err(SourceError::Batch { platform, events });
        }
        if fields.is_bare_event(&text) {
            return Err(SourceError::NoEnvelope { platform });
        }
        let source = fields.check_source(&text, self).map_err(locate)?;
        let from_stripe = source.strip_prefix(self.source_prefix);
        if !from_stripe.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let found = source.chars().take(128).collect();
            return Err(SourceError::NotFromStripe {
                platform,
                expected: self.source_prefix,
                found,
            });
        }
        let event = fields.required(self.event_field, fields.event).map_err(locate)?;
        let payload = text.slice_ref(&text[event.range()]);
        delivered.event(payload, self.endpoint).map_err(|error| SourceError::NotAnEvent {
            platform,
            field: self.event_field,
            error,
        })
    }
}

/// The values of an envelope's fields, not yet interpreted.
#[derive(Default)]
struct Fields {
    /// The offset of the envelope's closing bracket.
    end: usize,
    marker: Option<Value>,
    source: Option<Value>,
    event: Option<Value>,
    /// The value of `object`, which only an event without an envelope has.
    object: Option<Value>,
}

impl Fields {
    /// Returns the number of envelopes in the text, and the fields of the last one.
    fn scan(text: &str, platform: &Platform) -> Result<(usize, Self), Fault> {
        let mut scanner = Scanner::new(text);
        scanner.skip_whitespace();
        let (mut events, mut last) = (0, Self::default());
        let mut envelope = |scanner: &mut Scanner<'_>| {
            let mut fields = Self::default();
            let value = scanner.walk(|scanner, key| fields.field(platform, scanner, &key))?;
            expect_object(value)?;
            fields.end = value.end - 1;
            (events, last) = (events + 1, fields);
            Ok(())
        };
        match scanner.begins_array() {
            true => drop(scanner.items(envelope)?),
            false => envelope(&mut scanner)?,
        }
        scanner.end()?;
        Ok((events, last))
    }

    fn field(
        &mut self,
        platform: &Platform,
        scanner: &mut Scanner<'_>,
        key: &Key<'_>,
    ) -> Result<(), Fault> {
        let name = key.name();
        let slot = match name.as_deref() {
            Some("source") => unset_slot(&mut self.source, "source", key)?,
            Some("object") => &mut self.object,
            Some(name) if name == platform.marker_field => {
                unset_slot(&mut self.marker, platform.marker_field, key)?
            }
            Some(name) if name == platform.event_field => {
                unset_slot(&mut self.event, platform.event_field, key)?
            }
            _ => return scanner.skip(),
        };
        *slot = Some(scanner.value()?);
        Ok(())
    }

    fn is_bare_event(&self, text: &str) -> bool {
        let object = self.object.map(|object| &text[object.range()]);
        self.marker.is_none() && matches!(object, Some(r#""event""# | r#""v2.core.event""#))
    }

    /// Checks that this is the platform's envelope, and returns its source.
    fn check_source(&self, text: &str, platform: &Platform) -> Result<String, Fault> {
        let required_text = |field, value| {
            let value = self.required(field, value)?;
            expect_type(field, value, JsonType::String)?;
            decode_text(field, value, text).map(|decoded| (value, decoded.as_str(text).to_owned()))
        };
        let (value, marker) = required_text(platform.marker_field, self.marker)?;
        if platform.marker_value.is_some_and(|expected| marker != expected) {
            let expected = "\"1.0\", the version of CloudEvents";
            let problem = EnvelopeProblem::Unreadable { field: platform.marker_field, expected };
            return Err(Fault { problem, offset: value.start });
        }
        required_text("source", self.source).map(|(_, source)| source)
    }

    fn required(&self, field: &'static str, value: Option<Value>) -> Result<Value, Fault> {
        value.ok_or(Fault { problem: EnvelopeProblem::Missing(field), offset: self.end })
    }
}
