//! `t=1700000000,v1=5257a8…,v1=…,v0=…`: the header's items, in any order.

use super::{SignatureError, SigningSecret, secret::Mac};

const MAC_BYTES: usize = 32;

/// The end of the year 9999, in seconds since the Unix epoch: what lies behind is no timestamp, and
/// not every platform could hold it.
const LATEST: u64 = 253_402_300_799;

/// A header that has one timestamp and at least one `v1` that can be read.
pub(super) struct SignatureHeader<'h> {
    value: &'h [u8],
    timestamp: u64,
}

impl<'h> SignatureHeader<'h> {
    pub(super) fn parse(value: &'h [u8]) -> Result<Self, SignatureError> {
        if items(value).next().is_none() {
            return Err(SignatureError::UnreadableHeader);
        }
        let mut timestamps = items(value).filter(|(scheme, _)| *scheme == b"t");
        let (_, seconds) = timestamps.next().ok_or(SignatureError::NoTimestamp)?;
        let timestamp = timestamp(seconds).ok_or(SignatureError::UnreadableTimestamp)?;
        if timestamps.next().is_some() {
            // The official libraries disagree on which of two counts, and Stripe never sends two.
            return Err(SignatureError::RepeatedTimestamp);
        }
        if !items(value).any(|(scheme, _)| scheme == b"v1") {
            return Err(SignatureError::NoSignature);
        }
        let header = Self { value, timestamp };
        if header.signatures().next().is_none() {
            return Err(SignatureError::UnreadableSignature);
        }
        Ok(header)
    }

    /// Seconds since the Unix epoch.
    pub(super) fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The `v1` signatures that can be read. While a secret is being rolled there are several.
    pub(super) fn signatures(&self) -> impl Iterator<Item = [u8; MAC_BYTES]> + 'h {
        items(self.value).filter(|(scheme, _)| *scheme == b"v1").filter_map(|(_, mac)| hex(mac))
    }

    pub(super) fn is_signed_by(&self, secret: &SigningSecret, body: &[u8]) -> bool {
        let expected = secret.mac(self.timestamp, body);
        // Comparing two `Mac`s takes the same time wherever they differ.
        self.signatures().any(|given| Mac::new(given.into()) == expected)
    }
}

/// The `scheme=value` items; bare words are none of them. Spaces around an item are not part of
/// it: a proxy that folds two header lines into one puts them there.
fn items(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|byte| *byte == b',').filter_map(|item| {
        let item = item.trim_ascii();
        let equals = item.iter().position(|byte| *byte == b'=')?;
        Some((&item[..equals], &item[equals + 1..]))
    })
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
