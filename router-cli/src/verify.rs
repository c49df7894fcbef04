//! `verify`: whether a signature is right, and if not, why.

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use router_core::{
    clock::{Clock as _, SystemClock},
    signature::Tolerance,
};
use serde_json::{Value, json};

use crate::{
    diagnosis::{Diagnosis, EventFacts, Given, GivenSecret, Verified},
    error::{Error, Exit},
    output::{BAD, GOOD, Output, styled},
    sign::read,
};

/// Say whether a signature is right, and if not, why
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router verify --header \"$SIGNATURE\" --body body.json
  event-router verify --header 't=1700000000,v1=5257a8…' --secret whsec_… < body.json
  event-router verify --secret platform=whsec_…,connect=whsec_… --header … --body -

Take the header and the body as your server gets them. If the body was parsed and written anew, or the
secret is wrapped in quotation marks, it is tried what they may have been.

With --json: {\"verified\", \"cause\", \"said\", \"help\", …}.")]
pub(crate) struct Verify {
    /// The value of the `Stripe-Signature` header.
    #[arg(long)]
    header: String,

    /// The file with the request's body; `-` is standard input.
    #[arg(long, default_value = "-", value_name = "FILE")]
    body: String,

    /// A signing secret, `whsec_…`, or `NAME=whsec_…`. Can be given several times, or as a list.
    ///
    /// Prefer the environment: other users of the machine can see a command line.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true, required = true)]
    secret: Vec<String>,

    /// How old a signature may be, in seconds, or `none` for no limit.
    #[arg(long, default_value = "300", value_parser = tolerance, value_name = "SECONDS")]
    tolerance: Tolerance,

    /// The time of day, in seconds since the Unix epoch; now by default.
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,
}

fn tolerance(text: &str) -> Result<Tolerance, String> {
    if text == "none" {
        return Ok(Tolerance::without_age_check());
    }
    let seconds = text.parse().map_err(|_| "write seconds, as in `300`, or `none`")?;
    Tolerance::new(Duration::from_secs(seconds)).map_err(|_| {
        "less than a second would refuse what Stripe sends; write `none` for no limit".into()
    })
}

impl Verify {
    pub(crate) fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let now = SystemClock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let given = Given {
            header: self.header,
            body: read(&self.body, output)?.into(),
            secrets: self.secret.iter().flat_map(|list| GivenSecret::list(list)).collect(),
            tolerance: self.tolerance,
            now: self.now.unwrap_or(now),
        };
        let diagnosis = given.diagnose();
        let is_right = matches!(diagnosis, Diagnosis::Verified { .. });
        if output.json {
            output.json(&diagnosis.json())?;
        } else {
            let style = if is_right { GOOD } else { BAD };
            output.line(styled(style, diagnosis.said()))?;
            for line in diagnosis.help().lines() {
                output.line(format_args!("  {line}").to_string().trim_end())?;
            }
        }
        Ok(if is_right { Exit::Done } else { Exit::Refused })
    }
}

impl Diagnosis {
    fn json(&self) -> Value {
        let mut json = json!({
            "verified": matches!(self, Self::Verified { .. }),
            "cause": self.cause(),
            "said": self.said(),
            "help": self.help(),
        });
        if let Self::Verified { by, .. } = self {
            json["secrets"] = by.clone().into();
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
            | Self::HeaderChanged { verified, .. }
            | Self::SecretChanged { verified, .. }
            | Self::BodyTouched { verified, .. }
            | Self::BodyRewritten { verified, .. } => Some(verified),
            _ => None,
        }
    }

