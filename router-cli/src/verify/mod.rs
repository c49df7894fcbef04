//! `verify`: verifies a signature, and explains why it is invalid.

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use router_core::{
    clock::{Clock as _, SystemClock},
    signature::Tolerance,
};
use serde_json::{Value, json};

use crate::{
    diagnosis::{Diagnosis, EventFacts, Inputs, SecretInput, Verified},
    error::{Error, Exit},
    output::{FAILURE, Output, SUCCESS, styled},
    sign::read,
};

/// Verify a signature, and explain why it is invalid
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router verify --header \"$SIGNATURE\" --body body.json
  event-router verify --header 't=1700000000,v1=5257a8…' --secret whsec_… < body.json
  event-router verify --secret platform=whsec_…,connect=whsec_… --header … --body -

Pass the header and the body exactly as your server receives them. If the signature is invalid,
common alterations are tried: a body that was parsed and serialized again, quotation marks around
the secret, and so on.

With --json, prints one object: {\"verified\", \"cause\", \"said\", \"help\", …}.")]
pub(crate) struct VerifyArgs {
    /// Value of the `Stripe-Signature` header.
    #[arg(long)]
    header: String,

    /// File with the request body; `-` reads standard input.
    #[arg(long, default_value = "-", value_name = "FILE")]
    body: String,

    /// Signing secret (`whsec_…` or `NAME=whsec_…`), or a comma-separated list. Repeatable.
    ///
    /// Prefer the environment variable: other users of this machine can see command lines.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true, required = true)]
    secret: Vec<String>,

    /// Maximum age of the signature in seconds, or `none` for no limit.
    #[arg(long, default_value = "300", value_parser = parse_tolerance, value_name = "SECONDS")]
    tolerance: Tolerance,

    /// Time of the verification, in seconds since the Unix epoch; the current time by default.
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,
}

fn parse_tolerance(text: &str) -> Result<Tolerance, String> {
    if text == "none" {
        return Ok(Tolerance::without_age_check());
    }
    let seconds =
        text.parse().map_err(|_| "expected a number of seconds, as in `300`, or `none`")?;
    Tolerance::new(Duration::from_secs(seconds)).map_err(|_| {
        "less than a second would reject Stripe's requests; use `none` for no limit".into()
    })
}

impl VerifyArgs {
    pub(crate) fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let now = SystemClock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let inputs = Inputs {
            header: self.header,
            body: read(&self.body, output)?.into(),
            secrets: self.secret.iter().flat_map(|list| SecretInput::parse_list(list)).collect(),
            tolerance: self.tolerance,
            now: self.now.unwrap_or(now),
        };
        let diagnosis = inputs.diagnose();
        let is_valid = matches!(diagnosis, Diagnosis::Verified { .. });
        if output.json {
            output.json(&diagnosis.json())?;
        } else {
            let style = if is_valid { SUCCESS } else { FAILURE };
            output.line(styled(style, diagnosis.summary()))?;
            for line in diagnosis.help().lines() {
                output.line(format_args!("  {line}").to_string().trim_end())?;
            }
        }
        Ok(if is_valid { Exit::Success } else { Exit::Failure })
    }
}

impl Diagnosis {
    fn json(&self) -> Value {
        let mut json = json!({
            "verified": matches!(self, Self::Verified { .. }),
            "cause": self.cause(),
            "said": self.summary(),
            "help": self.help(),
        });
        if let Self::Verified { matching, .. } = self {
            json["secrets"] = matching.clone().into();
        }
        if let Some(Verified { endpoint, signed_at, now }) = self.verified() {
            json["endpoint"] = endpoint.as_str().into();
            json["signed_at"] = (*signed_at).into();
            json["age"] =
                (i128::from(*now) - i128::from(*signed_at)).to_string().parse().unwrap_or_default();
        }
        json
    }

