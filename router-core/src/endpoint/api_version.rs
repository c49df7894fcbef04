//! The check that an event has the API version that the handlers' types were written for.

use std::fmt;

use super::Refusal;
use crate::{
    event::{ApiVersion, Event, SeenVersions},
    telemetry,
};

/// The API version that events should be written in.
pub(super) struct ExpectedVersion {
    version: Box<str>,
    /// `true` if an event of another version is refused. Otherwise it is accepted, with a warning
    /// once per version.
    refuse: bool,
    /// The other versions, to warn once per version and to bound the labels of the metric.
    seen: SeenVersions,
}

impl ExpectedVersion {
    /// Creates the expectation.
    ///
    /// # Panics
    ///
    /// Panics if `version` is not an API version, because no event would have it.
    #[track_caller]
    pub(super) fn new(version: &str, refuse: bool) -> Self {
        assert!(
            ApiVersion::new(version).is_well_formed(),
            "{version:?} is not an API version of Stripe: write a date and a release train, such \
             as \"2026-10-28.endive\", or for an older version only its date, such as \
             \"2024-06-20\""
        );
        Self { version: version.into(), refuse, seen: SeenVersions::default() }
    }

    /// Checks the version of an event. A thin event passes: it names no version, because it carries
    /// no object.
    pub(super) fn check(&self, event: &Event) -> Result<(), Refusal> {
        let expected = &*self.version;
        let Some(found) = event.api_version() else { return Ok(()) };
        let version = ApiVersion::new(found);
        if version.is_compatible_with(ApiVersion::new(expected)) {
            return Ok(());
        }
        let is_new = self.seen.insert(version);
        // Versions beyond the maximum share one label.
        telemetry::api_version_mismatch(is_new.map_or("other", |_| version.as_str()));
        if self.refuse {
            return Err(Refusal::ApiVersion {
                event: event.id().to_owned(),
                expected: expected.to_owned(),
                found: found.to_owned(),
            });
        }
        if is_new == Some(true) {
            tracing::warn!(
                event.id = event.id(),
                expected,
                found,
                "an event has another API version than expected, so its object may not decode; \
                 create a webhook endpoint with the expected version at Stripe; logged once per version"
            );
        }
        Ok(())
    }
}

impl fmt::Debug for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, refuse, .. } = self;
        f.debug_struct("ExpectedVersion").field("version", version).field("refuse", refuse).finish()
    }
}
