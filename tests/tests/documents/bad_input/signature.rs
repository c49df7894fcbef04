//! `Stripe-Signature` headers, and signatures of different ages.

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use router_core::{
    SigningSecret,
    signature::{SignatureError as E, sign},
};
use router_tests::{NOW, SECRET, exchange::post, payload, secret, signature};
use tracing::Level;

use super::{
    endpoints::limits_clock_skew,
    row::{Group, Row, post_with_header, row, variant_name},
};

// Only the variants of these errors are compared, not their fields.
const NO_MATCH: E = E::NoMatch { secrets: 1, signatures: 1, body_bytes: 0, content_encoding: None };
const TOO_OLD: E = E::TooOld { signed_at: 0, now: 301, limit: 300 };
const TOO_FAR_AHEAD: E = E::TooFarAhead { signed_at: 61, now: 0, limit: 60 };

pub(crate) fn header() -> Group {
    Group {
        title: "Signature header",
        file: "tests/tests/documents/bad_input/signature.rs",
        intro: "The body is a valid event. `tests/vectors/signature.txt` has more headers, with the \
                verdicts of the official libraries.",
        rows: [headers(), timestamps(), signatures(), secrets()].into_iter().flatten().collect(),
    }
}

fn paid() -> String {
    payload("invoice.paid")
}

/// Returns the `v1` of the valid header, in hexadecimal digits.
fn mac() -> String {
    signature(paid().as_bytes()).split_once("v1=").expect("the header has a `v1`").1.to_owned()
}

fn with_header(header: impl AsRef<[u8]>) -> Request<Full<Bytes>> {
    post_with_header(header, paid())
}

fn with_headers(first: &str, second: &str) -> Request<Full<Bytes>> {
    let mut request = with_header(first);
    let second = HeaderValue::from_str(second).expect("header value is valid in HTTP");
    request.headers_mut().append("stripe-signature", second);
    request
}

fn with_header_renamed(name: &'static str) -> Request<Full<Bytes>> {
    let mut request = post(paid());
    let value = request.headers_mut().remove("stripe-signature").expect("`post` signs the request");
    request.headers_mut().insert(name, value);
    request
}

fn refused(
    name: &'static str,
    description: &'static str,
    error: E,
    header: impl AsRef<[u8]>,
) -> Row {
    row(name, description, with_header(header)).unverified(&variant_name(error))
}

fn headers() -> Vec<Row> {
    let valid = signature(paid().as_bytes());
    vec![
        row("no_header", "no `Stripe-Signature` header", with_header_renamed("x-nothing"))
            .unverified(&variant_name(E::MissingHeader))
            .note("not from Stripe, or a proxy drops the header"),
        row(
            "header_renamed",
            "`X-Stripe-Signature` instead of `Stripe-Signature`",
            with_header_renamed("x-stripe-signature"),
        )
        .unverified(&variant_name(E::MissingHeader))
        .note("configure the gateway not to rename the header"),
        refused("header_empty", "an empty header", E::UnreadableHeader, ""),
        refused("header_nonsense", "`nonsense`", E::UnreadableHeader, "nonsense"),
        refused(
            "header_not_ascii",
            "bytes outside ASCII",
            E::UnreadableTimestamp,
            b"t=\xff,v1=\xff",
        ),
        refused(
            "header_from_github",
            "`sha256=…`, the format of GitHub",
            E::NoTimestamp,
            format!("sha256={}", mac()),
        )
        .note("another service is configured with this URL"),
        refused(
            "header_quoted",
            "quotes around the whole value",
            E::NoTimestamp,
            format!("\"{valid}\""),
        ),
        refused(
            "header_with_semicolons",
            "`t=…;v1=…`",
            E::UnreadableTimestamp,
            valid.replace(',', ";"),
        ),
        row(
            "two_headers_invalid_first",
            "two `Stripe-Signature` headers, only the second valid",
            with_headers(&valid.replace("v1=", "v1=0"), &valid),
        )
        .unverified(&variant_name(E::UnreadableSignature))
        .note("only the first header counts; Stripe sends one"),
        row(
            "two_headers_valid_first",
            "two `Stripe-Signature` headers, only the first valid",
            with_headers(&valid, "t=0"),
        )
        .accepted("done")
        .note("only the first header counts"),
        row("spaces", "spaces around the items", with_header(valid.replace(',', " , ")))
            .accepted("done")
            .note("a proxy may add them"),
        row(
            "unknown_scheme",
            "an unknown scheme after a valid `v1`",
            with_header(valid + ",v9=abc,beta"),
        )
        .accepted("done"),
    ]
}

