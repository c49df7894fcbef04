//! Webhooks of other providers, each in an envelope like that of Stripe's snapshot events.

use std::time::{SystemTime, UNIX_EPOCH};

use router_catalog::{Pattern, PatternError};
use serde_json::Value;

use super::{
    AlreadyAuthenticated, EnvelopeError, EnvelopeProblem, Event, JsonType,
    error::{Fault, MAX_DEPTH},
    scanner::Scanner,
};

/// The maximum length of an id, an event type or an account, in bytes. Stripe's own ids have at
/// most 255 characters, and stores index these texts.
const MAX_TEXT: usize = 255;

/// The maximum length of a provider's name, as of an endpoint's name.
const MAX_PROVIDER: usize = 40;

/// The number of objects around the body in the envelope.
const DEPTH_OF_BODY: usize = 2;

/// The envelope for another provider's webhook, see [`Event::wrapped`]. The caller reads its values
/// from the webhook's headers and body.
#[derive(Debug, Clone, Copy)]
#[must_use = "pass it to `Event::wrapped`"]
pub struct Wrapper<'w> {
    provider: &'w str,
    id: &'w str,
    event_type: &'w str,
    created: Option<SystemTime>,
    livemode: Option<bool>,
    object_id: Option<&'w str>,
}

impl<'w> Wrapper<'w> {
    /// Creates an envelope from a name for the provider, such as `openai`, the provider's id of the
    /// event, and the provider's event type.
    ///
    /// The id must be the same in each delivery of the event, because a second event with this id
    /// is a duplicate. In Standard Webhooks, it is the header `webhook-id`.
    ///
    /// The event's [type](Event::event_type) is the name and the type with a dot between them, so
    /// that no handler of one of Stripe's event types receives it. A handler of `*` does.
    pub fn new(provider: &'w str, id: &'w str, event_type: &'w str) -> Self {
        Self { provider, id, event_type, created: None, livemode: None, object_id: None }
    }

    /// Sets the time at which the provider created the event, for [`Event::created`] and
    /// [`Recency`](super::Recency). It is truncated to seconds.
    ///
    /// It must be the same in each delivery, so it is usually in the body. The header
    /// `webhook-timestamp` of Standard Webhooks is the time of a delivery.
    pub fn created(self, time: impl Into<Option<SystemTime>>) -> Self {
        Self { created: time.into(), ..self }
    }

    /// Sets the mode, for [`Event::livemode`]. Without it, the event runs no handler that is
    /// limited to a mode.
    pub fn livemode(self, livemode: impl Into<Option<bool>>) -> Self {
        Self { livemode: livemode.into(), ..self }
    }

    /// Sets the id of the object that the event is about, for [`Event::object_id`]: `exclusive`
    /// handlers lock the object, and an inbox orders the events of an `ordered` handler by it.
    ///
    /// Default: the text in the field `id` of the body, if there is one. If that text is not an id,
    /// pass another one: a text of more than 255 bytes is refused.
    pub fn object_id(self, id: impl Into<Option<&'w str>>) -> Self {
        Self { object_id: id.into(), ..self }
    }

