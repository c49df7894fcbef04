//! The tokens of JSON: white space, strings, numbers and words.

use super::{
    Fault, JsonType, Scanner, Value,
    block::{are_spaces, whitespace_end},
};

#[expect(clippy::inline_always, reason = "see `skip_nested`")]
impl Scanner<'_> {
    #[inline(always)]
    pub(in super::super) fn skip_whitespace(&mut self) {
        let bytes = self.bytes();
        match self.peek() {
            // In a pretty-printed text, a line break is followed by indentation and a key's quote.
            Some(b'\n') => {
                let start = self.offset + 1;
                let next = self.block.special_from(bytes, start);
                let is_indent = bytes.get(next) == Some(&b'"') && are_spaces(bytes, start, next);
                self.offset = if is_indent { next } else { whitespace_end(bytes, start) };
            }
            Some(b' ' | b'\r' | b'\t') => self.offset = whitespace_end(bytes, self.offset),
            _ => {}
        }
    }

    #[inline(always)]
    pub(super) fn colon(&mut self) -> Result<(), Fault> {
        // White space before the colon, or more than one space after it, is rare in any layout.
        if self.peek() != Some(b':') {
            self.skip_whitespace();
        }
        if self.peek() != Some(b':') {
            return Err(self.syntax("expected `:` after the key"));
        }
        self.offset += 1;
        if self.peek() == Some(b' ') {
            self.offset += 1;
        }
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.skip_whitespace();
        }
        Ok(())
    }

    /// Scans a string, number, boolean or null.
    #[inline(never)]
    pub(super) fn scalar(&mut self) -> Result<Value, Fault> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", JsonType::Boolean),
            Some(b'f') => self.word("false", JsonType::Boolean),
            Some(b'n') => self.word("null", JsonType::Null),
            _ => Err(self.syntax("expected a JSON value")),
        }
    }

    #[inline(never)]
    pub(super) fn string(&mut self) -> Result<Value, Fault> {
        let start = self.offset;
        let mut escaped = false;
        self.offset += 1;
        loop {
            self.offset = self.block.special_from(self.bytes(), self.offset);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => {
                    return Err(self.syntax("a control character in a string must be escaped"));
                }
                None => return Err(self.syntax("the string has no closing quote")),
            }
        }
        self.offset += 1;
        Ok(Value { escaped, ..self.value_since(start, JsonType::String) })
    }

    fn escape(&mut self) -> Result<(), Fault> {
        self.offset += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.offset += 1,
            Some(b'u') => {
                let digits = self.bytes().get(self.offset + 1..self.offset + 5);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.syntax("`\\u` needs four hexadecimal digits"));
                }
                self.offset += 5;
            }
            _ => return Err(self.syntax("invalid escape sequence")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.offset;
        if self.peek() == Some(b'-') {
            self.offset += 1;
        }
        match self.peek() {
            // A digit after a leading zero is rejected as the next token.
            Some(b'0') => self.offset += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.offset += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.offset += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.offset += 1;
            }
            self.digits()?;
        }
        Ok(self.value_since(start, JsonType::Number))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.syntax("expected a digit"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.offset += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &str, kind: JsonType) -> Result<Value, Fault> {
        let start = self.offset;
        if !self.bytes()[start..].starts_with(word.as_bytes()) {
            return Err(self.syntax("expected a JSON value"));
        }
        self.offset += word.len();
        Ok(self.value_since(start, kind))
    }
}
