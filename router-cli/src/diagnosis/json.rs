//! Serializes JSON in another layout, as frameworks do.
//!
//! Unlike `serde_json::Value`, [`Json`] preserves the order of fields and the text of numbers.

use std::{fmt, iter};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The nesting limit, the same as that of an endpoint. serde_json has no limit for ignored values.
const MAX_DEPTH: usize = 128;

/// The maximum length of a path. Otherwise a long name would be copied for each of its items.
pub(super) const MAX_PATH: usize = 80;

/// A JSON value whose names and scalars are slices of the source text.
#[derive(Debug, Clone)]
pub(super) enum Json<'t> {
    /// A number, `true`, `false` or `null`.
    Scalar(&'t str),
    /// A string, with its quotation marks.
    String(&'t str),
    Array(Vec<Json<'t>>),
    Object(Vec<(&'t str, Json<'t>)>),
}

/// The white space between tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// The indentation of each level; `None` writes everything on one line.
    pub(super) indent: Option<&'static str>,
    pub(super) comma: &'static str,
    pub(super) colon: &'static str,
    /// The text inside an empty object and an empty array, in front of a line break.
    pub(super) empty: Option<(&'static str, &'static str)>,
}

/// The encoding of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StringEncoding {
    AsGiven,
    /// Escapes only the characters that JSON requires to be escaped.
    Unescaped,
    /// Escapes non-ASCII characters too, as in `\u00e9`.
    Ascii,
}

impl<'t> Json<'t> {
    /// Parses a text. Returns `None` if it is not JSON, or is nested too deeply.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        Self::from_raw(serde_json::from_str(text).ok()?, MAX_DEPTH)
    }

    /// Parses the text of a value that has at most this number of levels.
    fn from_raw(raw: &'t RawValue, levels: usize) -> Option<Self> {
        let text = raw.get();
        Some(match text.as_bytes().first()? {
            b'{' => {
                let levels = levels.checked_sub(1)?;
                let Fields(fields) = serde_json::from_str(text).ok()?;
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| Some((name.get(), Self::from_raw(value, levels)?)));
                Self::Object(fields.collect::<Option<_>>()?)
            }
            b'[' => {
                let levels = levels.checked_sub(1)?;
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                let items = items.into_iter().map(|item| Self::from_raw(item, levels));
                Self::Array(items.collect::<Option<_>>()?)
            }
            b'"' => Self::String(text),
            _ => Self::Scalar(text),
        })
    }

    /// Sorts the fields of every object as Stripe does: `id`, `object`, then alphabetically.
    pub(super) fn in_stripes_order(self) -> Self {
        match self {
            Self::Array(items) => {
                Self::Array(items.into_iter().map(Self::in_stripes_order).collect())
            }
            Self::Object(fields) => {
                let mut fields: Vec<_> = fields
                    .into_iter()
                    .map(|(name, value)| (name, value.in_stripes_order()))
                    .collect();
                fields.sort_by_key(|(name, _)| {
                    let first = [r#""id""#, r#""object""#].iter().position(|first| first == name);
                    (first.unwrap_or(2), *name)
                });
                Self::Object(fields)
            }
            other => other,
        }
    }

    /// Calls `visit` with each value and its path, such as `Records[0].body`. A long path is cut.
    pub(super) fn visit<'j>(&'j self, path: &str, visit: &mut dyn FnMut(&str, &'j Self)) {
        let path = path.char_indices().nth(MAX_PATH).map_or(path, |(end, _)| &path[..end]);
        visit(path, self);
        match self {
            Self::Array(items) => {
                for (value, index) in items.iter().zip(0..) {
                    value.visit(&format!("{path}[{index}]"), visit);
                }
            }
            Self::Object(fields) => {
                let dot = if path.is_empty() { "" } else { "." };
                for (name, value) in fields {
                    value.visit(&format!("{path}{dot}{}", name.trim_matches('"')), visit);
                }
            }
            Self::Scalar(_) | Self::String(_) => {}
        }
    }

    pub(super) fn write(&self, layout: Layout, encoding: StringEncoding) -> String {
        let mut out = String::new();
        self.write_at(0, layout, encoding, &mut out);
        out
    }

    fn write_at(&self, depth: usize, layout: Layout, encoding: StringEncoding, out: &mut String) {
        match self {
            Self::Scalar(text) => out.push_str(text),
            Self::String(text) => write_text(text, encoding, out),
            Self::Array(items) => {
                out.push('[');
                for (value, index) in items.iter().zip(0..) {
                    separate(index, depth + 1, layout, out);
                    value.write_at(depth + 1, layout, encoding, out);
                }
                end(items.is_empty(), layout.empty.map(|(_, array)| array), depth, layout, out);
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for ((name, value), index) in fields.iter().zip(0..) {
                    separate(index, depth + 1, layout, out);
                    write_text(name, encoding, out);
                    out.push_str(layout.colon);
                    value.write_at(depth + 1, layout, encoding, out);
                }
                end(fields.is_empty(), layout.empty.map(|(object, _)| object), depth, layout, out);
                out.push('}');
            }
        }
    }
}

