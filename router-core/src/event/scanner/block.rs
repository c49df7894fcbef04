//! Classifies 64 bytes at once. The scanner then knows the end of a string without a chain of
//! dependent loads, the latency of which is most of the cost of scanning.

use wide::u8x16;

/// A bit mask of the special bytes in a block of 64 bytes: those that cannot occur unescaped in a
/// string.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    start: usize,
    /// One bit for each byte, from the lowest: set for a quotation mark, a backslash or a control
    /// character.
    special: u64,
}

#[expect(clippy::inline_always, reason = "keeps both fields in registers")]
impl Block {
    /// Classifies the block that begins at `start`.
    pub(super) fn load(start: usize, bytes: &[u8]) -> Self {
        Self { start, special: special_of(bytes, start) }
    }

    /// Returns the offset of the first special byte from `offset` on, or the end if there is none.
    #[inline(always)]
    pub(super) fn special_from(&mut self, bytes: &[u8], mut offset: usize) -> usize {
        loop {
            let inside = offset.wrapping_sub(self.start);
            if inside < 64 {
                let rest = self.special >> inside;
                if rest != 0 {
                    return offset + rest.trailing_zeros() as usize;
                }
                offset = self.start + 64;
            }
            if offset >= bytes.len() {
                return bytes.len();
            }
            *self = Self::load(offset, bytes);
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
    sixteens.iter().zip([0, 16, 32, 48]).fold(0, |mask, (sixteen, shift)| {
        let bytes = u8x16::new(*sixteen);
        // Flipping the second bit turns a quotation mark into a space and keeps control characters
        // below it.
        let flipped = bytes ^ u8x16::splat(0x02);
        let quote_or_control = flipped.min(u8x16::splat(b' ')).simd_eq(flipped);
        let found = quote_or_control | bytes.simd_eq(u8x16::splat(b'\\'));
        mask | u64::from(found.to_bitmask()) << shift
    })
}

/// Returns whether the bytes between these offsets are all spaces.
#[inline]
pub(super) fn are_spaces(bytes: &[u8], from: usize, to: usize) -> bool {
    match bytes.get(from..).and_then(<[u8]>::first_chunk) {
        Some(sixteen) if to - from <= 16 => leading_spaces(sixteen) >= to - from,
        _ => bytes[from..to].iter().all(|byte| *byte == b' '),
    }
}

/// Returns the offset of the first byte from `offset` on that is not white space.
#[inline(never)]
pub(super) fn whitespace_end(bytes: &[u8], mut offset: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(offset) {
        offset += 1;
        // A line break is often followed by many spaces.
        while let Some(sixteen) = bytes.get(offset..).and_then(<[u8]>::first_chunk) {
            let found = leading_spaces(sixteen);
            offset += found;
            if found < 16 {
                break;
            }
        }
    }
    offset
}

/// Returns the number of leading spaces.
#[inline]
fn leading_spaces(sixteen: &[u8; 16]) -> usize {
    let others = !u8x16::new(*sixteen).simd_eq(u8x16::splat(b' ')).to_bitmask();
    // The bits above the lowest 16 are set, so the result is at most 16.
    others.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_special(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    #[test]
    fn special_bytes_are_found_at_every_position() {
        for byte in 0..=u8::MAX {
            for position in 0..64 {
                // `#` differs from the special `"` in one bit.
                let mut block = [b'#'; 64];
                block[position] = byte;
                let expected = u64::from(is_special(byte)) << position;
                assert_eq!(special(&block), expected, "{byte} {position}");
            }
        }
    }

    #[test]
    fn special_from_works_for_every_offset_and_length() {
        for length in 0..200 {
            let bytes: Vec<u8> =
                (0..length).map(|offset| if offset % 67 == 66 { b'"' } else { b'x' }).collect();
            // Forwards and backwards, reusing one block.
            let mut block = Block::load(0, &bytes);
            for from in (0..=length).chain((0..=length).rev()) {
                let expected = (from..length).find(|offset| offset % 67 == 66).unwrap_or(length);
                assert_eq!(block.special_from(&bytes, from), expected);
            }
        }
    }

    #[test]
    fn only_white_space_is_skipped() {
        for length in 0..50 {
            for spaces in 0..=length {
                let mut bytes = vec![b' '; length];
                bytes[spaces..].fill(b'!');
                assert_eq!(whitespace_end(&bytes, 0), spaces);
                for from in 0..=length {
                    assert_eq!(
                        are_spaces(&bytes, from, length),
                        spaces == length || from == length
                    );
                }
            }
        }
        assert_eq!(whitespace_end(b"\n\r\t                   \n ,", 0), 24);
    }
}
