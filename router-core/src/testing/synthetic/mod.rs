//! Events that Stripe never sent, made to look as if it had.

mod error;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use router_catalog::{
    lookup, nearest,
    samples::{EventSample, Sampler, stripe_json},
};
use serde::Serialize;
use serde_json::Value;

pub use self::error::SyntheticError;
use super::Payload;
use crate::clock::{Clock as _, SystemClock};

/// An event of any type in the catalogue, with a realistic object, in which any field can be set.
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
/// Its object fits its type (that of `invoice.paid` is paid), and the ids of all events of one
/// [seed](SyntheticEvent::seed) agree: the invoice's `customer` is the customer of `customer.created`.
/// Each one that is built is an event of its own, with an id of its own, unless it is given one or a seed; a
/// [`Payload`] that is delivered twice is one event, delivered twice.
#[derive(Debug, Clone)]
#[must_use = "nothing is made before `.build()`"]
pub struct SyntheticEvent {
    event_type: String,
    /// Of a type that is not in the catalogue.
    object: Option<Value>,
    carrying: Option<String>,
    thin: bool,
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
    to: To,
}

#[derive(Debug, Clone)]
enum To {
    Value(Value),
    Text(String),
    Previous(Value),
    PreviousText(String),
    /// It cannot be written as JSON.
    Unwritable(String),
}

impl SyntheticEvent {
    /// An event of this type.
    pub fn new(event_type: impl Into<String>) -> Self {
        Self {
            event_type: event_type.into(),
            object: None,
            carrying: None,
            thin: false,
            seed: None,
            id: None,
            created: None,
            livemode: false,
            account: None,
            api_version: None,
            edits: Vec::new(),
        }
    }

    /// A snapshot event of a type that is newer than the catalogue, with this object.
    pub fn unlisted(event_type: impl Into<String>, object: Value) -> Self {
        Self { object: Some(object), ..Self::new(event_type) }
    }

    /// Sets a field of the object (of a thin event: of the event itself), as in `status`,
    /// `lines.data[0].quantity`, `metadata.order_id`. What it is in is made if it was null.
    pub fn set(self, path: impl Into<String>, value: impl Serialize) -> Self {
        self.edit(path, value, To::Value)
    }

    /// As [`set`](SyntheticEvent::set), with a value in text, as on a command line: JSON, unless the
    /// field holds a string or the text is no JSON.
    pub fn set_text(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.edits.push(Edit { path: path.into(), to: To::Text(text.into()) });
        self
    }

    /// Sets what a field of the object was before, in `data.previous_attributes`; only what is set so has
    /// then changed.
    pub fn previous(self, path: impl Into<String>, value: impl Serialize) -> Self {
        self.edit(path, value, To::Previous)
    }

    /// As [`previous`](SyntheticEvent::previous), with a value in text.
    pub fn previous_text(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.edits.push(Edit { path: path.into(), to: To::PreviousText(text.into()) });
        self
    }

    /// The connected account that it is about: `account` of a snapshot event, `context` of a thin one.
    pub fn account(self, account: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..self }
    }

    /// The API version in which it claims to be written; that of the catalogue by default.
    pub fn api_version(self, version: impl Into<String>) -> Self {
        Self { api_version: Some(version.into()), ..self }
    }

    /// Whether it is about real money; false by default.
    pub fn livemode(self, livemode: bool) -> Self {
        Self { livemode, ..self }
    }

    /// Which object it carries, where its type can carry several: `card`, for
    /// `customer.source.created`.
    pub fn carrying(self, object: impl Into<String>) -> Self {
        Self { carrying: Some(object.into()), ..self }
    }

    /// The thin event for the same change: `v1.invoice.paid` for `invoice.paid`.
    pub fn thin(self) -> Self {
        Self { thin: true, ..self }
    }

    /// From what its ids and amounts are made, the event's id included; 0 by default, with an event id of
    /// its own.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// The event's id, `evt_…`.
    pub fn id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// When it was made; now by default.
    pub fn created(self, created: SystemTime) -> Self {
        Self { created: Some(created), ..self }
    }

    /// Makes it.
    ///
    /// # Errors
    ///
    /// [`SyntheticError`] where the type, the object or a field does not exist, with the nearest one.
    pub fn build(self) -> Result<Payload, SyntheticError> {
        let created = self.created.unwrap_or_else(|| SystemClock.wall());
        let seconds = created.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let seed = self.seed.unwrap_or_default();
        let sampler = Sampler::new(seed, seconds).livemode(self.livemode);
        let mut sample = self.sample(&sampler)?;
        let is_thin = sample.object().is_none();
        let says_before = |edit: &Edit| matches!(edit.to, To::Previous(_) | To::PreviousText(_));
        if self.edits.iter().any(says_before) {
            sample.clear_previous();
        }
        for edit in &self.edits {
            self.apply(edit, &mut sample)?;
        }
        let id = match (&self.id, self.seed) {
            (None, Some(_)) => None,
            (Some(id), _) => Some(id.clone()),
            (None, None) => id_of_its_own(is_thin),
        };
        let account = if is_thin { "context" } else { "account" };
        // A thin event is in no version.
        let version = self.api_version.filter(|_| !is_thin);
        let around = [("id", id), (account, self.account), ("api_version", version)];
        for (name, value) in around {
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
        let made = if self.thin {
            let is_thin =
                |known: &&router_catalog::EventType| known.kind == router_catalog::Kind::Thin;
            let twin = lookup(&format!("v1.{event_type}")).or(Some(known)).filter(is_thin);
            sampler.event(twin.ok_or(SyntheticError::NoThin { event_type })?.name)
        } else if let Some(object) = self.carrying.clone() {
            let carries = known.object.unwrap_or("no object");
            let made = sampler.event_with(&event_type, &object);
            return made.ok_or(SyntheticError::OtherObject { event_type, object, carries });
        } else {
            sampler.event(&event_type)
        };
        Ok(made.expect("there is a sample of every type in the catalogue"))
    }

    fn apply(&self, edit: &Edit, sample: &mut EventSample) -> Result<(), SyntheticError> {
        let set = match &edit.to {
            To::Value(value) => sample.set(&edit.path, value.clone()),
            To::Text(text) => sample.set_text(&edit.path, text),
            To::Previous(value) => sample.set_previous(&edit.path, value.clone()),
            To::PreviousText(text) => sample.set_previous_text(&edit.path, text),
            To::Unwritable(error) => {
                let (event_type, path) = (self.event_type.clone(), edit.path.clone());
                return Err(SyntheticError::Value { event_type, path, error: error.clone() });
            }
        };
        set.map_err(|error| SyntheticError::Field { event_type: self.event_type.clone(), error })
    }

    fn edit(
        mut self,
        path: impl Into<String>,
        value: impl Serialize,
        to: impl FnOnce(Value) -> To,
    ) -> Self {
        let to =
            serde_json::to_value(value).map_or_else(|error| To::Unwritable(error.to_string()), to);
        self.edits.push(Edit { path: path.into(), to });
        self
    }
}

impl TryFrom<SyntheticEvent> for Payload {
    type Error = SyntheticError;

    fn try_from(event: SyntheticEvent) -> Result<Self, SyntheticError> {
        event.build()
    }
}

/// No two events of a process have one of these: else the second would be a duplicate of the first.
fn id_of_its_own(is_thin: bool) -> Option<String> {
    static NEXT: AtomicU64 = AtomicU64::new(u64::MAX);
    let seed = NEXT.fetch_sub(1, Ordering::Relaxed);
    Sampler::new(seed, 0).id(if is_thin { "v2.core.event" } else { "event" })
}
