//! Candidates for the body that was signed, before something altered it.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::json::{Json, Layout, StringEncoding};

/// A candidate for the signed body, and the alteration that turned it into the given body.
#[derive(Debug)]
pub(super) struct BodyCandidate {
    pub(super) body: Vec<u8>,
    pub(super) alteration: BodyAlteration,
}

/// An alteration of a body. The texts are for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyAlteration {
    /// Bytes were added, removed or encoded.
    Bytes(String),
    /// The body was parsed and serialized again.
    Reserialized { signed_layout: String },
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Undoes an alteration. Returns `None` if it cannot have been made.
type Undo = fn(&[u8]) -> Option<Vec<u8>>;

/// Alterations made by programs that read a file, a form or a log.
const BYTE_ALTERATIONS: [(&str, Undo); 8] = [
    ("a line break was added at its end", |body| Some(body.strip_suffix(b"\n")?.to_vec())),
    ("the line break at its end was removed", |body| Some([body, b"\n"].concat())),
    ("white space was added around it", |body| Some(body.trim_ascii().to_vec())),
    ("its line breaks were converted to CR LF", |body| Some(replaced(body, "\r\n", "\n")?.into())),
    ("its line breaks were converted from CR LF to LF", |body| {
        Some(replaced(body, "\n", "\r\n")?.into())
    }),
    ("a byte order mark was added in front of it", |body| {
        Some(body.strip_prefix(BYTE_ORDER_MARK)?.to_vec())
    }),
    ("it was encoded in base64", |body| BASE64_STANDARD.decode(body.trim_ascii()).ok()),
    ("it was wrapped in a JSON string", |body| {
        Some(serde_json::from_slice::<String>(body).ok()?.into_bytes())
    }),
];

const LAYOUTS: [(&str, Layout); 6] = [
    ("indented by two spaces", pretty("  ")),
    (
        "indented by two spaces, with line breaks in empty objects and arrays",
        Layout { empty: Some(("", "\n")), ..pretty("  ") },
    ),
    ("compact", Layout { indent: None, comma: ",", colon: ":", empty: None }),
    (
        "on one line, with a space after each comma and colon",
        Layout { indent: None, comma: ", ", colon: ": ", empty: None },
    ),
    ("indented by four spaces", pretty("    ")),
    ("indented by tabs", pretty("\t")),
];

const STRING_ENCODINGS: [(&str, StringEncoding); 3] = [
    ("", StringEncoding::AsGiven),
    (", with non-ASCII characters unescaped", StringEncoding::Unescaped),
    (", with non-ASCII characters escaped", StringEncoding::Ascii),
];

const fn pretty(indent: &'static str) -> Layout {
    Layout { indent: Some(indent), comma: ",", colon: ": ", empty: None }
}

/// Returns all candidates for the signed body, the likeliest first.
pub(super) fn body_candidates(body: &[u8]) -> impl Iterator<Item = BodyCandidate> {
    byte_candidates(body).chain(reserialized_candidates(body))
}

/// Undoes one alteration of the bytes, then two.
fn byte_candidates(body: &[u8]) -> impl Iterator<Item = BodyCandidate> {
    let twice = undo_each(body).flat_map(move |(last, between)| {
        let originals: Vec<_> =
            undo_each(&between).filter(|(_, original)| original != body).collect();
        originals
            .into_iter()
            .map(move |(first, original)| (format!("{first}, and {last}"), original))
    });
    let once = undo_each(body).map(|(alteration, original)| (alteration.to_owned(), original));
    once.chain(twice).map(|(alteration, original)| BodyCandidate {
        body: original,
        alteration: BodyAlteration::Bytes(alteration),
    })
}

/// Returns each alteration that may have been the last one, and the body before it.
fn undo_each(body: &[u8]) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    BYTE_ALTERATIONS.iter().filter_map(move |(alteration, undo)| {
        Some((*alteration, undo(body).filter(|original| original != body)?))
    })
}

fn reserialized_candidates(body: &[u8]) -> impl Iterator<Item = BodyCandidate> {
    // JSON parsers skip a byte order mark.
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let json = std::str::from_utf8(body).ok().and_then(Json::parse);
    let orders = json.map(|json| {
        [("", json.clone()), (", with the fields in Stripe's order", json.in_stripes_order())]
    });
    orders.into_iter().flatten().flat_map(|(order, json)| {
        LAYOUTS.into_iter().flat_map(move |(layout_name, layout)| {
            let json = json.clone();
            STRING_ENCODINGS.into_iter().flat_map(move |(encoding_name, encoding)| {
                let text = json.write(layout, encoding);
                let name = format!("{layout_name}{order}{encoding_name}");
                let escaped = (text.replace('/', r"\/"), format!("{name}, with slashes escaped"));
                let ended = (format!("{text}\n"), format!("{name}, with a line break at the end"));
                [(text, name), escaped, ended].map(|(text, signed_layout)| BodyCandidate {
                    body: text.into_bytes(),
                    alteration: BodyAlteration::Reserialized { signed_layout },
                })
            })
        })
    })
}

fn replaced(body: &[u8], from: &str, to: &str) -> Option<String> {
    Some(std::str::from_utf8(body).ok()?.replace(from, to))
}