    fn verified(&self) -> Option<&Verified> {
        match self {
            Self::Verified { verified, .. }
            | Self::TooOld { verified, .. }
            | Self::HeaderAltered { verified, .. }
            | Self::SecretAltered { verified, .. }
            | Self::BodyAltered { verified, .. }
            | Self::BodyReserialized { verified, .. } => Some(verified),
            _ => None,
        }
    }

    /// Returns a stable identifier of the cause, for the JSON output.
    fn cause(&self) -> Option<&'static str> {
        Some(match self {
            Self::Verified { .. } => return None,
            Self::TooOld { .. } => "too_old",
            Self::EmptyBody => "empty_body",
            Self::MalformedHeader(_) => "header_unreadable",
            Self::HeaderAltered { .. } => "header_changed",
            Self::InvalidSecret { .. } => "no_secret",
            Self::SecretAltered { .. } => "secret_changed",
            Self::BodyAltered { .. } => "body_touched",
            Self::BodyReserialized { .. } => "body_rewritten",
            Self::Mismatch { .. } => "mismatch",
        })
    }

    /// Describes the result in a sentence.
    fn summary(&self) -> String {
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
                "The header was altered: {alteration}. Otherwise the signature is valid, signed {}.",
                age(verified)
            ),
            Self::InvalidSecret { endpoint, error } => {
                format!(
                    "The value given for endpoint `{endpoint}` is not a signing secret: {error}."
                )
            }
            Self::SecretAltered { alteration, verified } => format!(
                "The secret of endpoint `{}` was altered: {alteration}. Otherwise the signature is valid, \
                 signed {}.",
                verified.endpoint,
                age(verified)
            ),
            Self::BodyAltered { alteration, verified } => format!(
                "The body was altered: {alteration}. Otherwise the signature is valid, signed {}.",
                age(verified)
            ),
            Self::BodyReserialized { signed_layout, verified } => format!(
                "The body was parsed and serialized again: Stripe signed the same JSON in another layout \
                 ({signed_layout}), {}.",
                age(verified)
            ),
            Self::Mismatch { endpoints, .. } => format!(
                "The signature does not match this body with {}.",
                match &endpoints[..] {
                    [_] => "this secret".to_owned(),
                    several =>
                        format!("any of these {} secrets ({})", several.len(), several.join(", ")),
                }
            ),
        }
    }

    /// Describes the next steps.
    fn help(&self) -> String {
        match self {
            Self::Verified { .. } => String::new(),
            Self::TooOld { .. } => "If the request has just arrived, this machine's clock is ahead: set it. \
                                    If the request was queued or\nrecorded, verify it on arrival, or pass \
                                    --tolerance none."
                .to_owned(),
            Self::EmptyBody => {
                format!("Something has consumed the body before the verification.\n{RAW_BODY}")
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
            Self::BodyAltered { .. } | Self::BodyReserialized { .. } => RAW_BODY.to_owned(),
            Self::Mismatch { event, .. } => mismatch_help(event.as_ref()),
        }
    }
}

/// Access to the raw body in common frameworks.
const RAW_BODY: &str = "\
Verify the raw bytes of the request, before anything parses them:
  Express        express.raw({type: 'application/json'}) on this route, before express.json()
  Next.js        await request.text() in a route handler; in pages/api: bodyParser: false
  Flask          request.get_data()
  Django         request.body
  FastAPI        await request.body()
  Rails          request.raw_post
  Laravel        $request->getContent()
  Spring         @RequestBody byte[] or String
  Go             io.ReadAll(r.Body)
  axum           Bytes, not Json
  API Gateway    the body as it is, decoded first if isBase64Encoded; no mapping template";

fn mismatch_help(event: Option<&EventFacts>) -> String {
    let mut causes = Vec::new();
    match event {
        None => causes.push(
            "the body is not a Stripe event: is it the complete body of the request?".to_owned(),
        ),
        Some(EventFacts { livemode, is_thin, is_connect }) => {
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
        "Added white space and quotation marks, and other JSON layouts, were ruled out. Possible causes:\n{}",
        causes.join("\n")
    )
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
