//! Decodes a part of an event, with errors that name the mismatch without showing values.

mod reader;

use std::fmt;

use serde::Deserialize;

/// An error from decoding a part of an event.
///
/// `Display` and `Debug` give the path and the expected type, and none of the payload's values. The
/// values are names, addresses and secrets, and errors are logged.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The event does not have the part.
    #[error(
        "the event has no `{part}`: a thin event only names its object, and only an `*.updated` event has previous attributes"
    )]
    Absent {
        /// `data.object` or `data.previous_attributes`.
        part: &'static str,
    },
    /// The part does not match the type.
    #[error("`{part}` does not decode{}: {}", PathSuffix(path), without_values(&error.to_string()))]
    Mismatch {
        /// `data.object` or `data.previous_attributes`.
        part: &'static str,
        /// The path to the mismatch in the part; `.` for the whole part.
        path: String,
        /// The error from serde. Its text shows the value.
        error: serde_json::Error,
    },
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecodeError({self})")
    }
}

pub(super) fn decode<'e, T: Deserialize<'e>>(
    part: &'static str,
    json: Option<&'e str>,
) -> Result<T, DecodeError> {
    let json = json.ok_or(DecodeError::Absent { part })?;
    // Only serde_json supports everything: for example, the keys of a map may be numbers.
    if let Ok(decoded) = reader::read(json).or_else(|_| serde_json::from_str(json)) {
        return Ok(decoded);
    }
    // Decode again to find the path and the reason; tracking the path costs more than decoding.
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| DecodeError::Mismatch {
        part,
        path: error.path().to_string(),
        error: error.into_inner(),
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

/// Removes the found value from serde's message and leaves its type, as in
/// `invalid type: string, expected i64`. A variant that looks like one of Stripe's statuses
/// (`past_due`) stays. A `Deserialize` implementation of the user's own must keep values out of its
/// messages itself.
fn without_values(message: &str) -> String {
    // Line and column count within the part, so they are of no use. The path locates the mismatch.
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    for head in ["invalid type: ", "invalid value: "] {
        if let Some((found, expected)) =
            message.strip_prefix(head).and_then(|rest| rest.rsplit_once(", expected "))
        {
            let found = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            return format!("{head}{found}, expected {expected}");
        }
    }
    if let Some(rest) = message.strip_prefix("unknown variant `")
        && let Some((found, rest)) =
            rest.rsplit_once("`, expected ").or(rest.rsplit_once("`, there"))
        && !is_status_like(found)
    {
        return format!("unknown variant, expected {rest}");
    }
    message.to_owned()
}

/// Returns whether the text looks like one of Stripe's statuses.
fn is_status_like(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    fn error_text<T: DeserializeOwned + fmt::Debug>(json: &str) -> String {
        let error = decode::<T>("data.object", Some(json)).unwrap_err();
        assert_eq!(format!("{error:?}"), format!("DecodeError({error})"));
        error.to_string()
    }

    #[test]
    fn decode_falls_back_to_serde_json() {
        type Numbered = std::collections::BTreeMap<u8, bool>;
        assert!(reader::read::<Numbered>(r#"{"7":true}"#).is_err());
        let decoded: Numbered = decode("data.object", Some(r#"{"7":true}"#)).unwrap();
        assert_eq!(decoded, [(7, true)].into());
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "decoded but never read")]
    struct Subject {
        amount: i64,
        status: Option<Status>,
        day: Option<std::num::NonZeroU8>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Status {
        Active,
        PastDue,
    }

    #[test]
    fn mismatch_error_names_path_without_value() {
        for (json, text) in [
            (
                r#"{"amount":"jenny@example.com, expected `\"x\"`"}"#,
                " at `amount`: invalid type: string, expected i64",
            ),
            (r#"{"amount":2000.5}"#, " at `amount`: invalid type: floating point, expected i64"),
            (r#"{"amount":null}"#, " at `amount`: invalid type: null, expected i64"),
            (r#"["jenny"]"#, " at `[0]`: invalid type: string, expected i64"),
            (r#"{"amount":1,"day":0}"#, " at `day`: invalid value: integer, expected a nonzero u8"),
            (
                r#"{"amount":1,"status":"paused"}"#,
                " at `status`: unknown variant `paused`, expected `active` or `past_due`",
            ),
            (
                r#"{"amount":1,"status":"Jenny Rosen"}"#,
                " at `status`: unknown variant, expected `active` or `past_due`",
            ),
            ("{}", ": missing field `amount`"),
            ("\"jenny\"", ": invalid type: string, expected struct Subject"),
        ] {
            let expected = format!("`data.object` does not decode{text}");
            assert_eq!(error_text::<Subject>(json), expected, "{json}");
        }
    }
}
