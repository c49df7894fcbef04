//! The texts of a diagnosis, for the user.

use std::time::Duration;

use crate::diagnosis::{Alteration, Diagnosis, EventFacts, RAW_BODY, UnmatchedBody, Verified};

impl Diagnosis {
    /// Describes the result in a sentence.
    pub(super) fn summary(&self) -> String {
        match self {
            Self::Verified { verified, matching, secrets, other_endpoints } => {
                let secret = match secrets {
                    ..2 => String::new(),
                    _ => format!(", made with secret {} of {secrets}", list(matching)),
                };
                let others = match &other_endpoints[..] {
                    [] => String::new(),
                    others => format!(" (not for {})", others.join(", ")),
                };
                let (endpoint, age) = (&verified.endpoint, age(verified));
                format!(
                    "The signature is valid for endpoint `{endpoint}`{secret}{others}, signed {age}."
                )
            }
            Self::TooOld { verified, limit } => format!(
                "The signature is authentic but too old: it was made {}, and the tolerance is {limit} s.",
                age(verified)
            ),
            Self::EmptyBody => "The body is empty.".to_owned(),
            Self::MalformedHeader(error) => {
                let error = error.to_string();
                let mut letters = error.chars();
                let first = letters.next().map(char::to_uppercase);
                format!("{}{}.", first.into_iter().flatten().collect::<String>(), letters.as_str())
            }
            Self::HeaderAltered { alteration, verified } => format!(
                "The header was altered: {alteration}. Without that, the signature is valid, signed {}.",
                age(verified)
            ),
            Self::InvalidSecret { endpoint, error } => {
                format!(
                    "The value given for endpoint `{endpoint}` is not a signing secret: {error}."
                )
            }
            Self::SecretAltered { alteration, verified } => format!(
                "The secret of endpoint `{}` was altered: {alteration}. Without that, the signature is valid, \
                 signed {}.",
                verified.endpoint,
                age(verified)
            ),
            Self::BodyAltered { alterations, verified } => format!(
                "The body was altered: {}. Without that, the signature is valid, signed {}.",
                list_alterations(alterations),
                age(verified)
            ),
            Self::BodyReserialized { signed_layout, verified } => format!(
                "The body was parsed and serialized again: Stripe signed the same JSON in another layout \
                 ({signed_layout}), {}.",
                age(verified)
            ),
            Self::Mismatch { endpoints, body } => {
                let secrets = match &endpoints[..] {
                    [_] => "this secret".to_owned(),
                    several => {
                        format!("any of these {} secrets ({})", several.len(), several.join(", "))
                    }
                };
                match body {
                    UnmatchedBody::Event(_) | UnmatchedBody::NoEvent => {
                        format!("The signature does not match this body with {secrets}.")
                    }
                    UnmatchedBody::Altered { alterations, .. } => format!(
                        "The body was altered: {}. The signature does not match the original body \
                         with {secrets} either.",
                        list_alterations(alterations)
                    ),
                    UnmatchedBody::Unreadable(unreadable) => {
                        format!("The body is not JSON, and Stripe sends JSON: {}.", unreadable.text)
                    }
                }
            }
        }
    }

    /// Describes the next steps.
    pub(super) fn help(&self) -> String {
        match self {
            Self::Verified { .. } => String::new(),
            Self::TooOld { .. } => "If the request has just arrived, this machine's clock is ahead: set it. \
                                    If the request was queued or\nrecorded, verify it on arrival, or pass \
                                    --tolerance none."
                .to_owned(),
            Self::EmptyBody => {
                format!("Middleware or another handler has read the body before the verification.\n{RAW_BODY}")
            }
            Self::MalformedHeader(_) => {
                "Pass the header's complete value, unchanged: `t=…,v1=…`.".to_owned()
            }
            Self::HeaderAltered { .. } => {
                "Pass the value of `Stripe-Signature` to the verification unchanged.".to_owned()
            }
            Self::InvalidSecret { .. } => {
                "Stripe's dashboard shows the signing secret with the endpoint, under Developers, Webhooks."
                    .to_owned()
            }
            Self::SecretAltered { .. } => {
                "Set the secret to exactly the text in Stripe's dashboard, and check how it gets into the \
                 environment."
                    .to_owned()
            }
            Self::BodyAltered { alterations, .. } => remedies(alterations),
            Self::BodyReserialized { .. } => RAW_BODY.to_owned(),
            Self::Mismatch { body, .. } => match body {
                UnmatchedBody::Event(event) => mismatch_help(Some(event)),
                UnmatchedBody::NoEvent => mismatch_help(None),
                UnmatchedBody::Altered { alterations, event } => {
                    format!("{}\n{}", remedies(alterations), mismatch_help(Some(event)))
                }
                UnmatchedBody::Unreadable(unreadable) => format!(
                    "{}\nThe secret cannot be checked without the body that Stripe signed.",
                    unreadable.remedy
                ),
            },
        }
    }
}

