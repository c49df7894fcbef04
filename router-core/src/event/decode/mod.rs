//! Decodes a part of an event, and says what did not fit without telling what was there.

mod reader;

use std::fmt;

use serde::Deserialize;

/// Why a part of an event did not decode. What it shows, in `Display` and `Debug`, names the place and
/// what should be there, and none of the payload's values: they are people's names, addresses and
/// secrets, and errors are logged.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The event does not have it.
    #[error(
        "the event has no `{part}`: a thin event only names its object, and only an update says what was before"
    )]
    Absent {
        /// `data.object` or `data.previous_attributes`.
        part: &'static str,
    },
    /// It does not fit the type.
    #[error("`{part}` does not decode{}: {}", At(path), without_values(&error.to_string()))]
    Unfit {
        /// `data.object` or `data.previous_attributes`.
        part: &'static str,
        /// Where in it; `.` for the whole.
        path: String,
        /// What serde found there. Its text shows the value.
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
    // The keys of a map may be numbers, say, of which only serde_json knows.
    if let Ok(decoded) = reader::read(json).or_else(|_| serde_json::from_str(json)) {
        return Ok(decoded);
    }
    // Once more, to find out where and why: to keep track of that costs more than the decoding.
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| DecodeError::Unfit {
        part,
        path: error.path().to_string(),
        error: error.into_inner(),
    })
}

/// Where it is, unless it is the whole.
struct At<'p>(&'p str);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "." => Ok(()),
            path => write!(f, " at `{path}`"),
        }
    }
}

/// serde's message without the value that it found: its type is enough, as in `invalid type: string,
/// expected i64`. A variant that looks like one of Stripe's own words (`past_due`) stays. What a
/// `Deserialize` of the user's own says is the user's.
fn without_values(message: &str) -> String {
    // The line is one of the part, which nobody has; the path says where.
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
        && !is_word(found)
    {
        return format!("unknown variant, expected {rest}");
    }
    message.to_owned()
}

/// As Stripe's statuses are written.
fn is_word(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    fn told<T: DeserializeOwned + fmt::Debug>(json: &str) -> String {
        let error = decode::<T>("data.object", Some(json)).unwrap_err();
        assert_eq!(format!("{error:?}"), format!("DecodeError({error})"));
        error.to_string()
    }

    #[test]
    fn what_only_serde_json_reads_is_read() {
        type Numbered = std::collections::BTreeMap<u8, bool>;
        assert!(reader::read::<Numbered>(r#"{"7":true}"#).is_err());
        let decoded: Numbered = decode("data.object", Some(r#"{"7":true}"#)).unwrap();
        assert_eq!(decoded, [(7, true)].into());
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is decoded and not read")]
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
    fn what_does_not_fit_is_named_and_not_shown() {
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
            assert_eq!(told::<Subject>(json), expected, "{json}");
        }
    }
}
