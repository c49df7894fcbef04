//! Sample events: a realistic object for each that Stripe sends, and so an event of each type.
//!
//! What an object looks like is read from the type declarations of Stripe's official SDK
//! (`data/object-shapes.json`); what fits which event is a table of rules (`data/samples/`). All of
//! it follows from a seed and a time, and the ids of one seed agree: a charge's `payment_intent` is the
//! id of the payment intent.
//!
//! ```
//! use router_catalog::samples::Sampler;
//!
//! let mut event = Sampler::new(0, 1_700_000_000).event("invoice.paid").unwrap();
//! event.set("lines.data[0].quantity", 2.into())?;
//! let event = event.into_json();
//! assert_eq!(event["data"]["object"]["status"], "paid");
//! assert_eq!(event["data"]["object"]["lines"]["data"][0]["quantity"], 2);
//! # Ok::<(), router_catalog::samples::PathError>(())
//! ```

mod error;
mod event;
mod json;
mod make;
mod path;
mod random;
mod rules;
mod set;
mod shape;

use serde_json::Value;

use self::make::Maker;
pub use self::{error::PathError, event::EventSample, json::stripe_json};

/// The `object` values of which a [`Sampler`] makes objects, sorted.
pub fn objects() -> impl Iterator<Item = &'static str> {
    shape::objects()
}

/// Makes sample objects and events of one seed, at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    seed: u64,
    now: u64,
    livemode: bool,
}

impl Sampler {
    /// Samples of this seed, made at this time, in seconds since the Unix epoch.
    #[must_use]
    pub const fn new(seed: u64, now: u64) -> Self {
        Self { seed, now, livemode: false }
    }

    /// Whether they are of live mode; of test mode by default.
    #[must_use]
    pub const fn livemode(self, livemode: bool) -> Self {
        Self { livemode, ..self }
    }

    /// The object of this name, as Stripe's API has it; `None` if it is not known.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Value> {
        let (name, fields) = shape::of_object(name)?;
        Some(Maker { sampler: *self, within: &[] }.object(name, fields))
    }
}
