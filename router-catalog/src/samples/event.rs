//! Sample events: an envelope, an object, and the object's previous attributes.

use serde_json::{Map, Value, json};

use super::{
    PathError, Sampler,
    cursor::Cursor,
    make::{Maker, rfc3339},
    path::Step,
    random::Random,
    rules::{Glob, Rule, rules},
    shape,
};
use crate::{API_VERSION, EventType, Kind as EventKind, lookup};

/// The `object` value of a thin event.
const THIN_EVENT: &str = "v2.core.event";

/// A sample event whose fields can be changed.
#[derive(Debug, Clone)]
pub struct EventSample {
    sampler: Sampler,
    envelope: Map<String, Value>,
    data: EventData,
}

#[derive(Debug, Clone)]
enum EventData {
    /// The object, its name if its shape is known, and its previous attributes.
    Object { name: Option<&'static str>, object: Value, previous: Map<String, Value> },
    /// A thin event has no data.
    Thin,
}

impl Sampler {
    /// Returns an event of a type, or `None` if the catalog does not have the type.
    #[must_use]
    pub fn event(&self, event_type: &str) -> Option<EventSample> {
        let known = lookup(event_type)?;
        match known.kind {
            EventKind::Thin => Some(self.thin(known)),
            EventKind::Snapshot => self.snapshot(known, default_object(known)?),
        }
    }

    /// Returns a snapshot event of a type with the given object, or `None` if the catalog does not
    /// have the type, or the type does not carry the object.
    #[must_use]
    pub fn event_with(&self, event_type: &str, object: &str) -> Option<EventSample> {
        let known = lookup(event_type).filter(|known| known.kind == EventKind::Snapshot)?;
        self.snapshot(known, known.objects().find(|name| *name == object)?)
    }

    /// Returns a snapshot event of any type with any object, for example of a type that is newer
    /// than the catalog.
    #[must_use]
    pub fn unlisted_event(&self, event_type: &str, object: Value) -> EventSample {
        let data = EventData::Object { name: None, object, previous: Map::new() };
        EventSample { sampler: *self, envelope: self.snapshot_envelope(event_type), data }
    }

    fn snapshot(&self, event_type: &EventType, name: &'static str) -> Option<EventSample> {
        let (name, fields) = shape::lookup(name)?;
        let maker = Maker { sampler: *self, ancestors: &[name] };
        let mut object = Maker { sampler: *self, ancestors: &[] }.object(name, fields);
        let matching = |sections: &'static [(Glob, Vec<Rule>)]| {
            sections
                .iter()
                .filter(|(glob, _)| glob.matches(event_type.name))
                .flat_map(|(_, rules)| rules)
                // A section for several event types has rules for fields that some objects lack.
                .filter(|rule| applies_to(rule, fields))
        };
        for rule in matching(&rules().events) {
            maker.apply(std::slice::from_ref(rule), &mut object, name);
        }
        let mut previous = Value::Object(Map::new());
        for Rule { path, value } in matching(&rules().previous) {
            let mut current = object.clone();
            let current_slot = maker.slot(&mut current, Cursor::Object(name), path);
            let as_text = current_slot.is_ok_and(|(_, cursor)| cursor.is_text());
            let value = maker.evaluate(value, as_text, &format!("previous.{path}"));
            let slot = maker.slot(&mut previous, Cursor::Any, path);
            *slot.expect("an untyped slot accepts any path").0 = value;
        }
        let Value::Object(previous) = previous else { return None };
        let data = EventData::Object { name: Some(name), object, previous };
        let mut envelope = Value::Object(self.snapshot_envelope(event_type.name));
        let sections = rules().envelopes.iter().filter(|(glob, _)| glob.matches(event_type.name));
        for Rule { path, value } in sections.flat_map(|(_, rules)| rules) {
            let value = maker.evaluate(value, true, &format!("envelope.{path}"));
            let slot = maker.slot(&mut envelope, Cursor::Any, path);
            *slot.expect("an untyped slot accepts any path").0 = value;
        }
        let Value::Object(envelope) = envelope else { return None };
        Some(EventSample { sampler: *self, envelope, data })
    }

