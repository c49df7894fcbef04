//! Writes JSON anew in another layout, as frameworks do, without a change to what it says: the order of
//! fields and the text of numbers stay.

use serde::de::IgnoredAny;

/// As deep as an endpoint reads; serde_json knows no limit for what it skips.
const DEPTH: usize = 128;

/// JSON, whose names and scalars are pieces of its text.
#[derive(Debug, Clone)]
pub(super) enum Json<'t> {
    /// A number, `true`, `false` or `null`.
    Scalar(&'t str),
    /// A string, with its quotation marks.
    Text(&'t str),
    Array(Vec<Json<'t>>),
    Object(Vec<(&'t str, Json<'t>)>),
}

/// White space between the parts of JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// What each level is indented by; none: all is on one line.
    pub(super) indent: Option<&'static str>,
    pub(super) comma: &'static str,
    pub(super) colon: &'static str,
    /// What stands in an empty object and in an empty array, before the last line's indentation.
    pub(super) empty: Option<(&'static str, &'static str)>,
}

/// How strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    AsGiven,
    /// Escaped only where JSON demands it.
    Plain,
    /// `\u00e9` for what is not ASCII.
    Ascii,
}

impl<'t> Json<'t> {
    /// Reads it; none where it is no JSON.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        // So that the reader below can be a simple one.
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        Reader { text, at: 0, levels: DEPTH }.value()
    }

    /// With `id` and `object` first and the rest by the alphabet, as Stripe writes it.
    pub(super) fn in_stripes_order(self) -> Self {
        match self {
            Self::Array(of) => Self::Array(of.into_iter().map(Self::in_stripes_order).collect()),
            Self::Object(of) => {
                let mut of: Vec<_> =
                    of.into_iter().map(|(name, value)| (name, value.in_stripes_order())).collect();
                of.sort_by_key(|(name, _)| {
                    let first = [r#""id""#, r#""object""#].iter().position(|first| first == name);
                    (first.unwrap_or(2), *name)
                });
                Self::Object(of)
            }
            other => other,
        }
    }

    pub(super) fn write(&self, layout: Layout, strings: Strings) -> String {
        let mut out = String::new();
        self.write_at(0, layout, strings, &mut out);
        out
    }

    fn write_at(&self, depth: usize, layout: Layout, strings: Strings, out: &mut String) {
        match self {
            Self::Scalar(text) => out.push_str(text),
            Self::Text(text) => write_text(text, strings, out),
            Self::Array(of) => {
                out.push('[');
                for (value, number) in of.iter().zip(0..) {
                    separate(number, depth + 1, layout, out);
                    value.write_at(depth + 1, layout, strings, out);
                }
                end(of.is_empty(), layout.empty.map(|(_, array)| array), depth, layout, out);
                out.push(']');
            }
            Self::Object(of) => {
                out.push('{');
                for ((name, value), number) in of.iter().zip(0..) {
                    separate(number, depth + 1, layout, out);
                    write_text(name, strings, out);
                    out.push_str(layout.colon);
                    value.write_at(depth + 1, layout, strings, out);
                }
                end(of.is_empty(), layout.empty.map(|(object, _)| object), depth, layout, out);
                out.push('}');
            }
        }
    }
}

fn separate(number: usize, depth: usize, layout: Layout, out: &mut String) {
    if number > 0 {
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

fn write_text(text: &str, strings: Strings, out: &mut String) {
    let decoded = match strings {
        Strings::AsGiven => None,
        Strings::Plain | Strings::Ascii => serde_json::from_str::<String>(text).ok(),
    };
    let Some(decoded) = decoded else { return out.push_str(text) };
    let plain = serde_json::to_string(&decoded).unwrap_or_else(|_| text.to_owned());
    if strings == Strings::Plain {
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

/// Reads what is known to be JSON.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// How much deeper it may go.
    levels: usize,
}

impl<'t> Reader<'t> {
    /// None where it is too deep.
    fn value(&mut self) -> Option<Json<'t>> {
        Some(match self.next() {
            b'{' => Json::Object(self.elements(b'}', |reader| {
                let name = reader.text();
                reader.expect(b':');
                Some((name, reader.value()?))
            })?),
            b'[' => Json::Array(self.elements(b']', Self::value)?),
            b'"' => Json::Text(self.text()),
            _ => Json::Scalar(self.scalar()),
        })
    }

    fn elements<E>(&mut self, end: u8, element: impl Fn(&mut Self) -> Option<E>) -> Option<Vec<E>> {
        self.levels = self.levels.checked_sub(1)?;
        let mut elements = Vec::new();
        self.at += 1;
        while self.next() != end {
            if !elements.is_empty() {
                self.expect(b',');
            }
            elements.push(element(self)?);
        }
        self.at += 1;
        self.levels += 1;
        Some(elements)
    }

    /// A string, with its quotation marks.
    fn text(&mut self) -> &'t str {
        self.next();
        let start = self.at;
        self.at += 1;
        while self.byte() != b'"' {
            self.at += if self.byte() == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        &self.text[start..self.at]
    }

    fn scalar(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| c.is_ascii_whitespace() || ",]}".contains(c));
        let scalar = &rest[..end.unwrap_or(rest.len())];
        self.at += scalar.len();
        scalar
    }

    fn expect(&mut self, byte: u8) {
        debug_assert_eq!(self.next(), byte, "serde_json took it for JSON");
        self.next();
        self.at += 1;
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> u8 {
        while self.byte().is_ascii_whitespace() {
            self.at += 1;
        }
        self.byte()
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: Layout = Layout { indent: None, comma: ",", colon: ":", empty: None };

    #[test]
    fn numbers_strings_and_the_order_stay_as_they_are() {
        let text = r#" { "b" : 1.0e+5 , "a" : [ -0 , 1e400, true,null ] , "\u0063\"" : "\/\u00e9é" , "e": {}, "f": [ ] } "#;
        assert_eq!(
            Json::parse(text).unwrap().write(COMPACT, Strings::AsGiven),
            r#"{"b":1.0e+5,"a":[-0,1e400,true,null],"\u0063\"":"\/\u00e9é","e":{},"f":[]}"#
        );
    }

    #[test]
    fn in_stripes_order_the_id_comes_first_and_the_rest_by_the_alphabet() {
        let text = r#"{"b":1,"object":2,"a":[{"d":3,"c":4}],"id":5}"#;
        assert_eq!(
            Json::parse(text).unwrap().in_stripes_order().write(COMPACT, Strings::AsGiven),
            r#"{"id":5,"object":2,"a":[{"c":4,"d":3}],"b":1}"#
        );
    }

    #[test]
    fn strings_are_written_as_libraries_do() {
        let json = Json::parse(r#"["\/é😀\u00e9\n"]"#).unwrap();
        assert_eq!(json.write(COMPACT, Strings::Plain), r#"["/é😀é\n"]"#);
        assert_eq!(json.write(COMPACT, Strings::Ascii), r#"["/\u00e9\ud83d\ude00\u00e9\n"]"#);
    }

    #[test]
    fn what_is_no_json_is_not_read() {
        for text in ["", "{", r#"{"a":1,}"#, "[1 2]", "{} {}", &"[".repeat(100_000)] {
            assert!(Json::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_is_too_deep_is_not_read() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for (depth, is_read) in [(DEPTH, true), (DEPTH + 1, false), (100_000, false)] {
            assert_eq!(Json::parse(&nested(depth)).is_some(), is_read, "{depth}");
        }
        // What stands side by side is not deep.
        let many = format!("[{}]", vec!["[[]]"; 1_000].join(","));
        assert!(Json::parse(&many).is_some());
    }
}
