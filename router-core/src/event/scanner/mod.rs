//! One pass over a JSON text that says where its values are and copies nothing.
//!
//! serde_json alone would not keep our rules: parts that it skips may be nested without limit, and
//! a borrowed string refuses legal escapes. Property tests hold this scanner against it.

mod block;
mod skip;
mod token;

use std::{borrow::Cow, ops::Range, str::Utf8Error};

use self::block::Block;
use super::error::{EnvelopeProblem, JsonType};

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
    pub(super) kind: JsonType,
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
    pub(super) problem: EnvelopeProblem,
    pub(super) at: usize,
}

impl Fault {
    pub(super) fn not_utf8(error: Utf8Error) -> Self {
        Self { problem: EnvelopeProblem::NotUtf8, at: error.valid_up_to() }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    block: Block,
}

#[expect(clippy::inline_always, reason = "see `skip_nested`")]
impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, depth: 0, block: Block::at(0, text.as_bytes()) }
    }

    /// Scans the value that comes next, whatever it is.
    pub(super) fn value(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => JsonType::Object,
            Some(b'[') => JsonType::Array,
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
        self.nested(JsonType::Array, b']', item)
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.skip_whitespace();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.fault(EnvelopeProblem::TrailingBytes)),
        }
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

    /// A key, and the colon after it.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Key<'t>, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax(NO_KEY));
        }
        let start = self.at;
        let escaped = self.skip_string()?;
        let name = Value { escaped, ..self.since(start, JsonType::String) };
        self.colon()?;
        Ok(Key { text: self.text, name })
    }

    /// An object or an array: its items, separated by commas, up to `close`.
    fn nested(
        &mut self,
        kind: JsonType,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        let start = self.at;
        self.open()?;
        let mut place = Place::First;
        while self.has_item(&mut place, close)? {
            item(self)?;
        }
        Ok(self.since(start, kind))
    }

    /// Whether another item of what was [opened](Self::open) comes next; otherwise its end is behind us.
    #[inline]
    pub(super) fn has_item(&mut self, place: &mut Place, close: u8) -> Result<bool, Fault> {
        let is_first = std::mem::replace(place, Place::Later) == Place::First;
        self.skip_whitespace();
        match self.peek() {
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                return Ok(false);
            }
            Some(b',') if !is_first => self.at += 1,
            _ if is_first => return Ok(true),
            _ => return Err(self.syntax(NO_END)),
        }
        self.skip_whitespace();
        Ok(true)
    }

    /// An opening bracket, and the white space after it.
    #[inline(always)]
    pub(super) fn open(&mut self) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(EnvelopeProblem::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_whitespace();
        Ok(())
    }

    fn since(&self, start: usize, kind: JsonType) -> Value {
        Value { kind, start, end: self.at, escaped: false }
    }

    #[cold]
    fn syntax(self, expected: &'static str) -> Fault {
        self.fault(EnvelopeProblem::Syntax(expected))
    }

    #[cold]
    fn fault(self, problem: EnvelopeProblem) -> Fault {
        Fault { problem, at: self.at }
    }
}

/// Which item of an object or an array comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Later,
}

/// A key of an object.
pub(super) struct Key<'t> {
    text: &'t str,
    name: Value,
}

impl<'t> Key<'t> {
    /// The key's text; `None` for one whose escapes are no text, which is none of ours.
    #[inline]
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
        assert_eq!(fault, Fault { problem: EnvelopeProblem::TooDeep, at: MAX_DEPTH });
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
            "{\n  \n\"a\":1}",
            "{\n  \t\"a\":\n\n1\r\n}",
            "{\"a\":1,\n  \"b\":\"\n\"}",
            "[\n                    \n\"a\"\n,\n2]",
            "{\"a\"\n:1}",
        ] {
            agrees_with_serde_json(text);
        }
    }

    /// An event as Stripe lays it out, or in one line.
    fn event(number: u64, laid_out: bool) -> String {
        let types = router_catalog::all();
        let event_type = types[number as usize % types.len()].name;
        let event = Sampler::new(number, 1_700_000_000).event(event_type).unwrap().into_json();
        if laid_out { serde_json::to_string_pretty(&event).unwrap() } else { event.to_string() }
    }

    proptest! {
        #[test]
        fn an_event_is_judged_as_serde_json_does_whatever_is_changed_in_it(
            number: u64,
            laid_out: bool,
            place: prop::sample::Index,
            cut in 0..3_usize,
            put in r#"[{}\[\]",:\\0-9a. \n\t\x01\u{e9}]{0,3}"#,
        ) {
            let mut text = event(number, laid_out);
            agrees_with_serde_json(&text);
            let at = place.index(text.len());
            let end = text.len().min(at + cut);
            text.replace_range(at..end, &put);
            agrees_with_serde_json(&text);
        }

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
