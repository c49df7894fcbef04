//! The check that an event has the API version that the handlers' types were written for.

use std::{
    collections::HashSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use super::Refusal;
use crate::{event::Event, telemetry};

/// The maximum number of other versions that are remembered, to warn once per version and to bound
/// the labels of the metric. An account has one version, or two while it migrates.
const MAX_SEEN_VERSIONS: usize = 64;

/// The API version that events should be written in.
pub(super) struct ExpectedVersion {
    version: Box<str>,
    /// `true` if an event of another version is refused. Otherwise it is accepted, with a warning
    /// once per version.
    refuse: bool,
    /// The other versions seen so far.
    seen: Mutex<HashSet<Box<str>>>,
}

impl ExpectedVersion {
    pub(super) fn new(version: &str, refuse: bool) -> Self {
        Self { version: version.into(), refuse, seen: Mutex::default() }
    }

    /// Checks the version of an event. A thin event passes: it names no version, because it carries
    /// no object.
    pub(super) fn check(&self, event: &Event) -> Result<(), Refusal> {
        let expected = &*self.version;
        let found = match event.api_version() {
            Some(found) if release_train(found) != release_train(expected) => found,
            _ => return Ok(()),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = seen.len() < MAX_SEEN_VERSIONS && seen.insert(found.into());
        // Versions beyond the maximum share one label.
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
                "an event has another API version than expected, so its object may not decode; set \
                 the version of the webhook endpoint at Stripe; logged once per version"
            );
        }
        Ok(())
    }
}

/// Returns the release train of a version, such as `endive` of `2026-10-28.endive`. The monthly
/// releases of a train only add to the API. Older versions are only a date; each is its own train.
fn release_train(version: &str) -> &str {
    version.split_once('.').map_or(version, |(_, train)| train)
}

impl fmt::Debug for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, refuse, .. } = self;
        f.debug_struct("ExpectedVersion").field("version", version).field("refuse", refuse).finish()
    }
}
