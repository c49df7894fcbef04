//! Pseudorandom values, such as ids, that are determined by a seed.

/// A SplitMix64 generator, as published by Steele, Lea and Flood in "Fast splittable pseudorandom
/// number generators" (2014).
pub(super) struct Random(u64);

impl Random {
    /// Returns a generator with a different stream for each seed and purpose.
    pub(super) fn new(seed: u64, purpose: &str) -> Self {
        let mut random = Self(seed);
        for byte in purpose.bytes() {
            random.0 = random.next() ^ u64::from(byte);
        }
        random
    }

    /// Returns letters and digits, as in Stripe's ids.
    pub(super) fn token(&mut self, length: usize) -> String {
        self.string(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", length)
    }

    /// Returns decimal digits.
    pub(super) fn digits(&mut self, length: usize) -> String {
        self.string(b"0123456789", length)
    }

    /// Returns one of the choices.
    pub(super) fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        // The modulo bias is negligible for a few choices.
        let choice = self.next() % choices.len() as u64;
        choices[choice as usize]
    }

    fn string(&mut self, alphabet: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(self.choose(alphabet))).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
