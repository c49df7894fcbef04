//! Realistic samples of every object and event type.
//!
//! The fields of an object come from the type declarations of Stripe's official SDK
//! (`data/object-shapes.json`). Rules in `data/samples/` set values that fit the object and the
//! event type. A sample is determined by a seed and a time. Ids are consistent within a seed: a
//! charge's `payment_intent` is the id of the sample payment intent.
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

mod cursor;
mod error;
mod event;
mod ids;
mod json;
mod make;
mod path;
mod random;
mod rules;
mod shape;

use serde_json::Value;

use self::make::Maker;
pub use self::{error::PathError, event::EventSample, json::stripe_json};

/// Returns the `object` values of all objects that a [`Sampler`] can create, sorted.
pub fn objects() -> impl Iterator<Item = &'static str> {
    shape::objects()
}

/// A generator of sample objects and events, determined by a seed and a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    seed: u64,
    now: u64,
    livemode: bool,
}

impl Sampler {
    /// Creates a sampler. `now` is the creation time of events, in seconds since the Unix epoch.
    #[must_use]
    pub const fn new(seed: u64, now: u64) -> Self {
        Self { seed, now, livemode: false }
    }

    /// Sets whether samples are of live mode. Default: test mode.
    #[must_use]
    pub const fn livemode(self, livemode: bool) -> Self {
        Self { livemode, ..self }
    }

    /// Returns a sample of the object with this `object` value, or `None` if the object is not
    /// known.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Value> {
        let (name, fields) = shape::lookup(name)?;
        Some(Maker { sampler: *self, ancestors: &[] }.object(name, fields))
    }
}
