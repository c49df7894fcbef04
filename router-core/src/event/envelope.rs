//! Parses an event's envelope in one pass. It records the positions of the fields and leaves
//! `data.object` undecoded.

use std::{
    borrow::Cow,
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    error::{EnvelopeProblem, Fault, JsonType},
    scanner::{Key, Scanner, Value},
};

/// The fields of an event, as positions in its payload.
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
    pub(super) snapshot_event: Option<Text>,
}

/// The object that a thin event is about.
#[derive(Debug)]
pub(super) struct Related {
    pub(super) id: Option<Text>,
    pub(super) object_type: Option<Text>,
    pub(super) url: Option<Text>,
}

/// A string in the payload: its range, or its decoded text if it contains escapes.
#[derive(Debug)]
pub(super) enum Text {
    Plain(Range<usize>),
    Decoded(Box<str>),
}

impl Text {
    pub(super) fn as_str<'p>(&'p self, payload: &'p str) -> &'p str {
        match self {
            Self::Plain(range) => &payload[range.clone()],
            Self::Decoded(text) => text,
        }
    }
}

impl Envelope {
    /// Returns the account that owns the object, if the event names one: its `account`, else the
    /// account at the end of its `context`.
    ///
    /// A thin event has no `account`. Its context is an account or a path to one, such as
    /// `org_…/acct_…` (<https://docs.stripe.com/context>).
    pub(super) fn owner_account<'p>(&'p self, payload: &'p str) -> Option<&'p str> {
        let from_context = || {
            let context = self.context.as_ref()?.as_str(payload);
            context.rsplit('/').next().filter(|account| account.starts_with("acct_"))
        };
        self.account.as_ref().map(|account| account.as_str(payload)).or_else(from_context)
    }

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
            snapshot_event: fields.text("snapshot_event", fields.snapshot_event)?,
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

/// The values of the fields, not yet interpreted. Keys come in any order, so the kind of event is
/// known only after the scan.
#[derive(Default)]
struct Fields<'p> {
    payload: &'p str,
    /// The offset of the event's closing bracket.
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
    snapshot_event: Option<Value>,
}

/// The scan, which collects the values.
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
            // With a duplicate of one of these keys, two JSON readers could see different events.
            Some("id") => unset_slot(&mut self.id, "id", &key)?,
            Some("object") => unset_slot(&mut self.object, "object", &key)?,
            Some("type") => unset_slot(&mut self.event_type, "type", &key)?,
            Some("data") => {
                unset_slot(&mut self.data, "data", &key)?;
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
            Some("snapshot_event") => &mut self.snapshot_event,
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
            Some("object") => unset_slot(&mut self.data_object, "data.object", &key)?,
            Some("previous_attributes") => &mut self.previous_attributes,
            _ => return scanner.skip(),
        };
        *slot = Some(scanner.value()?);
        Ok(())
    }

    /// Scans `{"id": …, "idempotency_key": …}`. Old accounts send only the id.
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

    /// Scans the `{"type": "request", "request": {…}}` of a thin event.
    fn reason(&mut self, scanner: &mut Scanner<'p>) -> Result<(), Fault> {
        // Of duplicate keys the last one counts, even if it has no request.
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

/// The interpretation of the values. Null counts as absent.
impl Fields<'_> {
    fn is_thin(&self) -> Result<bool, Fault> {
        let object = self.required("object", self.object, JsonType::String)?;
        match self.decode("object", object)?.as_str(self.payload) {
            "event" => Ok(false),
            "v2.core.event" => Ok(true),
            other => Err(Fault {
                problem: EnvelopeProblem::NotAnEvent(other.chars().take(64).collect()),
                offset: object.start,
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
            value.ok_or(Fault { problem: EnvelopeProblem::Missing(field), offset: self.end })?;
        expect_type(field, value, kind)?;
        Ok(value)
    }

    fn required_text(&self, field: &'static str, value: Option<Value>) -> Result<Text, Fault> {
        let value = self.required(field, value, JsonType::String)?;
        let text = self.decode(field, value)?;
        if text.as_str(self.payload).is_empty() {
            return Err(Fault { problem: EnvelopeProblem::Empty(field), offset: value.start });
        }
        Ok(text)
    }

    /// Reads an optional text. An empty one counts as absent too: `"account": ""` names no account,
    /// so it must not make another event of the same one.
    fn text(&self, field: &'static str, value: Option<Value>) -> Result<Option<Text>, Fault> {
        let value = optional(field, value, JsonType::String)?;
        let text = value.map(|value| self.decode(field, value)).transpose()?;
        Ok(text.filter(|text| !text.as_str(self.payload).is_empty()))
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
        number.map(Some).map_err(|_| unreadable(field, value, "a non-negative integer"))
    }

    /// Parses `created` of a snapshot event, in seconds since the Unix epoch.
    fn created_in_seconds(&self) -> Result<Option<SystemTime>, Fault> {
        let seconds = self.unsigned("created", self.created)?;
        Ok(seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds))))
    }

    /// Parses `created` of a thin event, an RFC 3339 time.
    fn created_as_text(&self) -> Result<Option<SystemTime>, Fault> {
        let Some(value) = optional("created", self.created, JsonType::String)? else {
            return Ok(None);
        };
        let text = self.decode("created", value)?;
        humantime::parse_rfc3339(text.as_str(self.payload))
            .map(Some)
            .map_err(|_| unreadable("created", value, "a time such as 2026-01-31T12:00:00.000Z"))
    }

    fn decode(&self, field: &'static str, value: Value) -> Result<Text, Fault> {
        decode_text(field, value, self.payload)
    }
}

