//! The comparison of API versions, and the versions seen so far.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// An API version, such as `2026-10-28.endive`, without the flags that may follow it, as in
/// `2026-10-28.endive;managed_payments_preview=v1`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ApiVersion<'v> {
    text: &'v str,
    /// The release train, unless the version is compatible with no other one.
    train: Option<&'v str>,
}

/// The maximum number of versions in a [`SeenVersions`]. An account has one version, or two while
/// it migrates.
const MAX_SEEN_VERSIONS: usize = 64;

/// The unexpected versions of events seen so far, without their flags. Each is logged once.
#[derive(Debug, Default)]
pub(crate) struct SeenVersions(Mutex<HashSet<Box<str>>>);

impl SeenVersions {
    /// Adds a version. Returns whether it is new; `None` if there are too many to remember it.
    pub(crate) fn insert(&self, version: ApiVersion<'_>) -> Option<bool> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.contains(version.as_str()) {
            return Some(false);
        }
        (seen.len() < MAX_SEEN_VERSIONS).then(|| seen.insert(version.as_str().into()))
    }
}

impl<'v> ApiVersion<'v> {
    pub(crate) fn new(text: &'v str) -> Self {
        let text = text.split_once(';').map_or(text, |(version, _)| version).trim();
        let train = match text.split_once('.') {
            // Each preview may change what the one before it has added.
            Some((date, train)) if is_date(date) && train != "preview" => Some(train),
            _ => None,
        };
        Self { text, train }
    }

    /// Returns the version without its flags.
    pub(crate) fn as_str(self) -> &'v str {
        self.text
    }

    /// Returns whether a type for the objects of one version decodes those of the other.
    ///
    /// The monthly releases of a train only add to the API. A preview, and a version before the
    /// trains, which is only a date, are compatible only with themselves.
    pub(crate) fn is_compatible_with(self, other: ApiVersion<'_>) -> bool {
        match (self.train, other.train) {
            (Some(train), Some(other)) => train == other,
            _ => self.text == other.text,
        }
    }

    /// Returns whether the text is a date, alone or with a release train.
    pub(crate) fn is_well_formed(self) -> bool {
        match self.text.split_once('.') {
            Some((date, train)) => {
                let is_train_char = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
                is_date(date) && !train.is_empty() && train.bytes().all(is_train_char)
            }
            None => is_date(self.text),
        }
    }
}

/// Returns whether a text has the form of a date, such as `2026-10-28`.
fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().zip(0..).all(|(byte, index)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_train_without_flags() {
        for (a, b, compatible) in [
            ("2025-11-17.clover", "2025-11-17.clover;managed_payments_preview=v1", true),
            ("2025-11-17.clover", "2025-09-30.clover; a=v1; b=v2", true),
            ("2025-11-17.clover", "2026-10-28.endive", false),
            ("2025-03-31.preview", "2025-03-31.preview;a=v1", true),
            ("2025-03-31.preview", "2024-01-01.preview", false),
            ("2025-03-31.preview", "2025-03-31.basil", false),
            ("2024-06-20", "2024-06-20;a=v1", true),
            ("2024-06-20", "2024-04-10", false),
            ("2024-06-20", "2024-06-20.acacia", false),
            ("version.clover", "2025-11-17.clover", false),
        ] {
            for (a, b) in [(a, b), (b, a)] {
                let (a, b) = (ApiVersion::new(a), ApiVersion::new(b));
                assert_eq!(a.is_compatible_with(b), compatible, "{a:?} and {b:?}");
            }
        }
    }
}
