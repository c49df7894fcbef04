//! Stripe's events as a cloud platform hands them on: in an envelope of the platform's, and
//! authenticated by it instead of by a signature.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::{
    Event,
    envelope::{expect, expect_object, text, unset},
    error::{EnvelopeError, EnvelopeProblem, JsonType, SourceError},
    scanner::{Fault, Key, Scanner, Value},
};
use crate::signature::EndpointName;

/// What a cloud platform has handed to this program, and the caller's word that it was the platform:
/// nothing is verified here, as there is no signature.
///
/// It is for what the platform itself invokes this program with: an AWS Lambda function that is the
/// target of a rule on the partner's event bus, an Azure function with an Event Grid trigger. It is
/// never for the body of an HTTP request, which anybody can send; that goes through an
/// [`Endpoint`](crate::Endpoint).
///
/// ```
/// use bytes::Bytes;
/// use router_core::{BoxError, Event, Router, event::AlreadyAuthenticated};
/// use tower_service::Service as _;
///
/// /// What the Lambda runtime calls. An error makes Lambda try again.
/// async fn handle(payload: Bytes, mut router: Router) -> Result<(), BoxError> {
///     let event = Event::from_event_bridge(AlreadyAuthenticated::by_the_platform(payload))?;
///     let report = router.call(event).await?;
///     match report.needs_retry() {
///         true => Err(format!("{} is to be tried again", report.event().id()).into()),
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
/// With `lambda_runtime`, take a `LambdaEvent<Box<serde_json::value::RawValue>>`, whose text is what
/// was sent.
#[derive(Clone)]
#[must_use = "it becomes an event by `Event::from_event_bridge` or `Event::from_event_grid`"]
pub struct AlreadyAuthenticated {
    body: Bytes,
    endpoint: Option<EndpointName>,
}

impl AlreadyAuthenticated {
    /// Says that the platform itself, and nobody else, has handed these bytes to this program.
    pub fn by_the_platform(bytes: impl Into<Bytes>) -> Self {
        Self { body: bytes.into(), endpoint: None }
    }

    /// The name that [`Event::endpoint`] gives; `event_bridge` or `event_grid` by default. For a
    /// program with several destinations at Stripe.
    pub fn endpoint(self, name: &str) -> Self {
        Self { endpoint: Some(EndpointName::new(name)), ..self }
    }
}

/// Shows none of the data: that is people's names and addresses.
impl fmt::Debug for AlreadyAuthenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { body, endpoint } = self;
        f.debug_struct("AlreadyAuthenticated")
            .field("bytes", &body.len())
            .field("endpoint", endpoint)
            .finish()
    }
}

/// What one platform writes around an event.
struct Platform {
    name: &'static str,
    endpoint: &'static str,
    /// The field that says that this is the platform's envelope, and what stands there, where it is
    /// always the same.
    mark: &'static str,
    marked: Option<&'static str>,
    /// What `source` is for Stripe's events, up to a slash and the destination's id.
    stripe: &'static str,
    /// The field with Stripe's event.
    event: &'static str,
}

const EVENT_BRIDGE: Platform = Platform {
    name: "Amazon EventBridge",
    endpoint: "event_bridge",
    mark: "detail-type",
    marked: None,
    stripe: "aws.partner/stripe.com",
    event: "detail",
};

const EVENT_GRID: Platform = Platform {
    name: "Azure Event Grid",
    endpoint: "event_grid",
    mark: "specversion",
    marked: Some("1.0"),
    stripe: "/providers/stripe",
    event: "data",
};

impl Event {
    /// An event that [Amazon EventBridge](https://docs.stripe.com/event-destinations/eventbridge)
    /// delivered, snapshot or thin: the `detail` of [AWS's
    /// envelope](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html), whose
    /// `source` begins with `aws.partner/stripe.com`. [`payload`](Event::payload) is the `detail`, byte
    /// for byte.
    ///
    /// # Errors
    ///
    /// [`SourceError`] says what should be there and is not, and whose fault it is.
    pub fn from_event_bridge(delivered: AlreadyAuthenticated) -> Result<Self, SourceError> {
        EVENT_BRIDGE.open(delivered)
    }