    /// Returns the envelope up to its last field, which is `data`.
    fn json(&self) -> Result<String, WrapError> {
        check_provider(self.provider)?;
        check_text("id", self.id)?;
        check_text("event type", self.event_type)?;
        let event_type = format!("{}.{}", self.provider, self.event_type);
        check_text("event type", &event_type)?;
        match Pattern::parse(&event_type) {
            Ok(Pattern::Exact(_)) => {}
            Ok(_) | Err(PatternError::Wildcard) => {
                return Err(WrapError::event_type(PatternError::Character('*')));
            }
            Err(problem) => return Err(WrapError::event_type(problem)),
        }
        let (id, event_type) = (Value::from(self.id), Value::from(event_type));
        let mut json = format!(r#"{{"id":{id},"object":"event","type":{event_type}"#);
        if let Some(created) = self.created {
            let since = created.duration_since(UNIX_EPOCH).map_err(|_| WrapError::Created)?;
            json += &format!(r#","created":{}"#, since.as_secs());
        }
        if let Some(livemode) = self.livemode {
            json += &format!(r#","livemode":{livemode}"#);
        }
        if let Some(object_id) = self.object_id {
            check_text("object id", object_id)?;
            json += &format!(r#","related_object":{{"id":{}}}"#, Value::from(object_id));
        }
        Ok(json)
    }
}

/// An error for another provider's webhook that cannot become an event.
///
/// Except for [`Provider`](WrapError::Provider), it can be the sender's fault. No message contains
/// a text of the webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The provider's name is invalid. The program must use another one.
    #[error(
        "{0:?} cannot be the name of a provider: it has up to {MAX_PROVIDER} ASCII letters, digits, \
         `_` and `-`, and no event type of Stripe begins with it"
    )]
    Provider(String),
    /// A text is empty, too long, or has a control character.
    #[error("the webhook's {field} {problem}")]
    Text {
        /// The text: `id`, `event type`, `object id` or `account`.
        field: &'static str,
        /// The problem.
        problem: TextProblem,
    },
    /// No handler could name the event type. The program must replace the invalid characters.
    #[error(
        "no handler can have the webhook's event type ({0}); pass another one, such as \
         `orders.create` for `orders/create`"
    )]
    EventType(String),
    /// The event was created before 1970.
    #[error("the webhook's time of creation is before 1970")]
    Created,
    /// The body is not a JSON object.
    #[error("the webhook's body cannot be wrapped: {problem} (line {line}, column {column}){}", advice(.problem))]
    Body {
        /// The problem.
        problem: EnvelopeProblem,
        /// The line of the problem, from 1.
        line: usize,
        /// The column of the problem in bytes, from 1.
        column: usize,
    },
}

/// A problem with a text of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextProblem {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text is too long.
    #[error("has {0} bytes, and the limit is {MAX_TEXT}")]
    TooLong(usize),
    /// The text has a control character.
    #[error("has the control character {0:?}")]
    Control(char),
}

fn advice(problem: &EnvelopeProblem) -> &'static str {
    match problem {
        EnvelopeProblem::NotAnObject(JsonType::Array) => {
            "; wrap each event of a batch by itself, with an id of its own"
        }
        _ => "",
    }
}

impl WrapError {
    fn event_type(problem: PatternError) -> Self {
        Self::EventType(problem.to_string())
    }

    fn body(body: &[u8], fault: Fault) -> Self {
        Self::from_envelope(EnvelopeError::locate(body, fault))
    }

    fn from_envelope(EnvelopeError { problem, line, column }: EnvelopeError) -> Self {
        Self::Body { problem, line, column }
    }
}

