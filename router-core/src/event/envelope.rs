//! Reads an event's envelope in one pass: where its fields are, with `data.object` left raw.

use std::{
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    error::{EnvelopeProblem, JsonType},
    scanner::{Fault, Key, Scanner, Value},
};

/// The fields of an event, as places in its payload.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) thin: bool,
    pub(super) id: Text,
    pub(super) event_type: Text,
    pub(super) created: Option<SystemTime>,
    pub(super) livemode: Option<bool>,
    pub(super) api_version: Option<Text>,
    pub(super) account: Option<Text>,
    pub(super) context: Option<Text>,
    pub(super) request_id: Option<Text>,
    pub(super) idempotency_key: Option<Text>,
    pub(super) pending_webhooks: Option<u64>,
    pub(super) object: Option<Range<usize>>,
    pub(super) previous_attributes: Option<Range<usize>>,
    pub(super) related_object: Option<Related>,
}

/// The object that a thin event is about.
#[derive(Debug)]
pub(super) struct Related {
    pub(super) id: Option<Text>,
    pub(super) object_type: Option<Text>,
    pub(super) url: Option<Text>,
}

/// A string of the payload: a place in it, unless it holds escapes.
#[derive(Debug)]
pub(super) enum Text {
    Plain(Range<usize>),
    Decoded(Box<str>),
}

impl Text {
    pub(super) fn of<'p>(&'p self, payload: &'p str) -> &'p str {
        match self {
            Self::Plain(range) => &payload[range.clone()],
            Self::Decoded(text) => text,
        }
    }
}

impl Envelope {
    pub(super) fn parse(payload: &str) -> Result<Self, Fault> {
        let fields = Fields::scan(payload)?;
        let thin = fields.is_thin()?;
        if !thin {
            fields.required("data", fields.data, JsonType::Object)?;
            fields.required("data.object", fields.data_object, JsonType::Object)?;
        }
        Ok(Self {
            thin,
            id: fields.required_text("id", fields.id)?,
            event_type: fields.required_text("type", fields.event_type)?,
            created: if thin { fields.created_as_text()? } else { fields.created_in_seconds()? },
            livemode: fields.boolean("livemode", fields.livemode)?,
            api_version: fields.text("api_version", fields.api_version)?,
            account: fields.text("account", fields.account)?,
            context: fields.text("context", fields.context)?,
            request_id: fields.text("request.id", fields.request_id)?,
            idempotency_key: fields.text("request.idempotency_key", fields.idempotency_key)?,
            pending_webhooks: fields.unsigned("pending_webhooks", fields.pending_webhooks)?,
            object: fields.object("data.object", fields.data_object)?,
            previous_attributes: fields
                .object("data.previous_attributes", fields.previous_attributes)?,
            related_object: match fields.object("related_object", fields.related_object)? {
                None => None,
                Some(_) => Some(Related {
                    id: fields.text("related_object.id", fields.related_id)?,
                    object_type: fields.text("related_object.type", fields.related_type)?,
                    url: fields.text("related_object.url", fields.related_url)?,
                }),
            },
        })
    }
}

/// The values of the fields as they stand there, before it is known what kind of event it is: keys
/// come in any order.
#[derive(Default)]
struct Fields<'p> {
    payload: &'p str,
    /// Where the event's closing bracket is.
    end: usize,
    id: Option<Value>,
    object: Option<Value>,
    event_type: Option<Value>,
    created: Option<Value>,
    livemode: Option<Value>,
    api_version: Option<Value>,
    account: Option<Value>,
    context: Option<Value>,
    request_id: Option<Value>,
    idempotency_key: Option<Value>,
    pending_webhooks: Option<Value>,
    data: Option<Value>,
    data_object: Option<Value>,
    previous_attributes: Option<Value>,
    related_object: Option<Value>,
    related_id: Option<Value>,
    related_type: Option<Value>,
    related_url: Option<Value>,
}

/// What was found.
impl<'p> Fields<'p> {
    fn scan(payload: &'p str) -> Result<Self, Fault> {
        let mut fields = Self { payload, ..Self::default() };
        let mut scanner = Scanner::new(payload);
        scanner.skip_whitespace();
        let event = scanner.walk(|scanner, key| fields.field(scanner, key))?;
        scanner.end()?;
        expect_object(event)?;
        fields.end = event.end - 1;
        Ok(fields)
    }