fn timestamps() -> Vec<Row> {
    let v1 = format!("v1={}", mac());
    let unreadable = |name, description, t: &str| {
        refused(name, description, E::UnreadableTimestamp, format!("t={t},{v1}"))
    };
    vec![
        refused("t_missing", "no `t`", E::NoTimestamp, &v1),
        unreadable("t_empty", "`t` empty", ""),
        unreadable("t_not_a_number", "`t` not a number", "2023-11-14"),
        unreadable("t_negative", "`t` negative", "-1700000000"),
        unreadable("t_in_milliseconds", "`t` in milliseconds", "1700000000000")
            .note("not from Stripe, which uses seconds"),
        unreadable("t_after_9999", "`t` beyond the year 9999", "253402300800"),
        unreadable("t_30_digits", "`t` with 30 digits", "170000000000000000000000000000"),
        refused("t_twice", "`t` twice", E::RepeatedTimestamp, format!("t={NOW},t={NOW},{v1}"))
            .note("the official libraries disagree on which one counts"),
        refused(
            "t_changed",
            "`t` changed by one second, `v1` unchanged",
            NO_MATCH,
            format!("t={},{v1}", NOW + 1),
        )
        .note("a replay with a new timestamp"),
    ]
}

fn signatures() -> Vec<Row> {
    let (mac, t) = (mac(), format!("t={NOW}"));
    let unreadable = |name, description, v1: &str| {
        refused(name, description, E::UnreadableSignature, format!("{t},v1={v1}"))
    };
    vec![
        refused("v1_missing", "no `v1`", E::NoSignature, &t),
        refused(
            "v0_only",
            "only `v0`, with the value of a valid `v1`",
            E::NoSignature,
            format!("{t},v0={mac}"),
        )
        .note("only `v1` proves authenticity"),
        unreadable("v1_empty", "`v1` empty", ""),
        unreadable("v1_cut", "`v1` one digit too short", &mac[1..]),
        unreadable("v1_too_long", "`v1` one digit too long", &format!("{mac}0")),
        unreadable("v1_upper_case", "`v1` in upper case", &mac.to_uppercase())
            .note("Stripe and its libraries use lower case"),
        unreadable("v1_base64", "`v1` in Base64", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="),
        refused("v1_zero", "`v1` of 64 zeros", NO_MATCH, format!("{t},v1={}", "0".repeat(64)))
            .note("a guessed signature"),
        row(
            "v1_several",
            "two unreadable `v1` and a valid one",
            with_header(format!("{t},v1=,v1=abc,v1={mac}")),
        )
        .accepted("done")
        .note("while a secret is being rolled, Stripe sends one `v1` per secret"),
    ]
}

fn secrets() -> Vec<Row> {
    let signed_with = |secret: &str| {
        let secret = SigningSecret::new(secret).expect("the secret is valid");
        sign(&secret, NOW, paid().as_bytes())
    };
    let no_prefix = SECRET.strip_prefix("whsec_").expect("the secret has the prefix");
    vec![
        refused(
            "another_secret",
            "signed with the secret of another endpoint or mode",
            NO_MATCH,
            signed_with("whsec_live"),
        )
        .note("the most common mistake; compare the secret with the endpoint's in the dashboard"),
        refused(
            "secret_without_prefix",
            "signed with the secret without its `whsec_` prefix",
            NO_MATCH,
            signed_with(no_prefix),
        )
        .note("not from Stripe; the key is the secret with its prefix"),
    ]
}

pub(crate) fn age() -> Group {
    let signed_at = |seconds: u64| with_header(sign(&secret(), seconds, paid().as_bytes()));
    let old = |name, description, seconds| {
        row(name, description, signed_at(seconds)).unverified(&variant_name(TOO_OLD))
    };
    let rows = vec![
        row("age_300", "signed exactly 300 s ago", signed_at(NOW - 300)).accepted("done"),
        old("age_301", "signed 301 s ago", NOW - 301)
            .note("replayed or delayed, or this machine's clock is ahead; `Endpoint::tolerance` sets the limit"),
        old("age_one_day", "an unchanged request from the day before", NOW - 86_400)
            .note("a replay; to resend an event, use the dashboard, which signs it again"),
        old("age_since_epoch", "`t=0`, correctly signed", 0),
        row("ahead_1", "signed 1 s in the future", signed_at(NOW + 1)).accepted("done"),
        row("ahead_10_min", "signed 10 min in the future", signed_at(NOW + 600))
            .accepted("done")
            .log(Level::WARN)
            .note("this machine's clock is behind; synchronize it"),
        row("ahead_limited", "signed 61 s in the future with a limit of 60 s", signed_at(NOW + 61))
            .to(limits_clock_skew)
            .unverified(&variant_name(TOO_FAR_AHEAD)),
    ];
    Group {
        title: "Signature age",
        file: "tests/tests/documents/bad_input/signature.rs",
        intro: "The age is checked before the body is read, and the signature after it.",
        rows,
    }
}
