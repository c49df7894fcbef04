//! Verification and creation of `Stripe-Signature` headers, independent of HTTP.
//!
//! The MAC is HMAC-SHA256 over the decimal timestamp, a full stop, and the body's raw bytes, under
//! the text of the endpoint's signing secret, as
//! [Stripe's documentation](https://docs.stripe.com/webhooks#verify-manually) describes it.
//!
//! ```
//! use std::time::{Duration, UNIX_EPOCH};
//! use router_core::signature::{SigningSecret, Tolerance, sign, verify};
//!
//! let secret = SigningSecret::new("whsec_test")?;
//! let header = sign(&secret, 1_700_000_000, b"{}");
//!
//! let now = UNIX_EPOCH + Duration::from_secs(1_700_000_010);
//! let verified =
//!     verify(Some(header.as_bytes()), "{}".into(), &secret.into(), Tolerance::default(), now)?;
//! assert_eq!(verified.body(), "{}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "development")]
mod development;
mod error;
mod header;
mod secret;
mod secret_error;
mod secrets;
mod tolerance;

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use self::header::SignatureHeader;
pub(crate) use self::secret::EndpointNames;
pub use self::{
    error::SignatureError,
    secret::{EndpointName, SigningSecret},
    secret_error::SecretError,
    secrets::Secrets,
    tolerance::{Tolerance, ToleranceError},
};

/// A body that was verified to be sent by Stripe. Only [`verify`] and an endpoint create one.
#[derive(Clone)]
pub struct VerifiedPayload {
    body: Bytes,
    endpoints: EndpointNames,
    signed_at: SystemTime,
    ahead: Duration,
}

impl VerifiedPayload {
    /// Returns the signed bytes.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the name of the endpoint whose secret matched. For a secret [of two
    /// endpoints](SigningSecret::connect_named), the event may belong to the second one;
    /// [`Event::parse`](crate::Event::parse) decides.
    #[must_use]
    pub fn endpoint(&self) -> &EndpointName {
        self.endpoints.of(None)
    }

    /// Returns the time at which Stripe signed the body, to the second.
    #[must_use]
    pub fn signed_at(&self) -> SystemTime {
        self.signed_at
    }

    /// Returns how far the signature is ahead of our clock, in whole seconds, or zero if it is not.
    #[must_use]
    pub fn ahead(&self) -> Duration {
        self.ahead
    }

    /// Returns the body, the endpoints and the signature's time.
    pub(crate) fn into_parts(self) -> (Bytes, EndpointNames, SystemTime) {
        (self.body, self.endpoints, self.signed_at)
    }
}

/// Leaves out the body, which contains personal data.
impl fmt::Debug for VerifiedPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedPayload")
            .field("bytes", &self.body.len())
            .field("endpoint", &self.endpoint())
            .field("signed_at", &self.signed_at)
            .finish_non_exhaustive()
    }
}

/// Verifies that the `body` was signed with one of the `secrets`, and not too long ago.
///
/// `header` is the value of the `Stripe-Signature` header, or `None` if the request has none. The
/// header's time is checked first, because that check needs no body. Then each `v1` signature is
/// compared in constant time with the MAC under each secret.
///
/// # Errors
///
/// Fails if the header is missing or malformed, if its time is outside the tolerance, or if no
/// signature matches. [`SignatureError`] has a variant for each case.
pub fn verify(
    header: Option<&[u8]>,
    body: Bytes,
    secrets: &Secrets,
    tolerance: Tolerance,
    now: SystemTime,
) -> Result<VerifiedPayload, SignatureError> {
    UnverifiedSignature::parse(header, tolerance, now)?.verify(body, secrets)
}

/// A well-formed `Stripe-Signature` header whose time is within the tolerance. Anyone can make such
/// a header. Only [`UnverifiedSignature::verify`] shows whether Stripe signed the body.
pub(crate) struct UnverifiedSignature<'h> {
    header: SignatureHeader<'h>,
    ahead: Duration,
}

impl<'h> UnverifiedSignature<'h> {
    /// Parses the header and checks its time.
    ///
    /// # Errors
    ///
    /// Fails if the header is missing or malformed, or if its time is outside the tolerance.
    pub(crate) fn parse(
        header: Option<&'h [u8]>,
        tolerance: Tolerance,
        now: SystemTime,
    ) -> Result<Self, SignatureError> {
        let header = SignatureHeader::parse(header.ok_or(SignatureError::MissingHeader)?)?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let ahead = tolerance.check(header.timestamp(), now)?;
        Ok(Self { header, ahead })
    }

    /// Verifies that the body was signed with one of the secrets.
    ///
    /// # Errors
    ///
    /// Fails if no signature matches.
    pub(crate) fn verify(
        self,
        body: Bytes,
        secrets: &Secrets,
    ) -> Result<VerifiedPayload, SignatureError> {
        let Self { header, ahead } = self;
        let matches = |secret: &&SigningSecret| header.is_signed_by(secret, &body);
        let secret = secrets.iter().find(matches).ok_or_else(|| SignatureError::NoMatch {
            secrets: secrets.iter().count(),
            signatures: header.signatures().count(),
            body_bytes: body.len(),
            content_encoding: None,
        })?;
        Ok(VerifiedPayload {
            endpoints: secret.endpoint_names().clone(),
            signed_at: UNIX_EPOCH + Duration::from_secs(header.timestamp()),
            body,
            ahead,
        })
    }
}

/// Returns the time in a `Stripe-Signature` header, without verifying it.
#[cfg(feature = "testing")]
pub(crate) fn claimed_time(header: &[u8]) -> Option<SystemTime> {
    let seconds = SignatureHeader::parse(header).ok()?.timestamp();
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Creates the value of a `Stripe-Signature` header for a body, as Stripe would at `timestamp`
/// (seconds since the Unix epoch).
#[must_use]
pub fn sign(secret: &SigningSecret, timestamp: u64, body: &[u8]) -> String {
    use std::fmt::Write as _;

    let mut header = format!("t={timestamp},v1=");
    for byte in secret.mac(timestamp, body).into_bytes() {
        // Writing to a String cannot fail.
        let _ = write!(header, "{byte:02x}");
    }
    header
}
