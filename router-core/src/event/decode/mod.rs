//! Decodes a part of an event, with errors that name the mismatch without showing values.

mod mismatch;
mod reader;
mod relay;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use serde::Deserialize;

/// An error from decoding a part of an event.
///
/// Errors are logged, and a payload holds personal data. The error therefore contains no value and
/// no map key of the payload. It gives the path and the expected type. Two texts are dropped
/// because they may contain the value: that of an error made with
/// [`Error::custom`](serde::de::Error::custom), and an expectation that is not the type's visitor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The event does not have the part.
    #[error(
        "the event has no `{part}`: a thin event only names its object, and only an `*.updated` event has previous \
         attributes; if that is expected, take the argument as an `Option`"
    )]
    #[non_exhaustive]
    Absent {
        /// `data.object` or `data.previous_attributes`.
        part: &'static str,
    },
    /// The part does not match the type.
    #[error("`{part}` does not decode{}: {reason}", PathSuffix(path))]
    #[non_exhaustive]
    Mismatch {
        /// `data.object` or `data.previous_attributes`.
        part: &'static str,
        /// The path to the mismatch in the part, such as `items.data[0].price`; `.` for the whole
        /// part. A key that no struct declares as a field, such as one of `metadata`, is `*`.
        path: String,
        /// The reason, such as `invalid type: string, expected i64`.
        reason: String,
    },
}

/// Decodes JSON that belongs to an event, such as its object as fetched from Stripe. `part` is the
/// name of the JSON in the error.
///
/// # Errors
///
/// Fails if the JSON does not match `T`. The error has the path to the mismatch, and no values.
pub fn decode_json<'e, T: Deserialize<'e>>(
    part: &'static str,
    json: &'e str,
) -> Result<T, DecodeError> {
    decode(part, Some(json))
}

pub(super) fn decode<'e, T: Deserialize<'e>>(
    part: &'static str,
    json: Option<&'e str>,
) -> Result<T, DecodeError> {
    let json = json.ok_or(DecodeError::Absent { part })?;
    reader::read(json).map_err(|mismatch| {
        let (path, reason) = mismatch.into_parts();
        DecodeError::Mismatch { part, path, reason }
    })
}

/// Displays ` at` and the path, or nothing for the path of the whole part.
struct PathSuffix<'p>(&'p str);

impl fmt::Display for PathSuffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "." => Ok(()),
            path => write!(f, " at `{path}`"),
        }
    }
}