    fn field(&mut self, scanner: &mut Scanner<'p>, key: Key<'p>) -> Result<(), Fault> {
        let slot = match key.name().as_deref() {
            // A second one of these could make one reader see another event than the next does.
            Some("id") => unset(&mut self.id, "id", &key)?,
            Some("object") => unset(&mut self.object, "object", &key)?,
            Some("type") => unset(&mut self.event_type, "type", &key)?,
            Some("data") => {
                unset(&mut self.data, "data", &key)?;
                let data = scanner.walk(|scanner, key| self.data_field(scanner, key))?;
                self.data = Some(data);
                return Ok(());
            }
            Some("created") => &mut self.created,
            Some("livemode") => &mut self.livemode,
            Some("api_version") => &mut self.api_version,
            Some("account") => &mut self.account,
            Some("context") => &mut self.context,
            Some("pending_webhooks") => &mut self.pending_webhooks,
            Some("request") => return self.request(scanner),
            Some("reason") => return self.reason(scanner),
            Some("related_object") => return self.related(scanner),
            _ => return scanner.skip(),
        };
        *slot = Some(scanner.value()?);
        Ok(())
    }

    fn data_field(&mut self, scanner: &mut Scanner<'p>, key: Key<'p>) -> Result<(), Fault> {
        let slot = match key.name().as_deref() {
            Some("object") => unset(&mut self.data_object, "data.object", &key)?,
            Some("previous_attributes") => &mut self.previous_attributes,
            _ => return scanner.skip(),
        };
        *slot = Some(scanner.value()?);
        Ok(())
    }

    /// `{"id": …, "idempotency_key": …}`, or only the id, as old accounts send it.
    fn request(&mut self, scanner: &mut Scanner<'p>) -> Result<(), Fault> {
        (self.request_id, self.idempotency_key) = (None, None);
        let request = scanner.walk(|scanner, key| {
            let slot = match key.name().as_deref() {
                Some("id") => &mut self.request_id,
                Some("idempotency_key") => &mut self.idempotency_key,
                _ => return scanner.skip(),
            };
            *slot = Some(scanner.value()?);
            Ok(())
        })?;
        match request.kind {
            JsonType::Object | JsonType::Null => Ok(()),
            _ => {
                self.request_id = Some(request);
                Ok(())
            }
        }
    }

    /// A thin event says `{"type": "request", "request": {…}}`.
    fn reason(&mut self, scanner: &mut Scanner<'p>) -> Result<(), Fault> {
        // The last one counts, also where it has no request.
        (self.request_id, self.idempotency_key) = (None, None);
        let reason = scanner.walk(|scanner, key| match key.name().as_deref() {
            Some("request") => self.request(scanner),
            _ => scanner.skip(),
        });
        reason.map(drop)
    }

    fn related(&mut self, scanner: &mut Scanner<'p>) -> Result<(), Fault> {
        (self.related_id, self.related_type, self.related_url) = (None, None, None);
        let related = scanner.walk(|scanner, key| {
            let slot = match key.name().as_deref() {
                Some("id") => &mut self.related_id,
                Some("type") => &mut self.related_type,
                Some("url") => &mut self.related_url,
                _ => return scanner.skip(),
            };
            *slot = Some(scanner.value()?);
            Ok(())
        })?;
        self.related_object = Some(related);
        Ok(())
    }
}

