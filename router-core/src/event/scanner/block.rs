//! Looks at many bytes at once. Where a string ends is known before the scanner comes there, so that it
//! need not wait for one look before the next: that waiting is most of what scanning costs.

use wide::u8x16;

/// The bytes that cannot stand in a string as they are, of the 64 that were looked at last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    start: usize,
    /// From the lowest: whether this byte is a quotation mark, a backslash or a control character.
    special: u64,
}

#[expect(clippy::inline_always, reason = "its two numbers are to stay in registers")]
impl Block {
    /// The block that starts there.
    pub(super) fn at(start: usize, bytes: &[u8]) -> Self {
        Self { start, special: special_of(bytes, start) }
    }

    /// The first special byte from this place on; the end, if there is none.
    #[inline(always)]
    pub(super) fn special_from(&mut self, bytes: &[u8], mut at: usize) -> usize {
        loop {
            let inside = at.wrapping_sub(self.start);
            if inside < 64 {
                let rest = self.special >> inside;
                if rest != 0 {
                    return at + rest.trailing_zeros() as usize;
                }
                at = self.start + 64;
            }
            if at >= bytes.len() {
                return bytes.len();
            }
            *self = Self::at(at, bytes);
        }
    }
}

#[inline]
fn special_of(bytes: &[u8], start: usize) -> u64 {
    match bytes.get(start..).and_then(<[u8]>::first_chunk) {
        Some(block) => special(block),
        None => {
            let mut block = [b' '; 64];
            let rest = bytes.get(start..).unwrap_or_default();
            block[..rest.len()].copy_from_slice(rest);
            special(&block)
        }
    }
}

#[inline]
fn special(block: &[u8; 64]) -> u64 {
    let (sixteens, _) = block.as_chunks();
    sixteens.iter().zip([0, 16, 32, 48]).fold(0, |special, (sixteen, at)| {
        let bytes = u8x16::new(*sixteen);
        // With its second bit flipped, a quotation mark is a space, and control characters stay less.
        let flipped = bytes ^ u8x16::splat(0x02);
        let quote_or_control = flipped.min(u8x16::splat(b' ')).simd_eq(flipped);
        let found = quote_or_control | bytes.simd_eq(u8x16::splat(b'\\'));
        special | u64::from(found.to_bitmask()) << at
    })
}

/// Whether there is nothing but spaces between these places.
#[inline]
pub(super) fn are_spaces(bytes: &[u8], from: usize, to: usize) -> bool {
    match bytes.get(from..).and_then(<[u8]>::first_chunk) {
        Some(sixteen) if to - from <= 16 => spaces(sixteen) >= to - from,
        _ => bytes[from..to].iter().all(|byte| *byte == b' '),
    }
}

/// What comes next that is no white space.
#[inline(never)]
pub(super) fn behind_whitespace(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
        // Behind a line break there are many spaces.
        while let Some(sixteen) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let found = spaces(sixteen);
            at += found;
            if found < 16 {
                break;
            }
        }
    }
    at
}

/// How many spaces these bytes begin with.
#[inline]
fn spaces(sixteen: &[u8; 16]) -> usize {
    let others = !u8x16::new(*sixteen).simd_eq(u8x16::splat(b' ')).to_bitmask();
    // At most 16: above them all bits are set.
    others.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_special(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    #[test]
    fn every_byte_at_every_place_is_special_or_is_not() {
        for byte in 0..=u8::MAX {
            for place in 0..64 {
                // Around it what is the nearest to being special.
                let mut block = [b'#'; 64];
                block[place] = byte;
                assert_eq!(special(&block), u64::from(is_special(byte)) << place, "{byte} {place}");
            }
        }
    }

    #[test]
    fn special_bytes_are_found_from_every_place_of_texts_of_every_length() {
        for length in 0..200 {
            let bytes: Vec<u8> =
                (0..length).map(|at| if at % 67 == 66 { b'"' } else { b'x' }).collect();
            // Forwards and backwards, from one block.
            let mut block = Block::at(0, &bytes);
            for from in (0..=length).chain((0..=length).rev()) {
                let expected = (from..length).find(|at| at % 67 == 66).unwrap_or(length);
                assert_eq!(block.special_from(&bytes, from), expected);
            }
        }
    }

    #[test]
    fn white_space_is_passed_over_and_nothing_else() {
        for length in 0..50 {
            for spaces in 0..=length {
                let mut bytes = vec![b' '; length];
                bytes[spaces..].fill(b'!');
                assert_eq!(behind_whitespace(&bytes, 0), spaces);
                for from in 0..=length {
                    assert_eq!(
                        are_spaces(&bytes, from, length),
                        spaces == length || from == length
                    );
                }
            }
        }
        assert_eq!(behind_whitespace(b"\n\r\t                   \n ,", 0), 24);
    }
}