    /// The cause in a word, for programs.
    fn cause(&self) -> Option<&'static str> {
        Some(match self {
            Self::Verified { .. } => return None,
            Self::TooOld { .. } => "too_old",
            Self::EmptyBody => "empty_body",
            Self::Header(_) => "header_unreadable",
            Self::HeaderChanged { .. } => "header_changed",
            Self::NoSecret { .. } => "no_secret",
            Self::SecretChanged { .. } => "secret_changed",
            Self::BodyTouched { .. } => "body_touched",
            Self::BodyRewritten { .. } => "body_rewritten",
            Self::Mismatch { .. } => "mismatch",
        })
    }

    /// What is so, in a sentence.
    fn said(&self) -> String {
        match self {
            Self::Verified { verified, by, of, others } => {
                let by = match of {
                    ..2 => String::new(),
                    _ => format!(", by secret {} of {of}", numbers(by)),
                };
                let others = match &others[..] {
                    [] => String::new(),
                    others => format!(" (not of {})", others.join(", ")),
                };
                let (endpoint, age) = (&verified.endpoint, age(verified));
                format!(
                    "The signature is right: it is of the endpoint `{endpoint}`{by}{others}, signed {age}."
                )
            }
            Self::TooOld { verified, limit } => format!(
                "The signature is Stripe's, but too old: it was signed {}, and at most {limit} s are tolerated.",
                age(verified)
            ),
            Self::EmptyBody => "The body is empty.".to_owned(),
            Self::Header(error) => {
                let error = error.to_string();
                let mut letters = error.chars();
                let first = letters.next().map(char::to_uppercase);
                format!("{}{}.", first.into_iter().flatten().collect::<String>(), letters.as_str())
            }
            Self::HeaderChanged { how, verified } => format!(
                "The header is not as Stripe sent it: {how}. Apart from that, the signature is right, signed {}.",
                age(verified)
            ),
            Self::NoSecret { endpoint, error } => {
                format!(
                    "What is given as the secret of the endpoint `{endpoint}` is none: {error}."
                )
            }
            Self::SecretChanged { how, verified } => format!(
                "The secret of the endpoint `{}` is not as Stripe's dashboard shows it: {how}. Apart from that, \
                 the signature is right, signed {}.",
                verified.endpoint,
                age(verified)
            ),
            Self::BodyTouched { how, verified } => format!(
                "The body is not as Stripe sent it: {how}. Apart from that, the signature is right, signed {}.",
                age(verified)
            ),
            Self::BodyRewritten { signed, verified } => format!(
                "The body was parsed and written anew: what Stripe signed, {}, is the same JSON, {signed}.",
                age(verified)
            ),
            Self::Mismatch { endpoints, .. } => format!(
                "The signature is not of this body under {}.",
                match &endpoints[..] {
                    [_] => "this secret".to_owned(),
                    several =>
                        format!("any of these {} secrets ({})", several.len(), several.join(", ")),
                }
            ),
        }
    }

    /// What to do.
    fn help(&self) -> String {
        match self {
            Self::Verified { .. } => String::new(),
            Self::TooOld { .. } => "If it has just arrived, this machine's clock is ahead: set it. If it was held \
                                    up in a queue, or is a\nrecorded request: verify when it arrives, or pass \
                                    --tolerance none."
                .to_owned(),
            Self::EmptyBody => format!("Something has read it before.\n{RAW_BODY}"),
            Self::Header(_) => "Take the header's value as it came: `t=…,v1=…`, and all of it.".to_owned(),
            Self::HeaderChanged { .. } => "Pass the value of `Stripe-Signature` to the verification as it came.".to_owned(),
            Self::NoSecret { .. } => {
                "In the dashboard it stands at the endpoint, under Developers, Webhooks.".to_owned()
            }
            Self::SecretChanged { .. } => "Set the secret to the dashboard's text and nothing else; look at how it \
                                           gets into the environment."
                .to_owned(),
            Self::BodyTouched { .. } | Self::BodyRewritten { .. } => RAW_BODY.to_owned(),
            Self::Mismatch { event, .. } => mismatch(event.as_ref()),
        }
    }
}

/// The raw body, in the usual frameworks.
const RAW_BODY: &str = "\
Verify the bytes of the request as they came, before anything parses them:
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

fn mismatch(event: Option<&EventFacts>) -> String {
    let mut causes = Vec::new();
    match event {
        None => causes.push(
            "the body is no event of Stripe's: is it the request's body, and all of it?".to_owned(),
        ),
        Some(EventFacts { livemode, is_thin, is_connect }) => {
            if let Some(livemode) = livemode {
                let mode = if *livemode { "live" } else { "test" };
                causes.push(format!(
                    "the event is of {mode} mode: is the secret that of the {mode} mode's endpoint?"
                ));
            }
            if *is_thin {
                causes.push(
                    "the event is a thin one, whose destination has a secret of its own".to_owned(),
                );
            }
            if *is_connect {
                causes.push(
                    "the event is of a connected account: a Connect endpoint has a secret of its own".to_owned(),
                );
            }
        }
    }
    causes.extend(
        [
            "each endpoint has a secret of its own, and `stripe listen` another one: compare the first letters",
            "the secret was rolled: the old one signs for up to a day",
            "header and body are of two requests: the time in the header (`t=`) is signed too",
            "the body was changed by more than its layout: numbers, an encoding, a field",
        ]
        .map(str::to_owned),
    );
    let causes: Vec<String> = causes.into_iter().map(|cause| format!("- {cause}")).collect();
    format!(
        "White space, quotation marks and other layouts of the JSON were tried. What is left:\n{}",
        causes.join("\n")
    )
}

/// `1 and 2`.
fn numbers(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ")
}

fn age(Verified { signed_at, now, .. }: &Verified) -> String {
    let ago = Duration::from_secs(now.abs_diff(*signed_at));
    match now.checked_sub(*signed_at) {
        Some(0) => "just now".to_owned(),
        Some(seconds) if seconds < 60 => format!("{seconds} s ago"),
        Some(seconds) => format!("{seconds} s ago ({})", humantime::format_duration(ago)),
        None => format!(
            "{} s in the future: this machine's clock is behind, or the signer's ahead",
            ago.as_secs()
        ),
    }
}