/// Returns the text of a string in the payload, without its quotes and with its escapes decoded.
pub(super) fn decode_text(field: &'static str, value: Value, payload: &str) -> Result<Text, Fault> {
    match value.decode(payload) {
        Some(Cow::Borrowed(_)) => Ok(Text::Plain(value.start + 1..value.end - 1)),
        Some(Cow::Owned(text)) => Ok(Text::Decoded(text.into())),
        None => {
            Err(unreadable(field, value, "valid text: an escape sequence encodes no character"))
        }
    }
}

/// Returns the slot if it is still empty.
///
/// # Errors
///
/// Fails if the slot has a value, so the key is a duplicate.
pub(super) fn unset_slot<'s>(
    slot: &'s mut Option<Value>,
    name: &'static str,
    key: &Key<'_>,
) -> Result<&'s mut Option<Value>, Fault> {
    match slot {
        Some(_) => Err(Fault { problem: EnvelopeProblem::Duplicate(name), offset: key.start() }),
        None => Ok(slot),
    }
}

fn optional(
    field: &'static str,
    value: Option<Value>,
    kind: JsonType,
) -> Result<Option<Value>, Fault> {
    let value = value.filter(|value| value.kind != JsonType::Null);
    value.map(|value| expect_type(field, value, kind).map(|()| value)).transpose()
}

/// Checks that the whole text is an object.
pub(super) fn expect_object(value: Value) -> Result<(), Fault> {
    match value.kind {
        JsonType::Object => Ok(()),
        found => Err(Fault { problem: EnvelopeProblem::NotAnObject(found), offset: value.start }),
    }
}

pub(super) fn expect_type(
    field: &'static str,
    value: Value,
    expected: JsonType,
) -> Result<(), Fault> {
    if value.kind == expected {
        return Ok(());
    }
    let problem = EnvelopeProblem::WrongType { field, expected, found: value.kind };
    Err(Fault { problem, offset: value.start })
}

fn unreadable(field: &'static str, value: Value, expected: &'static str) -> Fault {
    Fault { problem: EnvelopeProblem::Unreadable { field, expected }, offset: value.start }
}
