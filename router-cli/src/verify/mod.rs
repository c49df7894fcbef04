//! `verify`: verifies a signature, and explains why it is invalid.

mod explain;

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use router_core::{
    clock::{Clock as _, SystemClock},
    signature::Tolerance,
};
use serde_json::{Value, json};

use crate::{
    body_file::BodyFile,
    diagnosis::{Diagnosis, Inputs, SecretInput, UnmatchedBody, Verified},
    error::{Error, Exit},
    output::{FAILURE, Output, SUCCESS, styled},
};

/// Verify a signature, and explain why it is invalid
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router verify body.json --header \"$SIGNATURE\"
  event-router verify --header 't=1700000000,v1=5257a8…' --secret whsec_… < body.json
  event-router verify --secret platform=whsec_…,connect=whsec_… --header … -

Pass the header and the body exactly as your server receives them. If the signature is invalid,
common alterations are tried: a body that was parsed and serialized again, compressed, encoded in
base64 or put into an API gateway's event, quotation marks around the secret, and so on.

With --json, prints one object: {\"verified\", \"cause\", \"said\", \"help\", …}.")]
pub(crate) struct VerifyArgs {
    /// Value of the `Stripe-Signature` header.
    #[arg(long)]
    header: String,

    #[command(flatten)]
    body: BodyFile,

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
            body: self.body.read(output)?.into(),
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
            Self::Mismatch { body: UnmatchedBody::Altered { .. }, .. } => "body_touched",
            Self::Mismatch { body: UnmatchedBody::Unreadable(_), .. } => "body_unreadable",
            Self::Mismatch { .. } => "mismatch",
        })
    }
}
