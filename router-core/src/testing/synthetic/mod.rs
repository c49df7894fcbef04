//! Synthetic events, built from the catalog's samples.

mod error;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use router_catalog::{
    lookup, nearest,
    samples::{EventSample, Sampler, stripe_json},
    thin_type,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::error::SyntheticError;
use super::Payload;
use crate::{
    clock::{Clock as _, SystemClock},
    event::Event,
};

/// A builder for an event of any type in the catalog, with a realistic object whose fields can be
/// set.
///
/// ```
/// use router_core::{SigningSecret, testing::SyntheticEvent};
///
/// let payload = SyntheticEvent::new("invoice.paid")
///     .set("amount_paid", 500)
///     .set("lines.data[0].quantity", 2)
///     .account("acct_1032D82eZvKYlo2C")
///     .build()?;
/// assert_eq!(payload.event().account(), Some("acct_1032D82eZvKYlo2C"));
///
/// let request = payload.request(&SigningSecret::new("whsec_test")?); // for an Endpoint
/// assert!(request.headers().contains_key("stripe-signature"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The object fits the event type: the invoice of `invoice.paid` is paid. The ids in all events of
/// one [seed](SyntheticEvent::seed) agree: the invoice's `customer` is the customer of
/// `customer.created`. An object that has no id in Stripe's events has none here either, such as
/// the invoice of `invoice.upcoming`.
///
/// Each build makes a distinct event with a new id, unless an id or a seed is set. To deliver the
/// same event twice, deliver one [`Payload`] twice.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `.build()` is called"]
pub struct SyntheticEvent {
    event_type: String,
    /// The object of an event whose type is not in the catalog.
    object: Option<Value>,
    carrying: Option<String>,
    thin: bool,
    /// The snapshot event of the same change.
    twin_of: Option<Event>,
    seed: Option<u64>,
    id: Option<String>,
    created: Option<SystemTime>,
    livemode: bool,
    account: Option<String>,
    api_version: Option<String>,
    edits: Vec<Edit>,
}

#[derive(Debug, Clone)]
struct Edit {
    path: String,
    value: EditValue,
}

/// The new value of a field of the object, or of `data.previous_attributes`.
#[derive(Debug, Clone)]
enum EditValue {
    Json(Value),
    Text(String),
    Previous(Value),
    PreviousText(String),
    /// The value cannot be serialized to JSON; this is the error's text.
    Unserializable(String),
}

impl SyntheticEvent {
    /// Creates an event of this type.
    pub fn new(event_type: impl Into<String>) -> Self {
        Self {
            event_type: event_type.into(),
            object: None,
            carrying: None,
            thin: false,
            twin_of: None,
            seed: None,
            id: None,
            created: None,
            livemode: false,
            account: None,
            api_version: None,
            edits: Vec::new(),
        }
    }

    /// Creates the thin event that Stripe sends in addition to this snapshot event, while an
    /// account moves to thin events. It names the snapshot event as its
    /// [`snapshot_event`](crate::Event::snapshot_event).
    pub fn twin_of(snapshot: &Payload) -> Self {
        let event = snapshot.event();
        Self {
            thin: true,
            twin_of: Some(event.clone()),
            created: event.created(),
            livemode: event.livemode().unwrap_or_default(),
            account: event.account().map(str::to_owned),
            ..Self::new(event.event_type())
        }
    }

    /// Creates a snapshot event with this object, of a type that is not in the catalog yet.
    pub fn unlisted(event_type: impl Into<String>, object: Value) -> Self {
        Self { object: Some(object), ..Self::new(event_type) }
    }

    /// Sets a field of the object, such as `status`, `lines.data[0].quantity` or
    /// `metadata.order_id`. For a thin event, sets a field of the event itself. If the field's
    /// parent is null, it is created.
    pub fn set(self, path: impl Into<String>, value: impl Serialize) -> Self {
        self.edit(path, value, EditValue::Json)
    }

    /// Sets a field, like [`set`](SyntheticEvent::set), from text, such as an argument of a command
    /// line. The text is parsed as JSON. It is used as a string if the field holds a string, or if
    /// the text is not JSON.
    pub fn set_text(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.edits.push(Edit { path: path.into(), value: EditValue::Text(text.into()) });
        self
    }

    /// Sets the previous value of a field of the object, in `data.previous_attributes`. The
    /// sample's own previous values are removed, so that only the fields set here have changed.
    pub fn previous(self, path: impl Into<String>, value: impl Serialize) -> Self {
        self.edit(path, value, EditValue::Previous)
    }

    /// Sets the previous value of a field, like [`previous`](SyntheticEvent::previous), from text
    /// as in [`set_text`](SyntheticEvent::set_text).
    pub fn previous_text(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.edits.push(Edit { path: path.into(), value: EditValue::PreviousText(text.into()) });
        self
    }

    /// Sets the connected account of the event: `account` of a snapshot event, `context` of a thin
    /// one. The object of `account.updated` is then this account, as at Stripe, and objects that
    /// name their account name this one.
    pub fn account(self, account: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..self }
    }

    /// Sets the `api_version` of the event. Default: the version of the catalog. The object does
    /// not change, and a thin event has no version.
    pub fn api_version(self, version: impl Into<String>) -> Self {
        Self { api_version: Some(version.into()), ..self }
    }

    /// Sets whether the event is in live mode. Default: `false`.
    pub fn livemode(self, livemode: bool) -> Self {
        Self { livemode, ..self }
    }

    /// Chooses the object of an event whose type can carry several, such as `card` for
    /// `customer.source.created`.
    pub fn carrying(self, object: impl Into<String>) -> Self {
        Self { carrying: Some(object.into()), ..self }
    }

