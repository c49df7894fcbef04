//! The `Stripe-Signature` header, and the signature's age.

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use router_core::{
    SigningSecret,
    signature::{SignatureError as E, sign},
};
use router_tests::{NOW, SECRET, payload, secret, signature};
use tracing::Level;

use crate::{
    endpoints::at_most_60_s_ahead,
    exchange::post,
    row::{Group, Row, name_of, post_with, row},
};

/// Errors whose values are of no interest here.
const NO_MATCH: E = E::NoMatch { secrets: 1, signatures: 1, body_bytes: 0 };
const TOO_OLD: E = E::TooOld { signed_at: 0, now: 301, limit: 300 };
const TOO_FAR_AHEAD: E = E::TooFarAhead { signed_at: 61, now: 0, limit: 60 };

pub(crate) fn header() -> Group {
    Group {
        title: "Signature header",
        file: "tests/tests/bad_input/signature.rs",
        intro: "Over a good event. `tests/vectors/signature.txt` has more, with the official \
                libraries' verdicts.",
        rows: [absent(), timestamps(), signatures(), secrets()].into_iter().flatten().collect(),
    }
}

fn paid() -> String {
    payload("invoice.paid")
}

/// The good header's `v1`, in hexadecimal digits.
fn mac() -> String {
    signature(paid().as_bytes()).split_once("v1=").expect("it has one").1.to_owned()
}

fn with(header: impl AsRef<[u8]>) -> Request<Full<Bytes>> {
    post_with(header, paid())
}

fn two(first: &str, second: &str) -> Request<Full<Bytes>> {
    let mut request = with(first);
    let second = HeaderValue::from_str(second).expect("it can be a header");
    request.headers_mut().append("stripe-signature", second);
    request
}

fn renamed(name: &'static str) -> Request<Full<Bytes>> {
    let mut request = post(paid());
    let value = request.headers_mut().remove("stripe-signature").expect("it is there");
    request.headers_mut().insert(name, value);
    request
}

fn refused(name: &'static str, input: &'static str, error: E, header: impl AsRef<[u8]>) -> Row {
    row(name, input, with(header)).unsigned(&name_of(error))
}

fn absent() -> Vec<Row> {
    let good = signature(paid().as_bytes());
    vec![
        row("no_header", "no `Stripe-Signature` header", renamed("x-nothing"))
            .unsigned(&name_of(E::MissingHeader))
            .note("not from Stripe, or a proxy drops the header"),
        row("header_renamed", "`X-Stripe-Signature` in its place", renamed("x-stripe-signature"))
            .unsigned(&name_of(E::MissingHeader))
            .note("a gateway renames the header: let it pass as it is"),
        refused("header_empty", "an empty header", E::UnreadableHeader, ""),
        refused("header_of_words", "`nonsense`", E::UnreadableHeader, "nonsense"),
        refused(
            "header_not_ascii",
            "bytes that are not ASCII",
            E::UnreadableTimestamp,
            b"t=\xff,v1=\xff",
        ),
        refused(
            "header_of_github",
            "`sha256=…`, as GitHub signs",
            E::NoTimestamp,
            format!("sha256={}", mac()),
        )
        .note("another service was given this address"),
        refused(
            "header_in_quotes",
            "quotes around the whole value",
            E::NoTimestamp,
            format!("\"{good}\""),
        ),
        refused(
            "header_with_semicolons",
            "`t=…;v1=…`",
            E::UnreadableTimestamp,
            good.replace(',', ";"),
        ),
        row(
            "two_headers_bad_first",
            "two `Stripe-Signature` headers, the second of them good",
            two(&good.replace("v1=", "v1=0"), &good),
        )
        .unsigned(&name_of(E::UnreadableSignature))
        .note("only the first one counts; Stripe sends one"),
        row(
            "two_headers_good_first",
            "two `Stripe-Signature` headers, the first of them good",
            two(&good, "t=0"),
        )
        .accepted("done")
        .note("only the first one counts"),
        row("spaces", "spaces around the items", with(good.replace(',', " , ")))
            .accepted("done")
            .note("a proxy may put them there"),
        row(
            "unknown_scheme",
            "a scheme that nobody knows yet beside a good `v1`",
            with(good + ",v9=abc,beta"),
        )
        .accepted("done"),
    ]
}

