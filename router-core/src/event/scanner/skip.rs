//! Skips values that no one reads, which are most of an event. This is the fast path: it handles
//! the common cases inline and leaves rare ones to the general methods of the scanner.

use super::{EXPECTED_COMMA_OR_CLOSE, EXPECTED_KEY, Fault, Scanner};

#[expect(clippy::inline_always, reason = "see `skip_nested`")]
impl Scanner<'_> {
    /// Skips the next value.
    #[inline]
    pub(in super::super) fn skip(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    /// Skips an object or an array.
    pub(super) fn skip_nested(&mut self) -> Result<(), Fault> {
        // No call receives a reference to the copy, so the compiler can keep it in registers.
        let mut copy = *self;
        let skipped = copy.skip_items();
        *self = copy;
        skipped
    }

    /// Skips an object or an array in one loop, with a bit for each open bracket. This costs less
    /// than a recursive call for each nested value.
    #[inline(always)]
    fn skip_items(&mut self) -> Result<(), Fault> {
        let outer_depth = self.depth;
        // The lowest bit is the innermost bracket: 1 for an object, 0 for an array.
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
                    true
                }
            };
            if !is_empty {
                if open & 1 == 1 {
                    self.skip_key()?;
                }
                continue;
            }
            // The offset is after a value, or before the closing bracket of an empty object or
            // array.
            loop {
                let mut next = self.peek();
                if next.is_some_and(|byte| byte <= b' ') {
                    self.skip_whitespace();
                    next = self.peek();
                }
                match next {
                    Some(b',') => break,
                    Some(b'}') if open & 1 == 1 => {}
                    Some(b']') if open & 1 == 0 => {}
                    _ => return Err(self.syntax(EXPECTED_COMMA_OR_CLOSE)),
                }
                self.offset += 1;
                self.depth -= 1;
                open >>= 1;
                if self.depth == outer_depth {
                    return Ok(());
                }
            }
            self.offset += 1;
            self.skip_whitespace();
            if open & 1 == 1 {
                self.skip_key()?;
            }
        }
    }

    /// Skips a key and the colon after it.
    #[inline(always)]
    fn skip_key(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.skip_string()?,
            _ => return Err(self.syntax(EXPECTED_KEY)),
        };
        self.colon()
    }

    /// Skips a string, number, boolean or null. Handles the common forms inline and leaves all
    /// others to [`scalar`](Self::scalar).
    #[inline(always)]
    fn skip_scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => return self.skip_string().map(drop),
            Some(b'n') if self.skip_word(b"null") => return Ok(()),
            Some(b't') if self.skip_word(b"true") => return Ok(()),
            Some(b'f') if self.skip_word(b"false") => return Ok(()),
            Some(b'1'..=b'9') => {
                let start = self.offset;
                while let Some(b'0'..=b'9') = self.peek() {
                    self.offset += 1;
                }
                if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
                    return Ok(());
                }
                self.offset = start;
            }
            _ => {}
        }
        self.call_on_copy(Self::scalar).map(drop)
    }

    #[inline(always)]
    fn skip_word<const LENGTH: usize>(&mut self, word: &[u8; LENGTH]) -> bool {
        let found = self.bytes().get(self.offset..self.offset + LENGTH) == Some(word);
        self.offset += if found { LENGTH } else { 0 };
        found
    }

    /// Skips a string, and returns whether it has escapes.
    #[inline(always)]
    pub(super) fn skip_string(&mut self) -> Result<bool, Fault> {
        let end = self.block.special_from(self.bytes(), self.offset + 1);
        if self.bytes().get(end) == Some(&b'"') {
            self.offset = end + 1;
            return Ok(false);
        }
        // An escape, or the end of the text.
        self.call_on_copy(Self::string).map(|string| string.escaped)
    }

    /// Calls a method for a rare case with a copy of the scanner. Such methods are not inlined, and
    /// a reference to `self` would force it out of registers.
    #[inline(always)]
    fn call_on_copy<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut copy = *self;
        let read = read(&mut copy);
        *self = copy;
        read
    }
}