fn mismatch_help(event: Option<&EventFacts>) -> String {
    let mut causes = Vec::new();
    match event {
        None => causes.push(
            "the body is not a Stripe event: is it the complete body of the request?".to_owned(),
        ),
        Some(EventFacts { livemode, is_thin, is_connect, has_lost_bytes }) => {
            if *has_lost_bytes {
                causes.push(
                    "the body contains U+FFFD (\u{fffd}), which replaces bytes that were not read as UTF-8"
                        .to_owned(),
                );
            }
            if let Some(livemode) = livemode {
                let mode = if *livemode { "live" } else { "test" };
                causes.push(format!(
                    "the event is from {mode} mode: is the secret that of the {mode}-mode endpoint?"
                ));
            }
            if *is_thin {
                causes.push(
                    "the event is thin: destinations of thin events have their own secrets"
                        .to_owned(),
                );
            }
            if *is_connect {
                causes.push(
                    "the event is from a connected account: Connect endpoints have their own secrets"
                        .to_owned(),
                );
            }
        }
    }
    causes.extend(
        [
            "the secret is of another endpoint, or of `stripe listen`: each has its own; compare the first letters",
            "the secret was rolled: Stripe signs with the old one for up to a day",
            "header and body are from different requests: the timestamp in the header (`t=`) is signed too",
            "more than the body's layout was changed: numbers, the encoding, a field",
        ]
        .map(str::to_owned),
    );
    let causes: Vec<String> = causes.into_iter().map(|cause| format!("- {cause}")).collect();
    format!(
        "Other JSON layouts and encodings of the body, and quotation marks, were ruled out. Possible causes:\n{}",
        causes.join("\n")
    )
}

/// Joins clauses: `a, b, and c`, in the order in which the alterations were made.
fn list_alterations(alterations: &[Alteration]) -> String {
    let texts: Vec<_> = alterations.iter().map(|alteration| &*alteration.text).collect();
    match &texts[..] {
        [first @ .., last] if !first.is_empty() => format!("{}, and {last}", first.join(", ")),
        texts => texts.concat(),
    }
}

/// Returns the remedies of alterations, the last alteration's first. The general one is left out
/// if there are others.
fn remedies(alterations: &[Alteration]) -> String {
    let mut remedies: Vec<_> = alterations.iter().rev().map(|undone| undone.remedy).collect();
    remedies.dedup();
    if remedies.iter().any(|remedy| *remedy != RAW_BODY) {
        remedies.retain(|remedy| *remedy != RAW_BODY);
    }
    remedies.join("\n")
}

/// Formats a list of numbers, as in `1 and 2`.
fn list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ")
}

fn age(Verified { signed_at, now, .. }: &Verified) -> String {
    let ago = Duration::from_secs(now.abs_diff(*signed_at));
    match now.checked_sub(*signed_at) {
        Some(0) => "just now".to_owned(),
        Some(seconds) if seconds < 60 => format!("{seconds} s ago"),
        Some(seconds) => format!("{seconds} s ago ({})", humantime::format_duration(ago)),
        None => format!(
            "{} s in the future: this machine's clock is behind, or the signer's clock is ahead",
            ago.as_secs()
        ),
    }
}