    /// Returns the envelope of a snapshot event, as documented at
    /// <https://docs.stripe.com/api/events/object>.
    fn snapshot_envelope(&self, event_type: &str) -> Map<String, Value> {
        let request = Random::new(self.seed, &format!("request of {event_type}")).token(14);
        let Value::Object(envelope) = json!({
            "id": self.id_by("event", event_type),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now,
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": {"id": format!("req_{request}"), "idempotency_key": null},
            "type": event_type,
        }) else {
            return Map::new();
        };
        envelope
    }

    /// Returns a thin event, as documented at <https://docs.stripe.com/api/v2/core/events/object>.
    fn thin(&self, event_type: &EventType) -> EventSample {
        let mut event = json!({
            "id": self.id_by(THIN_EVENT, event_type.name),
            "object": THIN_EVENT,
            "created": rfc3339(self.now),
            "livemode": self.livemode,
            "type": event_type.name,
        });
        if let Some(name) = event_type.objects().next() {
            event["related_object"] = json!({"type": name, "url": self.url(name)});
            // A singleton, such as the balance, has no id.
            if let Some(id) = self.id(name) {
                event["related_object"]["id"] = id.into();
            }
        }
        let maker = Maker { sampler: *self, ancestors: &[THIN_EVENT] };
        let sections = rules().thin.iter().filter(|(glob, _)| glob.matches(event_type.name));
        for (_, rules) in sections {
            maker.apply(rules, &mut event, THIN_EVENT);
        }
        let Value::Object(envelope) = event else { unreachable!("`event` is an object literal") };
        EventSample { sampler: *self, envelope, data: EventData::Thin }
    }
}

/// Returns the object for an event type: of several, the object that a rule selects, as in
/// `object = "card"`.
fn default_object(event_type: &EventType) -> Option<&'static str> {
    let sections = rules().events.iter().filter(|(glob, _)| glob.matches(event_type.name));
    let selected: Vec<_> =
        sections.flat_map(|(_, rules)| rules).filter_map(Rule::selected_object).collect();
    event_type.objects().find(|name| selected.contains(name)).or(event_type.objects().next())
}

/// Returns whether a rule sets one of these fields. A rule that selects the object does not.
fn applies_to(rule: &Rule, fields: &shape::Fields) -> bool {
    matches!(rule.path.0.first(), Some(Step::Key(name)) if fields.contains_key(name))
        && rule.selected_object().is_none()
}

impl EventSample {
    /// Sets a field of the object, or of a thin event itself.
    ///
    /// Paths look like `status`, `lines.data[0].quantity` or `metadata.order_id`. Null values along
    /// the path are replaced by sample values, and an index equal to an array's length appends an
    /// element. The value may have any type, so that handlers can be tested with unexpected input.
    ///
    /// # Errors
    ///
    /// Fails if the path is malformed, or the object has no such field.
    pub fn set(&mut self, path: &str, value: Value) -> Result<(), PathError> {
        self.set_with(path, |_| value)
    }

    /// Sets a field like [`set`](EventSample::set), with a value from a command line. The text is
    /// parsed as JSON, unless the field is a string or the text is not valid JSON.
    ///
    /// # Errors
    ///
    /// Fails like [`set`](EventSample::set).
    pub fn set_text(&mut self, path: &str, text: &str) -> Result<(), PathError> {
        self.set_with(path, |cursor| parse_text(text, cursor))
    }

    fn set_with(
        &mut self,
        path: &str,
        value: impl FnOnce(Cursor) -> Value,
    ) -> Result<(), PathError> {
        match &mut self.data {
            EventData::Object { name, object, .. } => self.sampler.set(object, *name, path, value),
            EventData::Thin => {
                let mut event = Value::Object(std::mem::take(&mut self.envelope));
                let result = self.sampler.set(&mut event, Some(THIN_EVENT), path, value);
                if let Value::Object(event) = event {
                    self.envelope = event;
                }
                result
            }
        }
    }

