//! Known alterations of a body, each with its inverse and its remedy.

use std::borrow::Cow;

use super::{
    encodings::{
        base64, escaped, escaped_apostrophes, form, form_field_name, gzip, hex, html, http_request,
        json_bytes, latin1, python_bytes, utf8_as_latin1, utf16, zlib,
    },
    json::{Json, MAX_PATH},
    remedies::{
        BASE64, COMPRESSED, CURL_DATA, ENCODING, ESCAPED, FORM, HTTP_REQUEST, JSON_BYTES,
        JSON_FIELD, LAMBDA, PYTHON_BYTES, RAW_BODY,
    },
};
use crate::output::sanitize;

/// An alteration of a body, for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alteration {
    /// A clause about the body, as in `it was encoded in base64`.
    pub(crate) text: Cow<'static, str>,
    /// Instructions for the server.
    pub(crate) remedy: &'static str,
}

/// The body before an alteration.
pub(super) struct Undone {
    pub(super) alteration: Alteration,
    pub(super) body: Vec<u8>,
    /// `true` if the alteration wrapped or encoded the text, and did not only change white space.
    pub(super) is_decoded: bool,
}

/// Undoes an alteration. Returns `None` if it cannot have been made.
type Undo = fn(&[u8]) -> Option<Vec<u8>>;

/// The length of the shortest text in a JSON document that may be a body.
const MIN_BODY: usize = 32;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Alterations of the white space around and between the tokens of the JSON.
const EDITS: [(&str, &str, Undo); 6] = [
    ("a line break was added at its end", RAW_BODY, |body| {
        Some(body.strip_suffix(b"\n")?.to_vec())
    }),
    ("the line break at its end was removed", RAW_BODY, |body| Some([body, b"\n"].concat())),
    ("white space was added around it", RAW_BODY, |body| Some(body.trim_ascii().to_vec())),
    ("its line breaks were converted to CR LF", RAW_BODY, |body| replaced(body, "\r\n", "\n")),
    ("its line breaks were converted from CR LF to LF", RAW_BODY, |body| {
        replaced(body, "\n", "\r\n")
    }),
    ("a byte order mark was added in front of it", RAW_BODY, |body| {
        Some(body.strip_prefix(BYTE_ORDER_MARK)?.to_vec())
    }),
];

/// Alterations that wrap or encode the text.
const ENCODINGS: [(&str, &str, Undo); 16] = [
    ("it was encoded in base64", BASE64, base64),
    ("it was wrapped in a JSON string", RAW_BODY, |body| {
        Some(serde_json::from_slice::<String>(body).ok()?.into_bytes())
    }),
    ("it was compressed with gzip", COMPRESSED, gzip),
    ("it was compressed with zlib (`deflate`)", COMPRESSED, zlib),
    ("its bytes were written as a JSON list of numbers", JSON_BYTES, json_bytes),
    ("it was encoded as a form", FORM, form),
    ("it was parsed as a form", FORM, form_field_name),
    ("its text was escaped, as in `{\\\"id\\\":`", ESCAPED, escaped),
    ("it was converted to text by Python's `str`, as in `b'{…}'`", PYTHON_BYTES, python_bytes),
    (r"a template wrote `\'` for each apostrophe", ESCAPED, escaped_apostrophes),
    ("it was escaped for HTML", ESCAPED, html),
    ("it was converted to UTF-16", ENCODING, utf16),
    ("its UTF-8 text was read as Latin-1", ENCODING, utf8_as_latin1),
    ("it was converted from UTF-8 to Latin-1", ENCODING, latin1),
    ("it was encoded in hexadecimal digits", ENCODING, hex),
    ("the head of the HTTP request was left in front of it", HTTP_REQUEST, http_request),
];

/// Returns each alteration that may have been the last one, and the body before it.
pub(super) fn undo_each(body: &[u8]) -> Vec<Undone> {
    let rows = EDITS.map(|row| (row, false)).into_iter();
    let rows = rows.chain(ENCODINGS.map(|row| (row, true)));
    let undone = rows.filter_map(|((text, remedy, undo), is_decoded)| {
        let original = undo(body).filter(|original| original != body)?;
        let alteration = Alteration { text: text.into(), remedy };
        Some(Undone { alteration, body: original, is_decoded })
    });
    undone.chain(json_fields(body)).collect()
}

/// Returns the strings in a JSON document that may be the body.
fn json_fields(body: &[u8]) -> Vec<Undone> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let Some(json @ (Json::Object(_) | Json::Array(_))) = Json::parse(text) else {
        return Vec::new();
    };
    let mut strings = Vec::new();
    json.visit("", &mut |path, value| {
        if let Json::String(string) = value {
            strings.extend(serde_json::from_str(string).ok().map(|text| (path.to_owned(), text)));
        }
    });
    let is_lambda = text.contains("\"isBase64Encoded\"") || text.contains("\"requestContext\"");
    let may_be_body = |(_, text): &(String, String)| text.len() >= MIN_BODY;
    strings
        .into_iter()
        .filter(may_be_body)
        .map(|(path, text)| Undone {
            alteration: if is_lambda && path == "body" {
                let text = "it was put into the field `body` of a Lambda event (from API Gateway, \
                            for example)";
                Alteration { text: text.into(), remedy: LAMBDA }
            } else {
                in_json_field(&path)
            },
            body: text.into_bytes(),
            is_decoded: true,
        })
        .collect()
}

/// Returns the alteration that put the body into a field of another JSON document.
pub(super) fn in_json_field(path: &str) -> Alteration {
    // Names in the document are untrusted, and can be long.
    let path: String = sanitize(path).chars().take(MAX_PATH).collect();
    let text = format!("it was put into the field `{path}` of another JSON document");
    Alteration { text: text.into(), remedy: JSON_FIELD }
}

/// Returns the alteration that turned this signed text into the body, if line breaks are all that
/// is missing in the body.
pub(super) fn without_line_breaks(signed: &str, body: &[u8]) -> Option<Alteration> {
    let text = "its line breaks were removed".into();
    (signed.contains('\n') && signed.replace('\n', "").as_bytes() == body)
        .then_some(Alteration { text, remedy: CURL_DATA })
}

fn replaced(body: &[u8], from: &str, to: &str) -> Option<Vec<u8>> {
    Some(std::str::from_utf8(body).ok()?.replace(from, to).into_bytes())
}
