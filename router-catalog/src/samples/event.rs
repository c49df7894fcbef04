//! An event around an object: its envelope, and what the object was before.

use serde_json::{Map, Value, json};

use super::{
    PathError, Sampler,
    make::{Maker, rfc3339},
    path::Step,
    random::Random,
    rules::{Glob, Rule, rules},
    set::Cursor,
    shape,
};
use crate::{API_VERSION, EventType, Kind as Sent, lookup};

/// What a thin event is, among the shapes.
const THIN: &str = "v2.core.event";

/// A sample event, whose fields can still be set.
#[derive(Debug, Clone)]
pub struct EventSample {
    sampler: Sampler,
    envelope: Map<String, Value>,
    carried: Carried,
}

#[derive(Debug, Clone)]
enum Carried {
    /// The object, by its name where its shape is known, and what it was before.
    Object { name: Option<&'static str>, object: Value, previous: Map<String, Value> },
    /// A thin event only names its object.
    Nothing,
}

impl Sampler {
    /// An event of this type; `None` if it is not in the catalogue.
    #[must_use]
    pub fn event(&self, event_type: &str) -> Option<EventSample> {
        let known = lookup(event_type)?;
        match known.kind {
            Sent::Thin => Some(self.thin(known)),
            Sent::Snapshot => self.snapshot(known, carried(known)?),
        }
    }

    /// An event of this type with an object of this name; `None` if the type is not in the catalogue or
    /// carries no such object.
    #[must_use]
    pub fn event_with(&self, event_type: &str, object: &str) -> Option<EventSample> {
        let known = lookup(event_type).filter(|known| known.kind == Sent::Snapshot)?;
        self.snapshot(known, known.objects().find(|name| *name == object)?)
    }

    /// A snapshot event of any type with any object, such as one that is newer than the catalogue.
    #[must_use]
    pub fn unlisted_event(&self, event_type: &str, object: Value) -> EventSample {
        let carried = Carried::Object { name: None, object, previous: Map::new() };
        EventSample { sampler: *self, envelope: self.snapshot_envelope(event_type), carried }
    }

    fn snapshot(&self, event_type: &EventType, name: &'static str) -> Option<EventSample> {
        let (name, fields) = shape::of_object(name)?;
        let maker = Maker { sampler: *self, within: &[name] };
        let mut object = Maker { sampler: *self, within: &[] }.object(name, fields);
        let matching = |sections: &'static [(Glob, Vec<Rule>)]| {
            sections
                .iter()
                .filter(|(glob, _)| glob.matches(event_type.name))
                .flat_map(|(_, rules)| rules)
                // A section for several types speaks of what some of their objects lack.
                .filter(|rule| speaks_of(rule, fields))
        };
        for rule in matching(&rules().events) {
            maker.apply(std::slice::from_ref(rule), &mut object, name);
        }
        let mut previous = Value::Object(Map::new());
        for Rule { path, value } in matching(&rules().previous) {
            let mut now = object.clone();
            let as_text = maker.slot(&mut now, Cursor::Object(name), path);
            let as_text = as_text.is_ok_and(|(_, cursor)| cursor.is_text());
            let value = maker.evaluate(value, as_text, &format!("previous.{path}"));
            let slot = maker.slot(&mut previous, Cursor::Any, path);
            *slot.expect("an empty object takes any path").0 = value;
        }
        let Value::Object(previous) = previous else { return None };
        let carried = Carried::Object { name: Some(name), object, previous };
        let envelope = self.snapshot_envelope(event_type.name);
        Some(EventSample { sampler: *self, envelope, carried })
    }

    /// What is around the object of a snapshot event, as in
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

    /// A thin event, as in <https://docs.stripe.com/api/v2/core/events/object>.
    fn thin(&self, event_type: &EventType) -> EventSample {
        let mut event = json!({
            "id": self.id_by(THIN, event_type.name),
            "object": THIN,
            "created": rfc3339(self.now),
            "livemode": self.livemode,
            "type": event_type.name,
        });
        if let Some(name) = event_type.objects().next() {
            event["related_object"] = json!({"type": name, "url": self.url(name)});
            // There is only one balance, and it has no id.
            if let Some(id) = self.id(name) {
                event["related_object"]["id"] = id.into();
            }
        }
        let maker = Maker { sampler: *self, within: &[THIN] };
        let sections = rules().thin.iter().filter(|(glob, _)| glob.matches(event_type.name));
        for (_, rules) in sections {
            maker.apply(rules, &mut event, THIN);
        }
        let Value::Object(envelope) = event else { unreachable!("it was made as an object") };
        EventSample { sampler: *self, envelope, carried: Carried::Nothing }
    }
}

