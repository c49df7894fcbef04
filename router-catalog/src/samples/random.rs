//! Ids and whatever else looks like chance: all of it follows from a seed.

/// A stream of numbers that follows from a seed and from what it is for: SplitMix64, as published by
/// Steele, Lea and Flood in "Fast splittable pseudorandom number generators" (2014).
pub(super) struct Random(u64);

impl Random {
    /// Another stream for each seed and each purpose.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        let mut random = Self(seed);
        for byte in purpose.bytes() {
            random.0 = random.next() ^ u64::from(byte);
        }
        random
    }

    /// Letters and digits, as in Stripe's ids.
    pub(super) fn token(&mut self, length: usize) -> String {
        self.word(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", length)
    }

    /// Digits.
    pub(super) fn digits(&mut self, length: usize) -> String {
        self.word(b"0123456789", length)
    }

    /// One of these.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        // A remainder favours none of a few choices by as much as one could see.
        let choice = self.next() % choices.len() as u64;
        choices[choice as usize]
    }

    fn word(&mut self, letters: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(self.one_of(letters))).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
