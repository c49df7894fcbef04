//! The error of signature verification.

/// The reason why a signature was refused.
///
/// The text names the likely cause and the fix. It is for the operator's log, never for the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// There is no `Stripe-Signature` header.
    #[error(
        "the request has no `Stripe-Signature` header: either it is not from Stripe, or a proxy \
         in front of this server drops the header"
    )]
    MissingHeader,
    /// The header holds no `scheme=value` item at all.
    #[error(
        "the `Stripe-Signature` header is not of the form `t=…,v1=…`: either the request is not \
         from Stripe, or a proxy rewrites the header"
    )]
    UnreadableHeader,
    /// The header has no `t`.
    #[error(
        "the `Stripe-Signature` header has no timestamp (`t=`): either the request is not from \
         Stripe, or a proxy cut the header short"
    )]
    NoTimestamp,
    /// The header's `t` is not a number of seconds, or one beyond the year 9999.
    #[error(
        "the timestamp (`t=`) in the `Stripe-Signature` header is not a decimal number of seconds: \
         the request is not from Stripe"
    )]
    UnreadableTimestamp,
    /// The header has more than one `t`.
    #[error(
        "the `Stripe-Signature` header has more than one timestamp (`t=`): the request is not from \
         Stripe, or a proxy joined two headers"
    )]
    RepeatedTimestamp,
    /// The header has no `v1`.
    #[error(
        "the `Stripe-Signature` header has no `v1` signature; other schemes, such as `v0`, prove \
         nothing and are not accepted"
    )]
    NoSignature,
    /// No `v1` is 64 lower-case hexadecimal digits.
    #[error(
        "no `v1` signature in the `Stripe-Signature` header is 64 lower-case hexadecimal digits: \
         the request is not from Stripe, or a proxy cut the header short"
    )]
    UnreadableSignature,
    /// No secret made any of the signatures.
    #[error(
        "none of the {signatures} signature(s) matches a body of {body_bytes} bytes under any of \
         the {secrets} signing secret(s): {}likely causes are another endpoint's secret, or the \
         other mode's (test or live); a secret that was rolled; a body that was parsed and \
         serialized again, or changed by a proxy; or a forged request. Compare the secret \
         (`whsec_…`) with that of this endpoint in Stripe's dashboard. `stripe listen` has a secret \
         of its own, which it prints when it starts. `event-router verify` finds the cause for the \
         header and the body of a request",
        encoding_cause(.content_encoding)
    )]
    NoMatch {
        /// The number of secrets that were tried.
        secrets: usize,
        /// The number of `v1` signatures that could be read.
        signatures: usize,
        /// The length of the body, in bytes.
        body_bytes: usize,
        /// The request's `Content-Encoding`, or `unknown` for one that is not in common use.
        /// Stripe's requests have none.
        content_encoding: Option<&'static str>,
    },
    /// The header's time is older than the tolerance. The signature was not checked.
    #[error(
        "the `Stripe-Signature` header is {} s old (signed at {signed_at}; our clock says \
         {now}), and at most {limit} s are tolerated: the request was replayed, delayed or forged, \
         or our clock is ahead",
        .now - .signed_at
    )]
    TooOld {
        /// The signature's time, in seconds since the Unix epoch.
        signed_at: u64,
        /// The time of our clock, in seconds since the Unix epoch.
        now: u64,
        /// The tolerance, in seconds.
        limit: u64,
    },
    /// The header's time is further ahead of our clock than allowed. The signature was not checked.
    #[error(
        "the time in the `Stripe-Signature` header is {} s ahead of our clock (signed at \
         {signed_at}; our clock says {now}), and at most {limit} s are allowed: our clock is behind, \
         or the request was forged",
        .signed_at - .now
    )]
    TooFarAhead {
        /// The signature's time, in seconds since the Unix epoch.
        signed_at: u64,
        /// The time of our clock, in seconds since the Unix epoch.
        now: u64,
        /// The limit, in seconds.
        limit: u64,
    },
}

impl SignatureError {
    /// Returns the reason as one word, for spans and metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::MissingHeader => "signature_missing",
            Self::UnreadableHeader
            | Self::NoTimestamp
            | Self::UnreadableTimestamp
            | Self::RepeatedTimestamp
            | Self::NoSignature
            | Self::UnreadableSignature => "signature_malformed",
            Self::NoMatch { .. } => "signature_mismatch",
            Self::TooOld { .. } => "signature_too_old",
            Self::TooFarAhead { .. } => "signature_ahead",
        }
    }
}

/// Returns the likeliest cause of a mismatch if the request has a `Content-Encoding`.
fn encoding_cause(encoding: &Option<&'static str>) -> String {
    encoding.map_or_else(String::new, |encoding| {
        format!(
            "the request has a `Content-Encoding` ({encoding}), so a proxy has probably compressed \
             the body that Stripe signed: switch that off, or decompress the body in front of this \
             endpoint; otherwise "
        )
    })
}