fn timestamps() -> Vec<Row> {
    let v1 = format!("v1={}", mac());
    let unreadable =
        |name, input, t: &str| refused(name, input, E::UnreadableTimestamp, format!("t={t},{v1}"));
    vec![
        refused("t_missing", "no `t`", E::NoTimestamp, &v1),
        unreadable("t_empty", "`t` empty", ""),
        unreadable("t_not_a_number", "`t` not a number", "2023-11-14"),
        unreadable("t_negative", "`t` negative", "-1700000000"),
        unreadable("t_in_milliseconds", "`t` in milliseconds", "1700000000000")
            .note("a sender of your own: Stripe counts seconds"),
        unreadable("t_after_9999", "`t` beyond the year 9999", "253402300800"),
        unreadable("t_of_30_digits", "`t` of 30 digits", "170000000000000000000000000000"),
        refused("t_twice", "`t` twice", E::RepeatedTimestamp, format!("t={NOW},t={NOW},{v1}"))
            .note("the official libraries disagree on which one counts"),
        refused(
            "t_changed",
            "`t` moved by a second, `v1` kept",
            NO_MATCH,
            format!("t={},{v1}", NOW + 1),
        )
        .note("a replay under a new time"),
    ]
}

fn signatures() -> Vec<Row> {
    let (mac, t) = (mac(), format!("t={NOW}"));
    let unreadable = |name, input, v1: &str| {
        refused(name, input, E::UnreadableSignature, format!("{t},v1={v1}"))
    };
    vec![
        refused("v1_missing", "no `v1`", E::NoSignature, &t),
        refused(
            "v0_only",
            "`v0` only, its value the good one",
            E::NoSignature,
            format!("{t},v0={mac}"),
        )
        .note("other schemes prove nothing"),
        unreadable("v1_empty", "`v1` empty", ""),
        unreadable("v1_cut", "`v1` cut short by a digit", &mac[1..]),
        unreadable("v1_too_long", "`v1` with a digit more", &format!("{mac}0")),
        unreadable("v1_upper_case", "`v1` in upper case", &mac.to_uppercase())
            .note("Stripe and its libraries use lower case"),
        unreadable("v1_base64", "`v1` in Base64", "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="),
        refused("v1_zero", "`v1` of 64 zeros", NO_MATCH, format!("{t},v1={}", "0".repeat(64)))
            .note("a guess"),
        row(
            "v1_several",
            "two unreadable `v1` and a good one",
            with(format!("{t},v1=,v1=abc,v1={mac}")),
        )
        .accepted("done")
        .note("while a secret is rolled Stripe sends one `v1` for each"),
    ]
}

fn secrets() -> Vec<Row> {
    let signed_with = |secret: &str| {
        let secret = SigningSecret::new(secret).expect("it is a secret");
        sign(&secret, NOW, paid().as_bytes())
    };
    let no_prefix = SECRET.strip_prefix("whsec_").expect("it has one");
    vec![
        refused(
            "another_secret",
            "signed with another endpoint's or mode's secret",
            NO_MATCH,
            signed_with("whsec_live"),
        )
        .note(
            "the likeliest mistake: compare the secret with that of this endpoint in the dashboard",
        ),
        refused(
            "secret_without_prefix",
            "signed with the secret without its `whsec_`",
            NO_MATCH,
            signed_with(no_prefix),
        )
        .note("a sender of your own: the whole text is the key"),
    ]
}

pub(crate) fn age() -> Group {
    let at = |seconds: u64| with(sign(&secret(), seconds, paid().as_bytes()));
    let old = |name, input, seconds| row(name, input, at(seconds)).unsigned(&name_of(TOO_OLD));
    let rows = vec![
        row("age_300", "signed exactly 300 s ago", at(NOW - 300)).accepted("done"),
        old("age_301", "signed 301 s ago", NOW - 301)
            .note("replayed, held up, or our clock is ahead; `Endpoint::tolerance` sets the limit"),
        old("age_a_day", "yesterday's request, byte for byte", NOW - 86_400)
            .note("a replay; to resend an event, use the dashboard, which signs it anew"),
        old("age_since_1970", "`t=0`, and signed so", 0),
        row("ahead_1", "signed 1 s in our future", at(NOW + 1)).accepted("done"),
        row("ahead_10_min", "signed 10 min in our future", at(NOW + 600))
            .accepted("done")
            .log(Level::WARN)
            .note("this machine's clock lags: set it"),
        row("ahead_limited", "signed 61 s in our future, where 60 s are allowed", at(NOW + 61))
            .to(at_most_60_s_ahead)
            .unsigned(&name_of(TOO_FAR_AHEAD)),
    ];
    Group {
        title: "Signature age",
        file: "tests/tests/bad_input/signature.rs",
        intro: "Judged only once the signature is known to be good.",
        rows,
    }
}
