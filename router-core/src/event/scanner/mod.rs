//! A scanner that finds the positions of values in a JSON text in one pass, without copying.
//!
//! serde_json alone does not suffice: it does not limit the nesting of parts that it skips, and its
//! borrowed strings reject legal escapes. Property tests compare this scanner with serde_json.

mod block;
mod skip;
mod token;

use std::{borrow::Cow, ops::Range};

use self::block::Block;
use super::error::{EnvelopeProblem, Fault, JsonType, MAX_DEPTH};

const EXPECTED_KEY: &str = "expected a key in double quotes";
/// The problem of an item that is followed by neither a comma nor the closing bracket.
const EXPECTED_COMMA_OR_CLOSE: &str = "expected `,` or the closing bracket";

/// The type and the position of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) kind: JsonType,
    pub(super) start: usize,
    pub(super) end: usize,
    /// `true` if the value is a string with an escape in it.
    pub(super) escaped: bool,
}

impl Value {
    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// Returns the text of a string without its quotes and escapes. It is `None` if an escape
    /// encodes no character.
    #[inline]
    pub(super) fn decode(self, text: &str) -> Option<Cow<'_, str>> {
        match self.escaped {
            true => serde_json::from_str(&text[self.range()]).ok().map(Cow::Owned),
            false => Some(Cow::Borrowed(&text[self.start + 1..self.end - 1])),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    offset: usize,
    depth: usize,
    block: Block,
}

#[expect(clippy::inline_always, reason = "see `skip_nested`")]
impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, offset: 0, depth: 0, block: Block::load(0, text.as_bytes()) }
    }

    /// Creates a scanner of a text that will be inside this number of objects or arrays.
    pub(super) fn nested_in(depth: usize, text: &'t str) -> Self {
        Self { depth, ..Self::new(text) }
    }

    /// Scans the next value, of any type.
    pub(super) fn value(&mut self) -> Result<Value, Fault> {
        let start = self.offset;
        let kind = match self.peek() {
            Some(b'{') => JsonType::Object,
            Some(b'[') => JsonType::Array,
            _ => return self.scalar(),
        };
        self.skip_nested()?;
        Ok(self.value_since(start, kind))
    }

    /// Scans the next value. If it is an object, calls `field` with each of its keys; `field` must
    /// scan the key's value.
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

    /// Scans the next value, which must be an array. Calls `item` for each item of the
    /// array; `item` must scan it.
    pub(super) fn items(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        self.nested(JsonType::Array, b']', item)
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes().get(self.offset).copied()
    }

    /// Checks that only white space follows.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.skip_whitespace();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault(EnvelopeProblem::TrailingBytes)),
        }
    }

    /// Returns the whole text.
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// Returns the text from the current offset on.
    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.offset..]
    }

    fn bytes(&self) -> &'t [u8] {
        self.text.as_bytes()
    }

    fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, Key<'t>) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        self.nested(JsonType::Object, b'}', |scanner| {
            let key = scanner.key()?;
            field(scanner, key)
        })
    }

    /// Scans a key and the colon after it.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Key<'t>, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax(EXPECTED_KEY));
        }
        let start = self.offset;
        let escaped = self.skip_string()?;
        let name = Value { escaped, ..self.value_since(start, JsonType::String) };
        self.colon()?;
        Ok(Key { text: self.text, name })
    }

    /// Scans an object or an array: items, separated by commas, up to the bracket `close`.
    fn nested(
        &mut self,
        kind: JsonType,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        let start = self.offset;
        self.open()?;
        let mut position = ItemPosition::First;
        while self.has_item(&mut position, close)? {
            item(self)?;
        }
        Ok(self.value_since(start, kind))
    }

    /// Returns whether the object or array that was [opened](Self::open) has another item. If not,
    /// moves past its closing bracket.
    #[inline]
    pub(super) fn has_item(
        &mut self,
        position: &mut ItemPosition,
        close: u8,
    ) -> Result<bool, Fault> {
        let is_first = std::mem::replace(position, ItemPosition::Later) == ItemPosition::First;
        self.skip_whitespace();
        match self.peek() {
            Some(byte) if byte == close => {
                self.offset += 1;
                self.depth -= 1;
                return Ok(false);
            }
            Some(b',') if !is_first => self.offset += 1,
            _ if is_first => return Ok(true),
            _ => return Err(self.syntax(EXPECTED_COMMA_OR_CLOSE)),
        }
        self.skip_whitespace();
        Ok(true)
    }

    /// Moves past an opening bracket and the white space after it.
    #[inline(always)]
    pub(super) fn open(&mut self) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(EnvelopeProblem::TooDeep));
        }
        self.depth += 1;
        self.offset += 1;
        self.skip_whitespace();
        Ok(())
    }

    /// Returns the value between `start` and the current offset.
    fn value_since(&self, start: usize, kind: JsonType) -> Value {
        Value { kind, start, end: self.offset, escaped: false }
    }

    #[cold]
    fn syntax(self, expected: &'static str) -> Fault {
        self.fault(EnvelopeProblem::Syntax(expected))
    }

    #[cold]
    fn fault(self, problem: EnvelopeProblem) -> Fault {
        Fault { problem, offset: self.offset }
    }
}

