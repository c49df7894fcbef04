//! `t=1700000000,v1=5257a8…,v1=…,v0=…`: the header's items, in any order.

use super::{SignatureError, SigningSecret, secret::Mac};

const MAC_BYTES: usize = 32;

/// The end of the year 9999, in seconds since the Unix epoch: what lies behind is no timestamp, and
/// not every platform could hold it.
const LATEST: u64 = 253_402_300_799;

/// A header that has one timestamp and at least one `v1` that can be read.
pub(super) struct SignatureHeader<'h> {
    timestamp: u64,
    /// The first signature that can be read, which is nearly always the only one.
    first: [u8; MAC_BYTES],
    /// What stands behind it.
    rest: &'h [u8],
}

impl<'h> SignatureHeader<'h> {
    pub(super) fn parse(value: &'h [u8]) -> Result<Self, SignatureError> {
        let (mut seconds, mut repeated) = (None, false);
        let (mut is_empty, mut has_signature, mut first) = (true, false, None);
        let mut items = items(value);
        while let Some((scheme, text)) = items.next() {
            is_empty = false;
            match scheme {
                b"t" if seconds.is_none() => seconds = Some(text),
                // The official libraries disagree on which of two counts, and Stripe never sends two.
                b"t" => repeated = true,
                b"v1" => {
                    has_signature = true;
                    if first.is_none() {
                        first = hex(text).map(|mac| (mac, items.rest));
                    }
                }
                _ => {}
            }
        }
        if is_empty {
            return Err(SignatureError::UnreadableHeader);
        }
        let seconds = seconds.ok_or(SignatureError::NoTimestamp)?;
        let timestamp = timestamp(seconds).ok_or(SignatureError::UnreadableTimestamp)?;
        if repeated {
            return Err(SignatureError::RepeatedTimestamp);
        }
        if !has_signature {
            return Err(SignatureError::NoSignature);
        }
        let (first, rest) = first.ok_or(SignatureError::UnreadableSignature)?;
        Ok(Self { timestamp, first, rest })
    }

    /// Seconds since the Unix epoch.
    pub(super) fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The `v1` signatures that can be read. While a secret is being rolled there are several.
    pub(super) fn signatures(&self) -> impl Iterator<Item = [u8; MAC_BYTES]> + 'h {
        let others = items(self.rest).filter(|(scheme, _)| *scheme == b"v1");
        [self.first].into_iter().chain(others.filter_map(|(_, mac)| hex(mac)))
    }

    pub(super) fn is_signed_by(&self, secret: &SigningSecret, body: &[u8]) -> bool {
        let expected = secret.mac(self.timestamp, body);
        // Comparing two `Mac`s takes the same time wherever they differ.
        self.signatures().any(|given| Mac::new(given.into()) == expected)
    }
}

/// The `scheme=value` items; bare words are none of them. Spaces around an item are not part of
/// it: a proxy that folds two header lines into one puts them there.
fn items(value: &[u8]) -> Items<'_> {
    Items { rest: value }
}

struct Items<'h> {
    /// What has not been looked at.
    rest: &'h [u8],
}

impl<'h> Iterator for Items<'h> {
    type Item = (&'h [u8], &'h [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let comma = self.rest.iter().position(|byte| *byte == b',');
            let (item, rest) = match comma {
                Some(comma) => (&self.rest[..comma], &self.rest[comma + 1..]),
                None => (self.rest, &[][..]),
            };
            self.rest = rest;
            let item = item.trim_ascii();
            if let Some(equals) = item.iter().position(|byte| *byte == b'=') {
                return Some((&item[..equals], &item[equals + 1..]));
            }
        }
        None
    }
}

fn timestamp(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let seconds = digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    seconds.filter(|seconds| *seconds <= LATEST)
}

/// Lower case only, as Stripe sends it and as its libraries for Python and Node accept it.
fn hex(text: &[u8]) -> Option<[u8; MAC_BYTES]> {
    fn nibble(digit: u8) -> Option<u8> {
        match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        }
    }

    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != MAC_BYTES || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; MAC_BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(value: Vec<u8>) {
            let _ = SignatureHeader::parse(&value).map(|header| header.signatures().count());
        }

        #[test]
        fn almost_headers_never_panic(value in "( ?(t|v1|v0|)=?[0-9a-fA-F]{0,66},?){0,6}") {
            let _ = SignatureHeader::parse(value.as_bytes()).map(|header| header.signatures().count());
        }

        #[test]
        fn what_was_written_is_read(timestamp in 0..=LATEST, mac: [u8; MAC_BYTES], zeros in "0{0,40}") {
            let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
            let value = format!("v1={hex},t={zeros}{timestamp}");
            let header = SignatureHeader::parse(value.as_bytes()).unwrap();
            prop_assert_eq!(header.timestamp(), timestamp);
            prop_assert_eq!(header.signatures().collect::<Vec<_>>(), vec![mac]);
        }
    }
}
