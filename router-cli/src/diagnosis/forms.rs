//! What a body may have been before something on its way changed it.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::json::{Json, Layout, Strings};

/// What a body may have been, and what then happened to it.
#[derive(Debug)]
pub(super) struct Form {
    /// What was signed.
    pub(super) body: Vec<u8>,
    pub(super) change: Change,
}

/// What happened to a body on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Its bytes were touched: in so many words.
    Touched(String),
    /// It was parsed and written anew. What was signed: in so many words.
    Rewritten(String),
}

/// A byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Undoes a change; none where it cannot have been made.
type Undo = fn(&[u8]) -> Option<Vec<u8>>;

/// What programs that read a file, a form or a log do to bytes.
const TOUCHES: [(&str, Undo); 8] = [
    ("a line break was added at its end", |body| Some(body.strip_suffix(b"\n")?.to_vec())),
    ("the line break at its end was taken away", |body| Some([body, b"\n"].concat())),
    ("white space was put around it", |body| Some(body.trim_ascii().to_vec())),
    ("its line breaks were made CR LF", |body| Some(replaced(body, "\r\n", "\n")?.into())),
    ("its line breaks were CR LF, and were made LF", |body| {
        Some(replaced(body, "\n", "\r\n")?.into())
    }),
    ("a byte order mark was put before it", |body| Some(body.strip_prefix(MARK)?.to_vec())),
    ("it was encoded in base64", |body| BASE64_STANDARD.decode(body.trim_ascii()).ok()),
    ("it was put into a JSON string", |body| {
        Some(serde_json::from_slice::<String>(body).ok()?.into_bytes())
    }),
];

const LAYOUTS: [(&str, Layout); 6] = [
    ("indented by two spaces", pretty("  ")),
    (
        "indented by two spaces, with line breaks in what is empty",
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

const STRINGS: [(&str, Strings); 3] = [
    ("", Strings::AsGiven),
    (", with other characters than ASCII as they are", Strings::Plain),
    (", with other characters than ASCII escaped", Strings::Ascii),
];

const fn pretty(indent: &'static str) -> Layout {
    Layout { indent: Some(indent), comma: ",", colon: ": ", empty: None }
}

/// Everything that this body may have been, the likeliest first.
pub(super) fn forms(body: &[u8]) -> impl Iterator<Item = Form> {
    touched(body).chain(rewritten(body))
}

/// Once, and what was touched once, once more.
fn touched(body: &[u8]) -> impl Iterator<Item = Form> {
    let twice = touches(body).flat_map(move |(last, then)| {
        let before: Vec<_> = touches(&then).filter(|(_, was)| was != body).collect();
        before.into_iter().map(move |(first, was)| (format!("{first}, and {last}"), was))
    });
    let once = touches(body).map(|(what, was)| (what.to_owned(), was));
    once.chain(twice).map(|(what, body)| Form { body, change: Change::Touched(what) })
}

/// Each touch that may have been the last one, and what the body then was before it.
fn touches(body: &[u8]) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    TOUCHES
        .iter()
        .filter_map(move |(what, undo)| Some((*what, undo(body).filter(|was| was != body)?)))
}

fn rewritten(body: &[u8]) -> impl Iterator<Item = Form> {
    // Whatever parses JSON skips a mark before it.
    let body = body.strip_prefix(MARK).unwrap_or(body);
    let json = std::str::from_utf8(body).ok().and_then(Json::parse);
    let orders = json.map(|json| {
        [("", json.clone()), (", its fields in Stripe's order", json.in_stripes_order())]
    });
    orders.into_iter().flatten().flat_map(|(order, json)| {
        LAYOUTS.into_iter().flat_map(move |(layout_name, layout)| {
            let json = json.clone();
            STRINGS.into_iter().flat_map(move |(strings_name, strings)| {
                let text = json.write(layout, strings);
                let name = format!("{layout_name}{order}{strings_name}");
                let slashes = text.replace('/', r"\/");
                let escaped = format!("{name}, with slashes escaped");
                let ended = format!("{text}\n");
                let with_end = format!("{name}, with a line break at the end");
                [(text, name), (slashes, escaped), (ended, with_end)].map(|(text, name)| Form {
                    body: text.into_bytes(),
                    change: Change::Rewritten(name),
                })
            })
        })
    })
}

fn replaced(body: &[u8], from: &str, to: &str) -> Option<String> {
    Some(std::str::from_utf8(body).ok()?.replace(from, to))
}