    /// Builds the thin event for the same change, such as `v1.invoice.paid` for `invoice.paid`.
    pub fn thin(self) -> Self {
        Self { thin: true, ..self }
    }

    /// Sets the seed of the ids and amounts, including the event's id. Without a seed they are
    /// those of seed 0, but the event's id is new.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Sets the event's id, `evt_…`.
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// Sets the time at which the event was created. Default: now.
    pub fn created(self, created: SystemTime) -> Self {
        Self { created: Some(created), ..self }
    }

    /// Builds the event.
    ///
    /// # Errors
    ///
    /// Fails if the event type, the object or a field does not exist, if a value cannot be
    /// serialized, or if the result is not an event. [`SyntheticError`] names the most similar type
    /// or field.
    pub fn build(self) -> Result<Payload, SyntheticError> {
        let created = self.created.unwrap_or_else(|| SystemClock.wall());
        let seconds = created.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let seed = self.seed.unwrap_or_default();
        let sampler = Sampler::new(seed, seconds).livemode(self.livemode);
        let mut sample = self.sample(&sampler)?;
        let is_thin = sample.object().is_none();
        let sets_previous =
            |edit: &Edit| matches!(edit.value, EditValue::Previous(_) | EditValue::PreviousText(_));
        if self.edits.iter().any(sets_previous) {
            sample.clear_previous();
        }
        if let Some(account) = &self.account {
            sample.set_account(account);
        }
        for edit in &self.edits {
            self.apply(edit, &mut sample)?;
        }
        let id = match (&self.id, self.seed) {
            (None, Some(_)) => None,
            (Some(id), _) => Some(id.clone()),
            (None, None) => unique_id(is_thin),
        };
        // A thin event has no version.
        let version = self.api_version.filter(|_| !is_thin);
        let envelope = [("id", id), ("api_version", version)];
        if let Some(snapshot) = &self.twin_of {
            refer_to(snapshot, sample.envelope_mut());
        }
        for (name, value) in envelope {
            if let Some(value) = value {
                sample.envelope_mut().insert(name.to_owned(), value.into());
            }
        }
        Payload::recorded(stripe_json(&sample.into_json()))
            .map_err(|error| SyntheticError::NoEvent { event_type: self.event_type, error })
    }

    fn sample(&self, sampler: &Sampler) -> Result<EventSample, SyntheticError> {
        if let Some(object) = &self.object {
            return Ok(sampler.unlisted_event(&self.event_type, object.clone()));
        }
        let event_type = self.event_type.clone();
        let Some(known) = lookup(&event_type) else {
            let nearest = nearest(&event_type);
            return Err(SyntheticError::UnknownType { event_type, nearest });
        };
        let sample = if self.thin {
            let is_thin =
                |known: &&router_catalog::EventType| known.kind == router_catalog::Kind::Thin;
            let twin = lookup(&thin_type(&event_type)).or(Some(known)).filter(is_thin);
            sampler.event(twin.ok_or(SyntheticError::NoThin { event_type })?.name)
        } else if let Some(object) = self.carrying.clone() {
            let carries = known.object.unwrap_or("no object");
            let sample = sampler.event_with(&event_type, &object);
            return sample.ok_or(SyntheticError::OtherObject { event_type, object, carries });
        } else {
            sampler.event(&event_type)
        };
        Ok(sample.expect("every type in the catalog has a sample"))
    }

    fn apply(&self, edit: &Edit, sample: &mut EventSample) -> Result<(), SyntheticError> {
        let result = match &edit.value {
            EditValue::Json(value) => sample.set(&edit.path, value.clone()),
            EditValue::Text(text) => sample.set_text(&edit.path, text),
            EditValue::Previous(value) => sample.set_previous(&edit.path, value.clone()),
            EditValue::PreviousText(text) => sample.set_previous_text(&edit.path, text),
            EditValue::Unserializable(error) => {
                let (event_type, path) = (self.event_type.clone(), edit.path.clone());
                return Err(SyntheticError::Value { event_type, path, error: error.clone() });
            }
        };
        result.map_err(|error| SyntheticError::Field { event_type: self.event_type.clone(), error })
    }

    fn edit(
        mut self,
        path: impl Into<String>,
        value: impl Serialize,
        from_json: impl FnOnce(Value) -> EditValue,
    ) -> Self {
        let value = serde_json::to_value(value)
            .map_or_else(|error| EditValue::Unserializable(error.to_string()), from_json);
        self.edits.push(Edit { path: path.into(), value });
        self
    }
}

/// Makes the thin event with this envelope refer to a snapshot event and its object.
fn refer_to(snapshot: &Event, envelope: &mut Map<String, Value>) {
    #[derive(Deserialize)]
    struct Object {
        id: Option<String>,
    }
    envelope.insert("snapshot_event".to_owned(), snapshot.id().into());
    let object = snapshot.decode_object().ok().and_then(|Object { id }| id);
    if let (Some(id), Some(Value::Object(related))) = (object, envelope.get_mut("related_object")) {
        related.insert("id".to_owned(), id.into());
    }
}

impl TryFrom<SyntheticEvent> for Payload {
    type Error = SyntheticError;

    fn try_from(event: SyntheticEvent) -> Result<Self, SyntheticError> {
        event.build()
    }
}

/// Returns an event id that is unique in this process. Two events with one id would be duplicates.
fn unique_id(is_thin: bool) -> Option<String> {
    static NEXT: AtomicU64 = AtomicU64::new(u64::MAX);
    let seed = NEXT.fetch_sub(1, Ordering::Relaxed);
    Sampler::new(seed, 0).id(if is_thin { "v2.core.event" } else { "event" })
}
