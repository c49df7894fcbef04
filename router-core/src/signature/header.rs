//! The parser of the `Stripe-Signature` header: `t=1700000000,v1=5257a8…,v1=…,v0=…`, in any order.

use super::{SignatureError, SigningSecret, secret::Mac};

const MAC_BYTES: usize = 32;

/// The latest valid timestamp: the end of the year 9999, in seconds since the Unix epoch. Not every
/// platform's `SystemTime` can represent a later time.
const MAX_TIMESTAMP: u64 = 253_402_300_799;

/// A parsed header, with one timestamp and at least one well-formed `v1` signature.
pub(super) struct SignatureHeader<'h> {
    timestamp: u64,
    /// The first well-formed signature, which is nearly always the only one.
    first: [u8; MAC_BYTES],
    /// The text after the first well-formed signature.
    rest: &'h [u8],
}

impl<'h> SignatureHeader<'h> {
    pub(super) fn parse(value: &'h [u8]) -> Result<Self, SignatureError> {
        let mut is_empty = true;
        let mut seconds = None;
        let mut repeated = false;
        let mut has_signature = false;
        let mut first = None;
        let mut items = items(value);
        while let Some((scheme, text)) = items.next() {
            is_empty = false;
            match scheme {
                b"t" if seconds.is_none() => seconds = Some(text),
                // The official libraries disagree on which of two to use, and Stripe never sends
                // two.
                b"t" => repeated = true,
                b"v1" => {
                    has_signature = true;
                    if first.is_none() {
                        first = parse_hex(text).map(|mac| (mac, items.rest));
                    }
                }
                _ => {}
            }
        }
        if is_empty {
            return Err(SignatureError::UnreadableHeader);
        }
        let seconds = seconds.ok_or(SignatureError::NoTimestamp)?;
        let timestamp = parse_timestamp(seconds).ok_or(SignatureError::UnreadableTimestamp)?;
        if repeated {
            return Err(SignatureError::RepeatedTimestamp);
        }
        if !has_signature {
            return Err(SignatureError::NoSignature);
        }
        let (first, rest) = first.ok_or(SignatureError::UnreadableSignature)?;
        Ok(Self { timestamp, first, rest })
    }

    /// Returns the timestamp, in seconds since the Unix epoch.
    pub(super) fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Returns the well-formed `v1` signatures: several while a secret is being rolled.
    pub(super) fn signatures(&self) -> impl Iterator<Item = [u8; MAC_BYTES]> + 'h {
        let others = items(self.rest).filter(|(scheme, _)| *scheme == b"v1");
        [self.first].into_iter().chain(others.filter_map(|(_, mac)| parse_hex(mac)))
    }

    /// Returns whether one of the signatures is the MAC of the body under this secret.
    pub(super) fn is_signed_by(&self, secret: &SigningSecret, body: &[u8]) -> bool {
        let expected = secret.mac(self.timestamp, body);
        // Comparing two `Mac`s takes constant time.
        self.signatures().any(|given| Mac::new(given.into()) == expected)
    }
}

/// Returns the `scheme=value` items, and skips words without `=`. White space around an item is
/// trimmed, because a proxy adds it when it folds two header lines into one.
fn items(value: &[u8]) -> Items<'_> {
    Items { rest: value }
}

struct Items<'h> {
    /// The text that is not parsed yet.
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

fn parse_timestamp(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let seconds = digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    seconds.filter(|seconds| *seconds <= MAX_TIMESTAMP)
}

/// Decodes lower-case hexadecimal digits. Stripe sends only these, and its libraries for Python and
/// Node accept only these.
fn parse_hex(text: &[u8]) -> Option<[u8; MAC_BYTES]> {
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
        fn malformed_headers_never_panic(value in "( ?(t|v1|v0|)=?[0-9a-fA-F]{0,66},?){0,6}") {
            let _ = SignatureHeader::parse(value.as_bytes()).map(|header| header.signatures().count());
        }

        #[test]
        fn written_header_is_parsed(timestamp in 0..=MAX_TIMESTAMP, mac: [u8; MAC_BYTES], zeros in "0{0,40}") {
            let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
            let value = format!("v1={hex},t={zeros}{timestamp}");
            let header = SignatureHeader::parse(value.as_bytes()).unwrap();
            prop_assert_eq!(header.timestamp(), timestamp);
            prop_assert_eq!(header.signatures().collect::<Vec<_>>(), vec![mac]);
        }
    }
}
