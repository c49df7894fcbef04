//! Checks the verdicts on the test vectors, and on copies of the valid ones with a flipped bit.
//! Stripe's official libraries were given the same vectors.

#![expect(clippy::unwrap_used, reason = "a test panics if its setup fails")]

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use router_core::{
    Secrets,
    signature::{SignatureError, Tolerance, VerifiedPayload, verify},
};

const FILE: &str = include_str!("../../vectors/signature.txt");

#[test]
fn every_vector_gets_its_expected_verdict() {
    let vectors = vectors();
    assert!(vectors.len() >= 150, "only {} vectors were read", vectors.len());
    for vector in &vectors {
        let verdict = match vector.verify() {
            Ok(verified) => {
                assert_eq!(verified.body(), &vector.body, "{}", vector.name);
                format!("ok {}", verified.endpoint())
            }
            Err(error) => error_name(&error).to_owned(),
        };
        assert_eq!(verdict, vector.expect, "{}", vector.name);
    }
}

#[test]
fn signature_with_a_flipped_bit_fails() {
    for vector in valid_vectors() {
        let header = vector.header_text();
        for bit in 0..256 {
            // Flips the bit in every `v1`: while a secret is being rolled, another one may match.
            let flipped = map_items(&header, "v1", |mac| flip_hex(mac, bit));
            let vector = Vector { header: Some(flipped), ..vector.clone() };
            vector.assert_refused(&format!("bit {bit} of the signature"));
        }
    }
}

#[test]
fn timestamp_with_a_flipped_bit_fails() {
    for vector in valid_vectors() {
        let header = vector.header_text();
        // The highest bits lead to timestamps beyond the year 9999.
        for bit in 0..40 {
            let flipped = map_items(&header, "t", |t| {
                let seconds: u64 = t.parse().unwrap();
                (seconds ^ 1 << bit).to_string()
            });
            let vector = Vector { header: Some(flipped), ..vector.clone() };
            vector.assert_refused(&format!("bit {bit} of the timestamp"));
        }
    }
}

#[test]
fn body_with_a_flipped_bit_or_an_added_byte_fails() {
    for vector in valid_vectors() {
        let length = vector.body.len();
        // Bytes at regular distances, with the first and the last.
        let indexes = (0..16).map(|part| part * length.saturating_sub(1) / 15);
        let indexes = indexes.filter(|index| *index < length);
        for (index, bit) in indexes.flat_map(|index| (0..8).map(move |bit| (index, bit))) {
            let mut body = vector.body.to_vec();
            body[index] ^= 1 << bit;
            let vector = Vector { body: body.into(), ..vector.clone() };
            vector.assert_refused(&format!("bit {bit} of the body's byte {index}"));
        }
        let longer = [&vector.body[..], b"\n"].concat();
        let vector = Vector { body: longer.into(), ..vector };
        vector.assert_refused("a byte added to the body");
    }
}

#[derive(Clone)]
struct Vector {
    name: &'static str,
    secrets: &'static str,
    header: Option<Vec<u8>>,
    body: Bytes,
    now: u64,
    expect: &'static str,
}

impl Vector {
    fn verify(&self) -> Result<VerifiedPayload, SignatureError> {
        let secrets = Secrets::parse(self.secrets).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(self.now);
        verify(self.header.as_deref(), self.body.clone(), &secrets, Tolerance::default(), now)
    }

    fn assert_refused(&self, change: &str) {
        use SignatureError::{NoMatch, TooOld, UnreadableTimestamp};

        match self.verify() {
            Err(NoMatch { .. } | TooOld { .. } | UnreadableTimestamp) => {}
            verdict => panic!("{}, {change}: {verdict:?}", self.name),
        }
    }

    /// Returns the header as Latin-1 text, one character per byte, because it need not be UTF-8.
    fn header_text(&self) -> String {
        self.header.iter().flatten().map(|byte| char::from(*byte)).collect()
    }
}

fn valid_vectors() -> impl Iterator<Item = Vector> {
    vectors().into_iter().filter(|vector| vector.expect.starts_with("ok "))
}

/// Parses the file; the comment at its start describes the format.
fn vectors() -> Vec<Vector> {
    FILE.split("\n[").skip(1).map(vector).collect()
}

fn vector(section: &'static str) -> Vector {
    let (name, lines) = section.split_once("]\n").unwrap();
    let fields: BTreeMap<&str, &str> = lines
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim_end(), value.strip_prefix(' ').unwrap_or(value)))
        .collect();
    // Every vector must record the verdicts of both official libraries.
    assert!(fields.contains_key("python") && fields.contains_key("node"), "{name}");
    Vector {
        name,
        secrets: fields["secrets"],
        header: fields.get("header").map(|text| unescape(text)),
        body: body(fields["body"]),
        now: fields["now"].parse().unwrap(),
        expect: fields["expect"],
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}

fn body(text: &str) -> Bytes {
    match text.split_once(':') {
        Some(("text", text)) => text.to_owned().into(),
        Some(("hex", digits)) => digits.as_bytes().chunks(2).map(byte).collect(),
        Some(("repeat", repeat)) => {
            let (digits, count) = repeat.split_once('*').unwrap();
            vec![byte(digits.as_bytes()); count.parse().unwrap()].into()
        }
        _ => panic!("{text:?} is not a body"),
    }
}

fn byte(digits: &[u8]) -> u8 {
    u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
}

/// Returns the header with `change` applied to the value of each item of this key.
fn map_items(header: &str, key: &str, change: impl Fn(&str) -> String) -> Vec<u8> {
    let items = header.split(',').map(|item| match item.trim().split_once('=') {
        Some((item_key, value)) if item_key == key => format!("{key}={}", change(value)),
        _ => item.to_owned(),
    });
    let header: Vec<String> = items.collect();
    header.join(",").chars().map(|c| u8::try_from(c).unwrap()).collect()
}

/// Returns the MAC with one bit flipped, or unchanged if it does not have 64 digits.
fn flip_hex(mac: &str, bit: usize) -> String {
    if mac.len() != 64 {
        return mac.to_owned();
    }
    let flip = |(index, digit): (usize, char)| match digit.to_digit(16) {
        Some(value) if index == bit / 4 => char::from_digit(value ^ 1 << (bit % 4), 16).unwrap(),
        _ => digit,
    };
    mac.chars().enumerate().map(flip).collect()
}

fn error_name(error: &SignatureError) -> &'static str {
    match error {
        SignatureError::MissingHeader => "missing_header",
        SignatureError::UnreadableHeader => "unreadable_header",
        SignatureError::NoTimestamp => "no_timestamp",
        SignatureError::UnreadableTimestamp => "unreadable_timestamp",
        SignatureError::RepeatedTimestamp => "repeated_timestamp",
        SignatureError::NoSignature => "no_signature",
        SignatureError::UnreadableSignature => "unreadable_signature",
        SignatureError::NoMatch { .. } => "no_match",
        SignatureError::TooOld { .. } => "too_old",
        other => panic!("no vector expects {other:?}"),
    }
}
