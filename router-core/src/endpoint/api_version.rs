//! Whether an event is written in the API version for which the handlers' types were.

use std::{
    collections::HashSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use super::Refusal;
use crate::{event::Event, telemetry};

/// How many versions are remembered, as warned of and as labels of the metric. An account has one, or
/// two while it moves.
const MAX_SEEN: usize = 64;

/// The API version that events should be written in.
pub(super) struct ExpectedVersion {
    version: Box<str>,
    /// Whether an event in another one is refused; otherwise it is warned of, once per version.
    refuse: bool,
    /// The other versions that were seen.
    seen: Mutex<HashSet<Box<str>>>,
}

impl ExpectedVersion {
    pub(super) fn new(version: &str, refuse: bool) -> Self {
        Self { version: version.into(), refuse, seen: Mutex::default() }
    }

    /// Thin events name no version: they carry no object that could be written in one.
    pub(super) fn check(&self, event: &Event) -> Result<(), Refusal> {
        let expected = &*self.version;
        let found = match event.api_version() {
            Some(found) if train(found) != train(expected) => found,
            _ => return Ok(()),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = seen.len() < MAX_SEEN && seen.insert(found.into());
        // A metric has no end of labels otherwise.
        telemetry::api_version_mismatch(if seen.contains(found) { found } else { "other" });
        drop(seen);
        if self.refuse {
            return Err(Refusal::ApiVersion {
                event: event.id().to_owned(),
                expected: expected.to_owned(),
                found: found.to_owned(),
            });
        }
        if is_new {
            tracing::warn!(
                event.id = event.id(),
                expected,
                found,
                "an event is written in another API version than is expected, so its object may not \
                 decode: set the version of the webhook endpoint at Stripe; said once per version"
            );
        }
        Ok(())
    }
}

/// The release train of a version: `endive` of `2026-10-28.endive`, whose monthly releases only add.
/// Older versions are a date alone, and each is a train of its own.
fn train(version: &str) -> &str {
    version.split_once('.').map_or(version, |(_, train)| train)
}

impl fmt::Debug for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, refuse, .. } = self;
        f.debug_struct("ExpectedVersion").field("version", version).field("refuse", refuse).finish()
    }
}
