//! One pass over a JSON text that says where its values are and copies nothing.
//!
//! serde_json alone would not keep our rules: parts that it skips may be nested without limit, and
//! a borrowed string refuses legal escapes. Property tests hold this scanner against it.

mod token;

use std::{borrow::Cow, ops::Range, str::Utf8Error};

use super::error::{Kind, Problem};

/// Nesting beyond this is refused, so that no handler's own decoding can overflow its stack.
///
/// As many as a `u128` has bits.
pub(super) const MAX_DEPTH: usize = 128;

const NO_KEY: &str = "expected a key in double quotes";
/// What is wrong where an item is followed by neither.
const NO_END: &str = "expected `,` or the closing bracket";

/// What a value is and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it is a string with an escape in it.
    pub(super) escaped: bool,
}

impl Value {
    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// What is wrong, and at which byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) problem: Problem,
    pub(super) at: usize,
}

impl Fault {
    pub(super) fn not_utf8(error: Utf8Error) -> Self {
        Self { problem: Problem::NotUtf8, at: error.valid_up_to() }
    }
}

pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Scans the value that comes next, whatever it is.
    pub(super) fn value(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            _ => return self.scalar(),
        };
        self.skip_nested()?;
        Ok(self.since(start, kind))
    }

    /// Scans the value that comes next; if it is an object, shows each of its keys to `field`,
    /// which must scan what belongs to it.
    pub(super) fn walk(
        &mut self,
        field: impl FnMut(&mut Self, Key<'t>) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        match self.peek() {
            Some(b'{') => self.object(field),
            _ => self.value(),
        }
    }

    pub(super) fn begins_array(&self) -> bool {
        self.peek() == Some(b'[')
    }

    /// Scans the array that comes next; `item` must scan each of its items.
    pub(super) fn items(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        self.nested(Kind::Array, b']', item)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.skip_whitespace();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault(Problem::TrailingBytes)),
        }
    }

    fn bytes(&self) -> &'t [u8] {
        self.text.as_bytes()
    }

    fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, Key<'t>) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        self.nested(Kind::Object, b'}', |scanner| {
            let name = scanner.key()?;
            field(scanner, Key { text: scanner.text, name })
        })
    }

    /// A key, and the colon after it.
    fn key(&mut self) -> Result<Value, Fault> {
        let name = match self.peek() {
            Some(b'"') => self.string()?,
            _ => return Err(self.syntax(NO_KEY)),
        };
        self.colon()?;
        Ok(name)
    }

    #[inline]
    fn skip_key(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.skip_string()?,
            _ => return Err(self.syntax(NO_KEY)),
        }
        self.colon()
    }

    #[inline]
    fn colon(&mut self) -> Result<(), Fault> {
        // Laid out or compact, hardly ever is there anything before it.
        if self.peek() != Some(b':') {
            self.skip_whitespace();
        }
        if self.peek() != Some(b':') {
            return Err(self.syntax("expected `:` after the key"));
        }
        self.at += 1;
        self.skip_whitespace();
        Ok(())
    }

    /// An object or an array: its items, separated by commas, up to `close`.
    fn nested(
        &mut self,
        kind: Kind,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        let start = self.at;
        self.open()?;
        if self.peek() != Some(close) {
            loop {
                item(self)?;
                self.skip_whitespace();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == close => break,
                    _ => return Err(self.syntax(NO_END)),
                }
                self.skip_whitespace();
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(self.since(start, kind))
    }

    /// An opening bracket, and the white space after it.
    fn open(&mut self) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(Problem::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_whitespace();
        Ok(())
    }

    /// An object or an array of which nobody wants to know what is in it: most of an event. One loop, in
    /// which the brackets that are open are bits, so that it costs less than a call for each value.
    fn skip_nested(&mut self) -> Result<(), Fault> {
        let around = self.depth;
        // From the innermost: 1 is an object, 0 an array.
        let mut open: u128 = 0;
        loop {
            let is_empty = match self.peek() {
                Some(b'{') => {
                    self.open()?;
                    open = open << 1 | 1;
                    self.peek() == Some(b'}')
                }
                Some(b'[') => {
                    self.open()?;
                    open <<= 1;
                    self.peek() == Some(b']')
                }
                _ => {
                    self.skip_scalar()?;
                    self.skip_whitespace();
                    true
                }
            };
            if !is_empty {
                if open & 1 == 1 {
                    self.skip_key()?;
                }
                continue;
            }
            // Behind a value, or before the end of an empty one.
            loop {
                match self.peek() {
                    Some(b',') => break,
                    Some(b'}') if open & 1 == 1 => {}
                    Some(b']') if open & 1 == 0 => {}
                    _ => return Err(self.syntax(NO_END)),
                }
                self.at += 1;
                self.depth -= 1;
                open >>= 1;
                if self.depth == around {
                    return Ok(());
                }
                self.skip_whitespace();
            }
            self.at += 1;
            self.skip_whitespace();
            if open & 1 == 1 {
                self.skip_key()?;
            }
        }
    }

    fn since(&self, start: usize, kind: Kind) -> Value {
        Value { kind, start, end: self.at, escaped: false }
    }

    #[cold]
    fn syntax(&self, expected: &'static str) -> Fault {
        self.fault(Problem::Syntax(expected))
    }

    fn fault(&self, problem: Problem) -> Fault {
        Fault { problem, at: self.at }
    }
}

