//! `sign`: prints the signature header for a request body.

use std::time::UNIX_EPOCH;

use clap::Args;
use router_core::{
    clock::{Clock as _, SystemClock},
    signature::sign,
};
use serde_json::json;

use crate::{
    body_file::BodyFile,
    error::{Error, Exit},
    output::{Output, quoted},
    target::SecretOptions,
};

/// Print the `Stripe-Signature` header for a request body
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router sample invoice.paid > event.json
  event-router sign event.json
  eval \"$(event-router sign event.json --curl http://127.0.0.1:4242/webhook)\"

With --json, prints one object: {\"header\", \"timestamp\"}.")]
pub(crate) struct SignArgs {
    #[command(flatten)]
    body: BodyFile,

    /// Time of the signature, in seconds since the Unix epoch; the current time by default.
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,

    /// Print a `curl` command that sends the signed body to this URL.
    #[arg(long, value_name = "URL")]
    curl: Option<String>,

    #[command(flatten)]
    secret: SecretOptions,
}

impl SignArgs {
    pub(crate) fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let (secret, _) = self.secret.resolve()?;
        let body = self.body.read(output)?;
        let now = SystemClock.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let timestamp = self.at.unwrap_or(now);
        let header = sign(&secret, timestamp, &body);
        match &self.curl {
            _ if output.json => output.json(&json!({"header": header, "timestamp": timestamp}))?,
            None => output.line(header)?,
            Some(url) => output.line(format_args!(
                "curl -i {} -H 'Stripe-Signature: {header}' -H 'Content-Type: application/json' \
                 --data-binary {}",
                quoted(url),
                quoted(&format!("@{}", self.body.file))
            ))?,
        }
        Ok(Exit::Success)
    }
}