/// The object of an event: where it can carry several, the one that a rule names, as in
/// `object = "card"`.
fn carried(event_type: &EventType) -> Option<&'static str> {
    let sections = rules().events.iter().filter(|(glob, _)| glob.matches(event_type.name));
    let named: Vec<_> = sections.flat_map(|(_, rules)| rules).filter_map(Rule::named).collect();
    event_type.objects().find(|name| named.contains(name)).or(event_type.objects().next())
}

/// Whether a rule is about a field of an object with these fields. Which object it is, is settled.
fn speaks_of(rule: &Rule, fields: &shape::Fields) -> bool {
    matches!(rule.path.0.first(), Some(Step::Key(name)) if fields.contains_key(name))
        && rule.named().is_none()
}

impl EventSample {
    /// Sets a field of the object, or of a thin event itself: `status`, `lines.data[0].quantity`,
    /// `metadata.order_id`. What the field is in is made where it was null, and the element after an
    /// array's last one is added to it. The value may be of any kind, so that a handler can be tested
    /// with what it does not expect.
    ///
    /// # Errors
    ///
    /// [`PathError`] if the object has no such field.
    pub fn set(&mut self, path: &str, value: Value) -> Result<(), PathError> {
        self.set_by(path, |_| value)
    }

    /// As [`set`](EventSample::set), with a value in text, as on a command line: JSON, unless the field
    /// holds a string or the text is no JSON.
    ///
    /// # Errors
    ///
    /// As [`set`](EventSample::set).
    pub fn set_text(&mut self, path: &str, text: &str) -> Result<(), PathError> {
        self.set_by(path, |cursor| read(text, cursor))
    }

    fn set_by(&mut self, path: &str, value: impl FnOnce(Cursor) -> Value) -> Result<(), PathError> {
        match &mut self.carried {
            Carried::Object { name, object, .. } => self.sampler.set(object, *name, path, value),
            Carried::Nothing => {
                let mut event = Value::Object(std::mem::take(&mut self.envelope));
                let set = self.sampler.set(&mut event, Some(THIN), path, value);
                if let Value::Object(event) = event {
                    self.envelope = event;
                }
                set
            }
        }
    }

    /// Sets what a field of the object was before, in `data.previous_attributes`; null where it was not
    /// there. A thin event has no such thing, and is left as it is.
    ///
    /// # Errors
    ///
    /// [`PathError`] if the object has no such field.
    pub fn set_previous(&mut self, path: &str, value: Value) -> Result<(), PathError> {
        self.set_previous_by(path, |_| value)
    }

    /// Forgets what the object was before, as the rules have it.
    pub fn clear_previous(&mut self) {
        if let Carried::Object { previous, .. } = &mut self.carried {
            previous.clear();
        }
    }

    /// As [`set_previous`](EventSample::set_previous), with a value in text.
    ///
    /// # Errors
    ///
    /// As [`set_previous`](EventSample::set_previous).
    pub fn set_previous_text(&mut self, path: &str, text: &str) -> Result<(), PathError> {
        self.set_previous_by(path, |cursor| read(text, cursor))
    }

    fn set_previous_by(
        &mut self,
        path: &str,
        value: impl FnOnce(Cursor) -> Value,
    ) -> Result<(), PathError> {
        let Carried::Object { name, object, previous } = &mut self.carried else { return Ok(()) };
        // Held against the object as it is now: what it was before has no shape of its own.
        let mut was = Value::Null;
        self.sampler.set(&mut object.clone(), *name, path, |cursor| {
            was = value(cursor);
            Value::Null
        })?;
        let mut before = Value::Object(std::mem::take(previous));
        let set = self.sampler.set(&mut before, None, path, |_| was);
        if let Value::Object(before) = before {
            *previous = before;
        }
        set
    }

    /// The fields around the object: `id`, `account`, `api_version`, `livemode` and whatever else Stripe
    /// sends with it.
    pub fn envelope_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.envelope
    }

    /// The object that it carries; a thin event carries none.
    #[must_use]
    pub fn object(&self) -> Option<&Value> {
        match &self.carried {
            Carried::Object { object, .. } => Some(object),
            Carried::Nothing => None,
        }
    }

    /// The whole event.
    #[must_use]
    pub fn into_json(self) -> Value {
        let mut event = self.envelope;
        if let Carried::Object { object, previous, .. } = self.carried {
            let mut data = Map::from_iter([("object".to_owned(), object)]);
            if !previous.is_empty() {
                data.insert("previous_attributes".to_owned(), previous.into());
            }
            event.insert("data".to_owned(), data.into());
        }
        Value::Object(event)
    }
}

/// A value in text: JSON, unless the field holds a string or the text is no JSON.
fn read(text: &str, cursor: Cursor) -> Value {
    let json = || serde_json::from_str(text).ok();
    let is_text = cursor.is_text() && text != "null";
    (!is_text).then(json).flatten().unwrap_or_else(|| text.into())
}