fn separate(index: usize, depth: usize, layout: Layout, out: &mut String) {
    if index > 0 {
        out.push_str(layout.comma);
    }
    if layout.indent.is_some() {
        new_line(depth, layout, out);
    }
}

fn end(is_empty: bool, empty: Option<&str>, depth: usize, layout: Layout, out: &mut String) {
    match (is_empty, empty) {
        (true, None) => {}
        (true, Some(within)) => {
            out.push_str(within);
            new_line(depth, layout, out);
        }
        (false, _) if layout.indent.is_some() => new_line(depth, layout, out),
        (false, _) => {}
    }
}

fn new_line(depth: usize, layout: Layout, out: &mut String) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str(layout.indent.unwrap_or_default());
    }
}

fn write_text(text: &str, encoding: StringEncoding, out: &mut String) {
    let decoded = match encoding {
        StringEncoding::AsGiven => None,
        StringEncoding::Unescaped | StringEncoding::Ascii => {
            serde_json::from_str::<String>(text).ok()
        }
    };
    let Some(decoded) = decoded else { return out.push_str(text) };
    let plain = serde_json::to_string(&decoded).unwrap_or_else(|_| text.to_owned());
    if encoding == StringEncoding::Unescaped {
        return out.push_str(&plain);
    }
    for c in plain.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// The fields of an object in the order of the text, each name with its quotation marks.
struct Fields<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'t> Deserialize<'t> for Fields<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'t> Visitor<'t> for FieldsVisitor {
            type Value = Fields<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Fields<'t>, A::Error> {
                iter::from_fn(|| map.next_entry().transpose()).collect::<Result<_, _>>().map(Fields)
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: Layout = Layout { indent: None, comma: ",", colon: ":", empty: None };

    #[test]
    fn as_given_preserves_numbers_strings_and_order() {
        let text = r#" { "b" : 1.0e+5 , "a" : [ -0 , 1e400, true,null ] , "\u0063\"" : "\/\u00e9é" , "e": {}, "f": [ ] } "#;
        assert_eq!(
            Json::parse(text).unwrap().write(COMPACT, StringEncoding::AsGiven),
            r#"{"b":1.0e+5,"a":[-0,1e400,true,null],"\u0063\"":"\/\u00e9é","e":{},"f":[]}"#
        );
    }

    #[test]
    fn stripes_order_is_id_object_then_alphabetical() {
        let text = r#"{"b":1,"object":2,"a":[{"d":3,"c":4}],"id":5}"#;
        assert_eq!(
            Json::parse(text).unwrap().in_stripes_order().write(COMPACT, StringEncoding::AsGiven),
            r#"{"id":5,"object":2,"a":[{"c":4,"d":3}],"b":1}"#
        );
    }

    #[test]
    fn string_encodings_match_common_libraries() {
        let json = Json::parse(r#"["\/é😀\u00e9\n"]"#).unwrap();
        assert_eq!(json.write(COMPACT, StringEncoding::Unescaped), r#"["/é😀é\n"]"#);
        assert_eq!(
            json.write(COMPACT, StringEncoding::Ascii),
            r#"["/\u00e9\ud83d\ude00\u00e9\n"]"#
        );
    }

    #[test]
    fn invalid_json_is_rejected() {
        for text in ["", "{", r#"{"a":1,}"#, "[1 2]", "{} {}", &"[".repeat(100_000)] {
            assert!(Json::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn long_path_is_cut() {
        let text = format!(r#"{{"{}":[1,{{"b":2}}]}}"#, "é".repeat(1_000));
        let json = Json::parse(&text).unwrap();
        let mut longest = 0;
        json.visit("", &mut |path, _| longest = longest.max(path.chars().count()));
        assert_eq!(longest, MAX_PATH);
    }

    #[test]
    fn nesting_beyond_limit_is_rejected() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for (depth, is_accepted) in [(MAX_DEPTH, true), (MAX_DEPTH + 1, false), (100_000, false)] {
            assert_eq!(Json::parse(&nested(depth)).is_some(), is_accepted, "{depth}");
        }
        // Siblings do not count as depth.
        let many = format!("[{}]", vec!["[[]]"; 1_000].join(","));
        assert!(Json::parse(&many).is_some());
    }
}