/// What it means. Null is the same as absent.
impl Fields<'_> {
    fn is_thin(&self) -> Result<bool, Fault> {
        let object = self.required("object", self.object, JsonType::String)?;
        match self.decode("object", object)?.of(self.payload) {
            "event" => Ok(false),
            "v2.core.event" => Ok(true),
            other => Err(Fault {
                problem: EnvelopeProblem::NotAnEvent(other.chars().take(64).collect()),
                at: object.start,
            }),
        }
    }

    fn required(
        &self,
        field: &'static str,
        value: Option<Value>,
        kind: JsonType,
    ) -> Result<Value, Fault> {
        let value =
            value.ok_or(Fault { problem: EnvelopeProblem::Missing(field), at: self.end })?;
        expect(field, value, kind)?;
        Ok(value)
    }

    fn required_text(&self, field: &'static str, value: Option<Value>) -> Result<Text, Fault> {
        let value = self.required(field, value, JsonType::String)?;
        let text = self.decode(field, value)?;
        if text.of(self.payload).is_empty() {
            return Err(Fault { problem: EnvelopeProblem::Empty(field), at: value.start });
        }
        Ok(text)
    }

    fn text(&self, field: &'static str, value: Option<Value>) -> Result<Option<Text>, Fault> {
        optional(field, value, JsonType::String)?.map(|value| self.decode(field, value)).transpose()
    }

    fn object(
        &self,
        field: &'static str,
        value: Option<Value>,
    ) -> Result<Option<Range<usize>>, Fault> {
        Ok(optional(field, value, JsonType::Object)?.map(Value::range))
    }

    fn boolean(&self, field: &'static str, value: Option<Value>) -> Result<Option<bool>, Fault> {
        let value = optional(field, value, JsonType::Boolean)?;
        Ok(value.map(|value| &self.payload[value.range()] == "true"))
    }

    fn unsigned(&self, field: &'static str, value: Option<Value>) -> Result<Option<u64>, Fault> {
        let Some(value) = optional(field, value, JsonType::Number)? else {
            return Ok(None);
        };
        let number = self.payload[value.range()].parse();
        number.map(Some).map_err(|_| unreadable(field, value, "a whole number, zero or more"))
    }

    /// A snapshot event says when it was made in seconds since the Unix epoch.
    fn created_in_seconds(&self) -> Result<Option<SystemTime>, Fault> {
        let seconds = self.unsigned("created", self.created)?;
        Ok(seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds))))
    }

    /// A thin event says when it was made as RFC 3339.
    fn created_as_text(&self) -> Result<Option<SystemTime>, Fault> {
        let Some(value) = optional("created", self.created, JsonType::String)? else {
            return Ok(None);
        };
        let text = self.decode("created", value)?;
        humantime::parse_rfc3339(text.of(self.payload))
            .map(Some)
            .map_err(|_| unreadable("created", value, "a time as in 2026-01-31T12:00:00.000Z"))
    }

    fn decode(&self, field: &'static str, value: Value) -> Result<Text, Fault> {
        text(field, value, self.payload)
    }
}

/// A string of the payload, without its quotes and escapes.
pub(super) fn text(field: &'static str, value: Value, payload: &str) -> Result<Text, Fault> {
    if !value.escaped {
        return Ok(Text::Plain(value.start + 1..value.end - 1));
    }
    serde_json::from_str(&payload[value.range()])
        .map(Text::Decoded)
        .map_err(|_| unreadable(field, value, "text (an escape in it is no character)"))
}

/// The slot, if nothing is in it.
pub(super) fn unset<'s>(
    slot: &'s mut Option<Value>,
    name: &'static str,
    key: &Key<'_>,
) -> Result<&'s mut Option<Value>, Fault> {
    match slot {
        Some(_) => Err(Fault { problem: EnvelopeProblem::Duplicate(name), at: key.start() }),
        None => Ok(slot),
    }
}

fn optional(
    field: &'static str,
    value: Option<Value>,
    kind: JsonType,
) -> Result<Option<Value>, Fault> {
    let value = value.filter(|value| value.kind != JsonType::Null);
    value.map(|value| expect(field, value, kind).map(|()| value)).transpose()
}

/// What the whole is.
pub(super) fn expect_object(value: Value) -> Result<(), Fault> {
    match value.kind {
        JsonType::Object => Ok(()),
        found => Err(Fault { problem: EnvelopeProblem::NotAnObject(found), at: value.start }),
    }
}

pub(super) fn expect(field: &'static str, value: Value, expected: JsonType) -> Result<(), Fault> {
    if value.kind == expected {
        return Ok(());
    }
    let problem = EnvelopeProblem::WrongType { field, expected, found: value.kind };
    Err(Fault { problem, at: value.start })
}

fn unreadable(field: &'static str, value: Value, expected: &'static str) -> Fault {
    Fault { problem: EnvelopeProblem::Unreadable { field, expected }, at: value.start }
}