    /// An event that [Azure Event Grid](https://docs.stripe.com/event-destinations/eventgrid)
    /// delivered, snapshot or thin: the `data` of a [CloudEvent
    /// 1.0](https://learn.microsoft.com/azure/event-grid/cloud-event-schema), whose `source` begins with
    /// `/providers/stripe`. [`payload`](Event::payload) is the `data`, byte for byte.
    ///
    /// An array of one event is taken too; with more, which only comes where [output
    /// batching](https://learn.microsoft.com/azure/event-grid/delivery-and-retry#output-batching) is turned
    /// on, pass each by itself. Event Grid's validation of a webhook is HTTP and none of this: a
    /// function with an Event Grid trigger has no part in it.
    ///
    /// # Errors
    ///
    /// [`SourceError`] says what should be there and is not, and whose fault it is.
    pub fn from_event_grid(delivered: AlreadyAuthenticated) -> Result<Self, SourceError> {
        EVENT_GRID.open(delivered)
    }
}

impl Platform {
    fn open(&self, delivered: AlreadyAuthenticated) -> Result<Event, SourceError> {
        let AlreadyAuthenticated { body, endpoint } = delivered;
        let platform = self.name;
        let locate = |fault| {
            let EnvelopeError { problem, line, column } = EnvelopeError::locate(&body, fault);
            SourceError::NotAnEnvelope { platform, problem, line, column }
        };
        let whole =
            ByteString::try_from(body.clone()).map_err(|error| locate(Fault::not_utf8(error)))?;
        let (events, fields) = Fields::scan(&whole, self).map_err(locate)?;
        if events != 1 {
            return Err(SourceError::Batch { platform, events });
        }
        if fields.is_bare_event(&whole) {
            return Err(SourceError::NoEnvelope { platform });
        }
        let source = fields.check(&whole, self).map_err(locate)?;
        let from_stripe = source.strip_prefix(self.stripe);
        if !from_stripe.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            let found = source.chars().take(128).collect();
            return Err(SourceError::NotFromStripe { platform, expected: self.stripe, found });
        }
        let event = fields.required(self.event, fields.event).map_err(locate)?;
        let payload = whole.slice_ref(&whole[event.range()]);
        let endpoint = endpoint.unwrap_or_else(|| EndpointName::new(self.endpoint));
        Event::make(payload, endpoint, None, 0).map_err(|error| SourceError::NotAnEvent {
            platform,
            field: self.event,
            error,
        })
    }
}

/// The values of an envelope's fields, as they stand there.
#[derive(Default)]
struct Fields {
    /// Where the envelope's closing bracket is.
    end: usize,
    mark: Option<Value>,
    source: Option<Value>,
    event: Option<Value>,
    /// Only an event without envelope has it.
    object: Option<Value>,
}

impl Fields {
    /// How many envelopes there are, and the fields of the last.
    fn scan(whole: &str, platform: &Platform) -> Result<(usize, Self), Fault> {
        let mut scanner = Scanner::new(whole);
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
            Some("source") => unset(&mut self.source, "source", key)?,
            Some("object") => &mut self.object,
            Some(name) if name == platform.mark => unset(&mut self.mark, platform.mark, key)?,
            Some(name) if name == platform.event => unset(&mut self.event, platform.event, key)?,
            _ => return scanner.skip(),
        };
        *slot = Some(scanner.value()?);
        Ok(())
    }

    fn is_bare_event(&self, whole: &str) -> bool {
        let object = self.object.map(|object| &whole[object.range()]);
        self.mark.is_none() && matches!(object, Some(r#""event""# | r#""v2.core.event""#))
    }

    /// Whether it is the platform's envelope; its source.
    fn check(&self, whole: &str, platform: &Platform) -> Result<String, Fault> {
        let of = |field, value| {
            let value = self.required(field, value)?;
            expect(field, value, JsonType::String)?;
            text(field, value, whole).map(|text| (value, text.of(whole).to_owned()))
        };
        let (value, mark) = of(platform.mark, self.mark)?;
        if platform.marked.is_some_and(|marked| mark != marked) {
            let expected = "\"1.0\", the version of CloudEvents";
            let problem = EnvelopeProblem::Unreadable { field: platform.mark, expected };
            return Err(Fault { problem, at: value.start });
        }
        of("source", self.source).map(|(_, source)| source)
    }

    fn required(&self, field: &'static str, value: Option<Value>) -> Result<Value, Fault> {
        value.ok_or(Fault { problem: EnvelopeProblem::Missing(field), at: self.end })
    }
}
