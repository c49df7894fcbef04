//! What JSON is made of: white space, strings, numbers and words. Most bytes of an event are in here, so
//! strings and indentation are looked at by eight bytes at once.

use super::{Fault, Kind, Scanner, Value};

// What is called for each token of an event is inlined, so that the place in the text stays in a register.
#[expect(clippy::inline_always, reason = "it makes the scanner an eighth faster")]
impl Scanner<'_> {
    #[inline(always)]
    pub(in super::super) fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
            // Behind a line break there are many spaces.
            self.at += spaces(&self.bytes()[self.at..]);
        }
    }

    /// Scans a value that holds no others, where nobody wants to know which. What most of them are is
    /// looked for here; what is not found is left to [`scalar`](Self::scalar), which knows it all.
    #[inline(always)]
    pub(super) fn skip_scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => return self.skip_string(),
            Some(b'n') if self.skip_word(b"null") => return Ok(()),
            Some(b't') if self.skip_word(b"true") => return Ok(()),
            Some(b'f') if self.skip_word(b"false") => return Ok(()),
            Some(b'1'..=b'9') => {
                let start = self.at;
                while let Some(b'0'..=b'9') = self.peek() {
                    self.at += 1;
                }
                if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
                    return Ok(());
                }
                self.at = start;
            }
            _ => {}
        }
        self.scalar().map(drop)
    }

    #[inline(always)]
    fn skip_word<const LENGTH: usize>(&mut self, word: &[u8; LENGTH]) -> bool {
        let is_it = self.bytes().get(self.at..self.at + LENGTH) == Some(word);
        self.at += if is_it { LENGTH } else { 0 };
        is_it
    }

    /// Scans a string that nobody wants to read.
    #[inline(always)]
    pub(super) fn skip_string(&mut self) -> Result<(), Fault> {
        let start = self.at + 1;
        let end = start + plain(&self.bytes()[start..]);
        if self.bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(());
        }
        // An escape, or the end of the text.
        self.string().map(drop)
    }

    /// A value that holds no others.
    #[inline(never)]
    pub(super) fn scalar(&mut self) -> Result<Value, Fault> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Kind::Boolean),
            Some(b'f') => self.word("false", Kind::Boolean),
            Some(b'n') => self.word("null", Kind::Null),
            _ => Err(self.syntax("expected a JSON value")),
        }
    }

    #[inline(never)]
    pub(super) fn string(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += plain(&self.bytes()[self.at..]);
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
}

const ONES: u64 = u64::from_le_bytes([0x01; 8]);

/// How many of these bytes, at least, can stand in a string as they are: up to the first quotation mark,
/// backslash or control character, as far as there are eight bytes to look at.
#[inline]
fn plain(bytes: &[u8]) -> usize {
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // The high bit of the first byte that is less than this one; what a borrow does to the bytes behind
    // it does not matter.
    let less_than = |eight: u64, byte: u8| eight.wrapping_sub(ONES * u64::from(byte)) & !eight;
    run(bytes, |eight| {
        // With its second bit flipped, a quotation mark is a space, and control characters stay less.
        let quote_or_control = less_than(eight ^ (ONES * 0x02), b' ' + 1);
        let backslash = less_than(eight ^ (ONES * u64::from(b'\\')), 1);
        (quote_or_control | backslash) & HIGH
    })
}

/// How many spaces these bytes begin with, as far as there are eight bytes to look at.
#[inline]
fn spaces(bytes: &[u8]) -> usize {
    run(bytes, |eight| eight ^ (ONES * u64::from(b' ')))
}

/// How many bytes there are before the first for which `end` sets a bit, of eight bytes at once.
#[inline]
fn run(bytes: &[u8], end: impl Fn(u64) -> u64) -> usize {
    let (eights, _) = bytes.as_chunks::<8>();
    for (eight, number) in eights.iter().zip(0..) {
        let found = end(u64::from_le_bytes(*eight));
        if found != 0 {
            return number * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    eights.len() * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_ends_a_run_or_does_not() {
        for byte in 0..=u8::MAX {
            for place in 0..24 {
                let mut bytes = [b'a'; 24];
                bytes[place] = byte;
                // Bytes before the found one that are the nearest to being special.
                bytes[..place].fill(0x80);
                let is_special = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(plain(&bytes), if is_special { place } else { 24 }, "{byte} {place}");
            }
        }
        assert_eq!((plain(b"1234567"), plain(b"123456789")), (0, 8));
        assert_eq!(
            (spaces(b"       "), spaces(b"     a  "), spaces(b"          a      ")),
            (0, 5, 10)
        );
    }
}
