//! Our verdict on every vector that Stripe's own libraries have judged, and on each of them with a
//! bit flipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use router_core::{
    Secrets, Tolerance,
    signature::{SignatureError, VerifiedPayload, verify},
};

const FILE: &str = include_str!("../vectors/signature.txt");

#[test]
fn every_vector_is_judged_as_it_says() {
    let vectors = vectors();
    assert!(vectors.len() >= 150, "only {} vectors were read", vectors.len());
    for vector in &vectors {
        let verdict = match vector.verify() {
            Ok(verified) => {
                assert_eq!(verified.body(), &vector.body, "{}", vector.name);
                format!("ok {}", verified.endpoint())
            }
            Err(error) => name_of(&error).to_owned(),
        };
        assert_eq!(verdict, vector.expect, "{}", vector.name);
    }
}

#[test]
fn each_flipped_bit_of_a_signature_fails() {
    for vector in positive_vectors() {
        let header = vector.header_text();
        for bit in 0..256 {
            // In every `v1` at once: while a secret is being rolled, another one is still good.
            let flipped = map_items(&header, "v1", |mac| flip_hex(mac, bit));
            let vector = Vector { header: Some(flipped), ..vector.clone() };
            vector.assert_refused(&format!("bit {bit} of the signature"));
        }
    }
}

#[test]
fn each_flipped_bit_of_the_timestamp_fails() {
    for vector in positive_vectors() {
        let header = vector.header_text();
        // The highest ones leave the years that are times at all.
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
fn each_flipped_bit_of_a_sample_of_the_body_fails() {
    for vector in positive_vectors() {
        let length = vector.body.len();
        // The first and the last byte, and a few between.
        let sample = (0..16).map(|part| part * length.saturating_sub(1) / 15);
        let sample = sample.filter(|at| *at < length);
        for (at, bit) in sample.flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut body = vector.body.to_vec();
            body[at] ^= 1 << bit;
            let vector = Vector { body: body.into(), ..vector.clone() };
            vector.assert_refused(&format!("bit {bit} of the body's byte {at}"));
        }
        let longer = [&vector.body[..], b"\n"].concat();
        let vector = Vector { body: longer.into(), ..vector };
        vector.assert_refused("one more byte in the body");
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

    fn assert_refused(&self, what: &str) {
        use SignatureError::{NoMatch, UnreadableTimestamp};

        // Never for its age: who changed something is not told how old it is.
        match self.verify() {
            Err(NoMatch { .. } | UnreadableTimestamp) => {}
            verdict => panic!("{}, {what}: {verdict:?}", self.name),
        }
    }

    /// One character for each byte, since a header need not be UTF-8.
    fn header_text(&self) -> String {
        self.header.iter().flatten().map(|byte| char::from(*byte)).collect()
    }
}

fn positive_vectors() -> impl Iterator<Item = Vector> {
    vectors().into_iter().filter(|vector| vector.expect.starts_with("ok "))
}

/// The file's own head describes its format.
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
    // Without these two the file would not say what the official libraries do.
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
        _ => panic!("{text:?} is no body"),
    }
}

fn byte(digits: &[u8]) -> u8 {
    u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
}

/// The header with the value of each item of this key changed.
fn map_items(header: &str, key: &str, change: impl Fn(&str) -> String) -> Vec<u8> {
    let items = header.split(',').map(|item| match item.trim().split_once('=') {
        Some((found, value)) if found == key => format!("{key}={}", change(value)),
        _ => item.to_owned(),
    });
    let header: Vec<String> = items.collect();
    header.join(",").chars().map(|c| u8::try_from(c).unwrap()).collect()
}

fn flip_hex(mac: &str, bit: usize) -> String {
    if mac.len() != 64 {
        return mac.to_owned();
    }
    let flip = |(at, digit): (usize, char)| match digit.to_digit(16) {
        Some(value) if at == bit / 4 => char::from_digit(value ^ 1 << (bit % 4), 16).unwrap(),
        _ => digit,
    };
    mac.chars().enumerate().map(flip).collect()
}

fn name_of(error: &SignatureError) -> &'static str {
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
