//! One pass over a JSON text that says where its values are and copies nothing.
//!
//! serde_json alone would not keep our rules: parts that it skips may be nested without limit, and
//! a borrowed string refuses legal escapes. Property tests hold this scanner against it.

use std::{borrow::Cow, ops::Range, str::Utf8Error};

use super::error::{Kind, Problem};

/// Nesting beyond this is refused, so that no handler's own decoding can overflow its stack.
pub(super) const MAX_DEPTH: usize = 128;

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
        self.walk(|scanner, _| scanner.value().map(drop))
    }

    /// Scans the value that comes next; if it is an object, shows each of its keys to `field`,
    /// which must scan what belongs to it.
    pub(super) fn walk(
        &mut self,
        field: impl FnMut(&mut Self, Key<'t>) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        match self.peek() {
            Some(b'{') => self.object(field),
            Some(b'[') => self.items(|scanner| scanner.value().map(drop)),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Kind::Boolean),
            Some(b'f') => self.word("false", Kind::Boolean),
            Some(b'n') => self.word("null", Kind::Null),
            _ => Err(self.syntax("expected a JSON value")),
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

    pub(super) fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
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
            let name = match scanner.peek() {
                Some(b'"') => scanner.string()?,
                _ => return Err(scanner.syntax("expected a key in double quotes")),
            };
            scanner.skip_whitespace();
            scanner.expect(b':', "expected `:` after the key")?;
            scanner.skip_whitespace();
            field(scanner, Key { text: scanner.text, name })
        })
    }

    /// An object or an array: its items, separated by commas, up to `close`.
    fn nested(
        &mut self,
        kind: Kind,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<Value, Fault> {
        let start = self.at;
        if self.depth == MAX_DEPTH {
            return Err(self.fault(Problem::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_whitespace();
        if self.peek() != Some(close) {
            loop {
                item(self)?;
                self.skip_whitespace();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == close => break,
                    _ => return Err(self.syntax("expected `,` or the closing bracket")),
                }
                self.skip_whitespace();
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(self.since(start, kind))
    }

    fn string(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..=0x1f) => {
                    return Err(self.syntax("a control character in a string must be escaped"));
                }
                Some(_) => self.at += 1,
                None => return Err(self.syntax("the string has no closing quote")),
            }
        }
        self.at += 1;
        Ok(Value { escaped, ..self.since(start, Kind::String) })
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.bytes().get(self.at + 1..self.at + 5);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.syntax("`\\u` needs four hexadecimal digits"));
                }
                self.at += 5;
            }
            _ => return Err(self.syntax("no such escape in JSON")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            // No digit may follow a leading zero; if one does, it is what comes next and refused.
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.since(start, Kind::Number))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.syntax("expected a digit"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &str, kind: Kind) -> Result<Value, Fault> {
        let start = self.at;
        if !self.bytes()[start..].starts_with(word.as_bytes()) {
            return Err(self.syntax("expected a JSON value"));
        }
        self.at += word.len();
        Ok(self.since(start, kind))
    }

    fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), Fault> {
        if self.peek() != Some(byte) {
            return Err(self.syntax(otherwise));
        }
        self.at += 1;
        Ok(())
    }

    fn since(&self, start: usize, kind: Kind) -> Value {
        Value { kind, start, end: self.at, escaped: false }
    }

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