/// A key of an object.
pub(super) struct Key<'t> {
    text: &'t str,
    name: Value,
}

impl<'t> Key<'t> {
    /// The key's text; `None` for one whose escapes are no text, which is none of ours.
    pub(super) fn name(&self) -> Option<Cow<'t, str>> {
        let Value { start, end, .. } = self.name;
        if self.name.escaped {
            // `"\u0069d"` is the key `id` to whoever decodes the event.
            serde_json::from_str(&self.text[start..end]).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(&self.text[start + 1..end - 1]))
        }
    }

    /// Where it begins.
    pub(super) fn start(&self) -> usize {
        self.name.start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn scan(text: &str) -> Result<Value, Fault> {
        let mut scanner = Scanner::new(text);
        scanner.skip_whitespace();
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }

    fn agrees_with_serde_json(text: &str) {
        let theirs = serde_json::from_str::<IgnoredAny>(text);
        let ours = scan(text);
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{text:?}: {ours:?}, {theirs:?}");
    }

    #[test]
    fn nesting_is_refused_just_beyond_the_limit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(scan(&nested(MAX_DEPTH)).is_ok());
        let fault = scan(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!(fault, Fault { problem: Problem::TooDeep, at: MAX_DEPTH });
        assert!(scan(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn the_corners_of_the_grammar() {
        for text in [
            "0",
            "-0",
            "01",
            "-",
            "1.",
            ".5",
            "1.5e",
            "1e+",
            "1E-7",
            "1e400",
            "+1",
            "NaN",
            "tru",
            "nul",
            "truex",
            r#""\u12G4""#,
            r#""\ud800""#,
            r#""\x""#,
            "\"\u{1}\"",
            "\"\u{7f}\"",
            "[1,]",
            "[,1]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{a:1}"#,
            "[1 2]",
            "",
            " ",
            "{",
            "[",
            "\"",
            "{}x",
            " { } ",
            "[ ]",
            "\u{feff}{}",
            r#"{"a":[{"b":null}]}"#,
        ] {
            agrees_with_serde_json(text);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_as_serde_json_does(text: String) {
            agrees_with_serde_json(&text);
        }

        #[test]
        fn json_like_text_is_judged_as_serde_json_does(
            text in r#"([{}\[\],:]|"|"[a-c]"|\\|\\u00|[0-9.eE+-]|true|null| ){0,16}"#,
        ) {
            agrees_with_serde_json(&text);
        }
    }
}
