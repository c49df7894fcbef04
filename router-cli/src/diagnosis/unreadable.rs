//! Recognizes bodies that are not JSON, and from which no alteration can be undone.

use serde::de::IgnoredAny;

use super::remedies::{BASE64, COMPRESSED, ENCODING, FORM, RAW_BODY};

/// A body that is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// A clause about the body, as in `it is HTML or XML`.
    pub(crate) text: String,
    /// Instructions for the server.
    pub(crate) remedy: &'static str,
}

/// Beginnings of bodies that other programs have made.
const BEGINNINGS: [(&[u8], &str, &str); 16] = [
    (
        b"\x1f\x8b",
        "it is compressed with gzip, and it has no event, was cut off or altered, or is too large",
        COMPRESSED,
    ),
    (
        b"\x1f\xef\xbf\xbd\x08",
        "it was compressed with gzip and then read as text, which has lost bytes",
        COMPRESSED,
    ),
    (b"\x28\xb5\x2f\xfd", "it was compressed with Zstandard", COMPRESSED),
    (b"[object ", "it is the name of a JavaScript object, because the body was parsed", RAW_BODY),
    (b"<Buffer ", "it is a Buffer as console.log prints it, with only its first bytes", RAW_BODY),
    (b"<", "it is HTML or XML", WEB_PAGE),
    (b"--", "it is a form with several parts (`multipart/form-data`)", FORM),
    (b"{'", "it is a dictionary as Python prints it, because the body was parsed", RAW_BODY),
    (b"{\"id\"=>", "it is a hash as Ruby prints it, because the body was parsed", RAW_BODY),
    (b"{\"id\" =>", "it is a hash as Ruby prints it, because the body was parsed", RAW_BODY),
    (b"{ id:", "it is an object as Node.js prints it, because the body was parsed", RAW_BODY),
    (b"{\n  id:", "it is an object as Node.js prints it, because the body was parsed", RAW_BODY),
    (b"Array\n(", "it is an array as PHP prints it, because the body was parsed", RAW_BODY),
    (b"array(", "it is an array as PHP prints it, because the body was parsed", RAW_BODY),
    (b"map[", "it is a map as Go prints it, because the body was parsed", RAW_BODY),
    (b"\"", "it is a JSON string that is cut off or has invalid escapes", RAW_BODY),
];

const WEB_PAGE: &str = "\
Stripe sends JSON. Pass the body of its request; this may be the answer of a server.";

const CUT_OFF: &str = "\
Pass the whole body. Log entries, database columns and proxies have limits that cut it off.";

impl Unreadable {
    /// Describes a body. Returns `None` if it is JSON.
    pub(super) fn describe(body: &[u8]) -> Option<Self> {
        let error = serde_json::from_slice::<IgnoredAny>(body).err()?;
        let start = body.trim_ascii_start();
        let known = BEGINNINGS.iter().find(|(beginning, ..)| start.starts_with(beginning));
        let (text, remedy) = if let Some((_, text, remedy)) = known {
            ((*text).to_owned(), *remedy)
        } else if error.is_eof() && start.starts_with(b"{") {
            (format!("it ends in the middle of the JSON, after {} bytes", body.len()), CUT_OFF)
        } else if start.starts_with(b"{") && std::str::from_utf8(body).is_err() {
            ("its text is not UTF-8".to_owned(), ENCODING)
        } else if std::str::from_utf8(body).is_err() {
            (
                "it is binary, and may be compressed (with Brotli, for example)".to_owned(),
                COMPRESSED,
            )
        } else if start
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=\n\r".contains(byte))
        {
            ("it may be encoded in base64, and was then cut off or altered".to_owned(), BASE64)
        } else {
            (format!("the JSON is invalid ({error})"), RAW_BODY)
        };
        Some(Self { text, remedy })
    }
}