/// The position of the next item in an object or an array.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ItemPosition {
    First,
    Later,
}

/// A key of an object.
pub(super) struct Key<'t> {
    text: &'t str,
    name: Value,
}

impl<'t> Key<'t> {
    /// Returns the key's text, as serde_json reads it: `"\u0069d"` is the key `id`. It is `None` if
    /// an escape encodes no character; such a key is never one that the caller looks for.
    #[inline]
    pub(super) fn name(&self) -> Option<Cow<'t, str>> {
        self.name.decode(self.text)
    }

    /// Returns the offset of the key's opening quote.
    pub(super) fn start(&self) -> usize {
        self.name.start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use router_catalog::samples::Sampler;
    use serde::de::IgnoredAny;

    use super::*;

    fn scan(text: &str) -> Result<Value, Fault> {
        let mut scanner = Scanner::new(text);
        scanner.skip_whitespace();
        let value = scanner.value()?;
        scanner.end()?;
        Ok(value)
    }

    fn assert_agrees_with_serde_json(text: &str) {
        let expected = serde_json::from_str::<IgnoredAny>(text);
        let actual = scan(text);
        assert_eq!(actual.is_ok(), expected.is_ok(), "{text:?}: {actual:?}, {expected:?}");
    }

    #[test]
    fn nesting_beyond_limit_fails() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(scan(&nested(MAX_DEPTH)).is_ok());
        let fault = scan(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!(fault, Fault { problem: EnvelopeProblem::TooDeep, offset: MAX_DEPTH });
        assert!(scan(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn grammar_corner_cases_agree_with_serde_json() {
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
            "{\n  \n\"a\":1}",
            "{\n  \t\"a\":\n\n1\r\n}",
            "{\"a\":1,\n  \"b\":\"\n\"}",
            "[\n                    \n\"a\"\n,\n2]",
            "{\"a\"\n:1}",
        ] {
            assert_agrees_with_serde_json(text);
        }
    }

    /// Returns a sample event, either pretty-printed as Stripe sends it, or in one line.
    fn event(number: u64, pretty: bool) -> String {
        let types = router_catalog::all();
        let event_type = types[number as usize % types.len()].name;
        let event = Sampler::new(number, 1_700_000_000).event(event_type).unwrap().into_json();
        if pretty { serde_json::to_string_pretty(&event).unwrap() } else { event.to_string() }
    }

    proptest! {
        #[test]
        fn mutated_events_agree_with_serde_json(
            number: u64,
            pretty: bool,
            position: prop::sample::Index,
            removed in 0..3_usize,
            inserted in r#"[{}\[\]",:\\0-9a. \n\t\x01\u{e9}]{0,3}"#,
        ) {
            let mut text = event(number, pretty);
            assert_agrees_with_serde_json(&text);
            let start = position.index(text.len());
            let end = text.len().min(start + removed);
            text.replace_range(start..end, &inserted);
            assert_agrees_with_serde_json(&text);
        }

        #[test]
        fn any_text_agrees_with_serde_json(text: String) {
            assert_agrees_with_serde_json(&text);
        }

        #[test]
        fn json_like_text_agrees_with_serde_json(
            text in r#"([{}\[\],:]|"|"[a-c]"|\\|\\u00|[0-9.eE+-]|true|null| ){0,16}"#,
        ) {
            assert_agrees_with_serde_json(&text);
        }
    }
}
