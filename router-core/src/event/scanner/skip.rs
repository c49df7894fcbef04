//! Passes over what nobody asks for: most of an event. Here the scanner is made to be quick; what is seldom is
//! left to its other parts, which know all of JSON.

use super::{Fault, NO_END, NO_KEY, Scanner};

#[expect(clippy::inline_always, reason = "see `skip_nested`")]
impl Scanner<'_> {
    /// Passes over the value that comes next.
    #[inline]
    pub(in super::super) fn skip(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    /// An object or an array of which nobody wants to know what is in it: most of an event.
    pub(super) fn skip_nested(&mut self) -> Result<(), Fault> {
        // Of a copy, which no call is given, the compiler knows that nobody else changes it.
        let mut here = *self;
        let skipped = here.skip_items();
        *self = here;
        skipped
    }

    /// One loop, in which the brackets that are open are bits, so that it costs less than a call for each value.
    #[inline(always)]
    fn skip_items(&mut self) -> Result<(), Fault> {
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
                let mut next = self.peek();
                if next.is_some_and(|byte| byte <= b' ') {
                    self.skip_whitespace();
                    next = self.peek();
                }
                match next {
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
            }
            self.at += 1;
            self.skip_whitespace();
            if open & 1 == 1 {
                self.skip_key()?;
            }
        }
    }

    /// A key that nobody wants to read, and the colon after it.
    #[inline(always)]
    fn skip_key(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.skip_string()?,
            _ => return Err(self.syntax(NO_KEY)),
        };
        self.colon()
    }

    /// Scans a value that holds no others, where nobody wants to know which. What most of them are is
    /// looked for here; what is not found is left to [`scalar`](Self::scalar), which knows it all.
    #[inline(always)]
    fn skip_scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => return self.skip_string().map(drop),
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
        self.by_call(Self::scalar).map(drop)
    }

    #[inline(always)]
    fn skip_word<const LENGTH: usize>(&mut self, word: &[u8; LENGTH]) -> bool {
        let is_it = self.bytes().get(self.at..self.at + LENGTH) == Some(word);
        self.at += if is_it { LENGTH } else { 0 };
        is_it
    }

    /// Scans a string; whether it has escapes.
    #[inline(always)]
    pub(super) fn skip_string(&mut self) -> Result<bool, Fault> {
        let end = self.block.special_from(self.bytes(), self.at + 1);
        if self.bytes().get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(false);
        }
        // An escape, or the end of the text.
        self.by_call(Self::string).map(|string| string.escaped)
    }

    /// What is seldom is not inlined, and is given a copy.
    #[inline(always)]
    fn by_call<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut copy = *self;
        let read = read(&mut copy);
        *self = copy;
        read
    }
}