impl Event {
    /// Makes an event of another provider's webhook, which runs through the same handlers, inbox
    /// and tools as Stripe's events.
    ///
    /// Nothing is verified here. The caller verifies the provider's signature, and asserts this
    /// with [`AlreadyAuthenticated::by_its_signature`].
    ///
    /// The event's [payload](Self::payload) is an envelope like that of Stripe's snapshot events.
    /// Its `data.object` is the whole body, byte for byte, so a handler decodes the body with
    /// [`Object<T>`](crate::Object). Name the event type with the key `unlisted`:
    ///
    /// ```
    /// use std::time::{Duration, UNIX_EPOCH};
    /// use router_core::{Event, Object, Router, event::{AlreadyAuthenticated, Wrapper}, on_event};
    /// use tower_service::Service as _;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Completed { data: Data }
    /// #[derive(serde::Deserialize)]
    /// struct Data { id: String }
    ///
    /// #[on_event("openai.response.completed", unlisted, name = "responses.fetch")]
    /// async fn fetch(body: Object<Completed>) {
    ///     assert_eq!(body.data.id, "resp_1");
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // The caller has verified the signature, and read the fields of the body.
    /// let body = r#"{"type": "response.completed", "created_at": 1750287078, "data": {"id": "resp_1"}}"#;
    /// let event = Event::wrapped(
    ///     AlreadyAuthenticated::by_its_signature(body),
    ///     Wrapper::new("openai", "evt_abc123", "response.completed")
    ///         .created(UNIX_EPOCH + Duration::from_secs(1_750_287_078))
    ///         .object_id("resp_1"),
    /// )?;
    /// assert_eq!(event.key().to_string(), "openai/evt_abc123/openai.response.completed");
    ///
    /// let mut router = Router::builder().only::<fetch>().build()?; // or an inbox
    /// let report = router.call(event).await?;
    /// assert!(!report.needs_retry());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Answer::from(report)`](crate::endpoint::Answer) makes the response to the provider: 500 if
    /// a handler failed, so that the provider sends the webhook again. The example
    /// `examples/standard-webhooks` is a whole server.
    ///
    /// # Identity
    ///
    /// The [endpoint](Self::endpoint) is the provider's name, unless
    /// [`AlreadyAuthenticated::endpoint`] sets another one. Endpoint, id and type are the event's
    /// [key](Self::key), so it is never a duplicate of an event from Stripe.
    ///
    /// Set the [account](AlreadyAuthenticated::account) if you have several at one provider. It is
    /// part of the key and of the [object's identity](Self::object_id). The endpoint is not part of
    /// the latter: for an `ordered` handler, two objects with one id and no account are one object,
    /// and `ordered = "newest"` would skip an event of one because of a newer event of the other.
    /// The same holds for a handler of several providers, such as one of `*`; an object id with the
    /// provider's name in front of it keeps their objects apart.
    ///
    /// # Errors
    ///
    /// - The provider's name is invalid, or the first part of one of Stripe's event types.
    /// - The id, type, object id or account is empty, is longer than 255 bytes, or has a control
    ///   character.
    /// - The event type has a character that no handler can name.
    /// - The time of creation is before 1970.
    /// - The body is not a JSON object, or it is nested deeper than 126 levels.
    pub fn wrapped(
        verified: AlreadyAuthenticated,
        wrapper: Wrapper<'_>,
    ) -> Result<Self, WrapError> {
        const { assert!(MAX_DEPTH > DEPTH_OF_BODY) };
        let body = verified.body();
        let text =
            str::from_utf8(body).map_err(|error| WrapError::body(body, Fault::not_utf8(error)))?;
        let object = object_in(text).map_err(|fault| WrapError::body(body, fault))?;
        verified.account_id().map_or(Ok(()), |account| check_text("account", account))?;
        let payload = format!(r#"{},"data":{{"object":{object}}}}}"#, wrapper.json()?);
        let event = verified.event(payload.into(), wrapper.provider);
        let event = event.map_err(WrapError::from_envelope)?;
        // The default comes from the body. Stores hold it next to the event, as they do the id.
        event.object_id().map_or(Ok(()), |object| check_text("object id", object.as_str()))?;
        Ok(event)
    }
}

/// Returns the object without the white space around it.
///
/// The body is checked by itself, so that no body can close the envelope and add fields to it.
fn object_in(body: &str) -> Result<&str, Fault> {
    let mut scanner = Scanner::nested_in(DEPTH_OF_BODY, body);
    scanner.skip_whitespace();
    let value = scanner.value()?;
    scanner.end()?;
    super::envelope::expect_object(value)?;
    Ok(&body[value.range()])
}

/// Checks the name of a provider: one part of an event type, and not the first part of any of
/// Stripe's, whose handlers would receive the provider's events.
fn check_provider(name: &str) -> Result<(), WrapError> {
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_valid = !name.is_empty() && name.len() <= MAX_PROVIDER && name.chars().all(is_name_char);
    if is_valid && Pattern::Prefix(name).known().is_empty() {
        return Ok(());
    }
    Err(WrapError::Provider(name.chars().take(MAX_PROVIDER).collect()))
}

fn check_text(field: &'static str, text: &str) -> Result<(), WrapError> {
    let problem = if text.is_empty() {
        TextProblem::Empty
    } else if text.len() > MAX_TEXT {
        TextProblem::TooLong(text.len())
    } else if let Some(control) = text.chars().find(|c| c.is_control()) {
        TextProblem::Control(control)
    } else {
        return Ok(());
    };
    Err(WrapError::Text { field, problem })
}
