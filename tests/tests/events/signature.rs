//! Property tests of signing and verifying, over arbitrary bodies, secrets and headers.

#![expect(clippy::unwrap_used, reason = "a test panics if its setup fails")]

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use router_core::{
    SigningSecret,
    signature::{SignatureError, Tolerance, VerifiedPayload, sign, verify},
};

fn secret() -> impl Strategy<Value = SigningSecret> {
    "whsec_[A-Za-z0-9+/-]{1,80}={0,2}".prop_map(|text| SigningSecret::new(&text).unwrap())
}

fn check(
    header: &[u8],
    body: &[u8],
    secret: &SigningSecret,
    now: u64,
) -> Result<VerifiedPayload, SignatureError> {
    let now = UNIX_EPOCH + Duration::from_secs(now);
    verify(Some(header), body.to_vec().into(), &secret.clone().into(), Tolerance::default(), now)
}

proptest! {
    #[test]
    fn arbitrary_header_never_verifies(header: Vec<u8>, body: Vec<u8>, secret in secret()) {
        prop_assert!(check(&header, &body, &secret, 0).is_err());
    }

    #[test]
    fn signed_body_verifies_within_the_tolerance(
        body: Vec<u8>, secret in secret(), signed_at in 0_u64..=253_402_300_799, age in 0_u64..=300,
    ) {
        let header = sign(&secret, signed_at, &body);
        let verified = check(header.as_bytes(), &body, &secret, signed_at + age).unwrap();
        prop_assert_eq!(verified.body(), &body);
        prop_assert_eq!(verified.signed_at(), UNIX_EPOCH + Duration::from_secs(signed_at));
    }

    #[test]
    fn body_with_a_changed_byte_fails(
        body in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, change in 1_u8..,
        secret in secret(),
    ) {
        let header = sign(&secret, 1_000, &body);
        let mut changed = body;
        *at.get_mut(&mut changed) ^= change;
        prop_assert!(check(header.as_bytes(), &changed, &secret, 1_000).is_err());
    }

    #[test]
    fn header_with_a_changed_byte_fails(
        body: Vec<u8>, at: prop::sample::Index, change in 1_u8.., secret in secret(),
    ) {
        let mut header = sign(&secret, 1_000, &body).into_bytes();
        *at.get_mut(&mut header) ^= change;
        prop_assert!(check(&header, &body, &secret, 1_000).is_err());
    }

    #[test]
    fn signature_with_another_secret_fails(body: Vec<u8>, secret in secret(), other in secret()) {
        let header = sign(&secret, 1_000, &body);
        let result = check(header.as_bytes(), &body, &other, 1_000);
        let secrets_are_equal = sign(&other, 1_000, &body) == header;
        prop_assert_eq!(result.is_ok(), secrets_are_equal);
    }
}
