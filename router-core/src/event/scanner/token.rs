//! What JSON is made of: white space, strings, numbers and words.

use super::{
    Fault, JsonType, Scanner, Value,
    block::{are_spaces, behind_whitespace},
};

#[expect(clippy::inline_always, reason = "see `skip_nested`")]
impl Scanner<'_> {
    #[inline(always)]
    pub(in super::super) fn skip_whitespace(&mut self) {
        let bytes = self.bytes();
        match self.peek() {
            // In a text that is laid out, there are then spaces and the quotation mark of a key.
            Some(b'\n') => {
                let start = self.at + 1;
                let next = self.block.special_from(bytes, start);
                let is_indent = bytes.get(next) == Some(&b'"') && are_spaces(bytes, start, next);
                self.at = if is_indent { next } else { behind_whitespace(bytes, start) };
            }
            Some(b' ' | b'\r' | b'\t') => self.at = behind_whitespace(bytes, self.at),
            _ => {}
        }
    }

    #[inline(always)]
    pub(super) fn colon(&mut self) -> Result<(), Fault> {
        // Laid out or compact, hardly ever is there anything before it, or more than a space behind it.
        if self.peek() != Some(b':') {
            self.skip_whitespace();
        }
        if self.peek() != Some(b':') {
            return Err(self.syntax("expected `:` after the key"));
        }
        self.at += 1;
        if self.peek() == Some(b' ') {
            self.at += 1;
        }
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.skip_whitespace();
        }
        Ok(())
    }

    /// A value that holds no others.
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
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at = self.block.special_from(self.bytes(), self.at);
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
        self.at += 1;
        Ok(Value { escaped, ..self.since(start, JsonType::String) })
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
        Ok(self.since(start, JsonType::Number))
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

    fn word(&mut self, word: &str, kind: JsonType) -> Result<Value, Fault> {
        let start = self.at;
        if !self.bytes()[start..].starts_with(word.as_bytes()) {
            return Err(self.syntax("expected a JSON value"));
        }
        self.at += word.len();
        Ok(self.since(start, kind))
    }
}