    /// Sets a field's previous value in `data.previous_attributes`; pass null for a field that did
    /// not exist. Does nothing on a thin event, which has no previous attributes.
    ///
    /// # Errors
    ///
    /// Fails if the path is malformed, or the object has no such field.
    pub fn set_previous(&mut self, path: &str, value: Value) -> Result<(), PathError> {
        self.set_previous_with(path, |_| value)
    }

    /// Removes the previous attributes, including those that the rules set.
    pub fn clear_previous(&mut self) {
        if let EventData::Object { previous, .. } = &mut self.data {
            previous.clear();
        }
    }

    /// Sets a field's previous value like [`set_previous`](EventSample::set_previous), with a value
    /// from a command line, parsed like that of [`set_text`](EventSample::set_text).
    ///
    /// # Errors
    ///
    /// Fails like [`set_previous`](EventSample::set_previous).
    pub fn set_previous_text(&mut self, path: &str, text: &str) -> Result<(), PathError> {
        self.set_previous_with(path, |cursor| parse_text(text, cursor))
    }

    fn set_previous_with(
        &mut self,
        path: &str,
        value: impl FnOnce(Cursor) -> Value,
    ) -> Result<(), PathError> {
        let EventData::Object { name, object, previous } = &mut self.data else { return Ok(()) };
        // The path is checked against the current object, because `previous` has no shape of its
        // own.
        let mut previous_value = Value::Null;
        self.sampler.set(&mut object.clone(), *name, path, |cursor| {
            previous_value = value(cursor);
            Value::Null
        })?;
        let mut before = Value::Object(std::mem::take(previous));
        let result = self.sampler.set(&mut before, None, path, |_| previous_value);
        if let Value::Object(before) = before {
            *previous = before;
        }
        result
    }

    /// Sets the connected account of the event: `account` of a snapshot event, `context` of a thin
    /// one.
    ///
    /// It takes the place of the sample account, so that the object of `account.updated` is this
    /// account, and other objects refer to it. An object that the caller passed does not change.
    pub fn set_account(&mut self, account: &str) {
        let sample_account = self.sampler.id("account").filter(|_| !account.is_empty());
        if let Some(sample_account) = sample_account {
            let replace = |value: &mut Value| replace_text(value, &sample_account, account);
            self.envelope.values_mut().for_each(replace);
            if let EventData::Object { name: Some(_), object, previous } = &mut self.data {
                replace(object);
                previous.values_mut().for_each(replace);
            }
        }
        let field = match self.data {
            EventData::Object { .. } => "account",
            EventData::Thin => "context",
        };
        self.envelope.insert(field.to_owned(), account.into());
    }

    /// Returns the event's own fields, such as `id`, `account`, `api_version` and `livemode`.
    pub fn envelope_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.envelope
    }

    /// Returns the event's object, or `None` for a thin event.
    #[must_use]
    pub fn object(&self) -> Option<&Value> {
        match &self.data {
            EventData::Object { object, .. } => Some(object),
            EventData::Thin => None,
        }
    }

    /// Returns the whole event as JSON.
    #[must_use]
    pub fn into_json(self) -> Value {
        let mut event = self.envelope;
        if let EventData::Object { object, previous, .. } = self.data {
            let mut json = Map::from_iter([("object".to_owned(), object)]);
            if !previous.is_empty() {
                json.insert("previous_attributes".to_owned(), previous.into());
            }
            event.insert("data".to_owned(), json.into());
        }
        Value::Object(event)
    }
}

/// Replaces a text in all strings of a value.
fn replace_text(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text.contains(from) => *text = text.replace(from, to),
        Value::Array(items) => items.iter_mut().for_each(|item| replace_text(item, from, to)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| replace_text(field, from, to));
        }
        _ => {}
    }
}

/// Parses a value as JSON, unless the field is a string or the text is not valid JSON.
fn parse_text(text: &str, cursor: Cursor) -> Value {
    let json = || serde_json::from_str(text).ok();
    let is_text = cursor.is_text() && text != "null";
    (!is_text).then(json).flatten().unwrap_or_else(|| text.into())
}
