//! `sign`: prints the signature header for a request body.

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _},
    path::Path,
    time::UNIX_EPOCH,
};

use clap::Args;
use router_core::{
    clock::{Clock as _, SystemClock},
    signature::sign,
};
use serde_json::json;

use crate::{
    error::{Error, Exit},
    output::Output,
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
    /// File with the request body; `-` reads standard input.
    #[arg(default_value = "-")]
    file: String,

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
        let body = read(&self.file, output)?;
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
                quoted(&format!("@{}", self.file))
            ))?,
        }
        Ok(Exit::Success)
    }
}

/// Reads a file, or standard input if its name is `-`.
pub(crate) fn read(file: &str, output: &mut Output) -> Result<Vec<u8>, Error> {
    if file == "-" && io::stdin().is_terminal() {
        output.note("reading standard input; end it with Ctrl-D on an empty line");
    }
    let mut bytes = Vec::new();
    let read = match file {
        "-" => io::stdin().read_to_end(&mut bytes).map(|_| bytes),
        file => fs::read(Path::new(file)),
    };
    read.map_err(|error| match file {
        "-" => Error::Usage(format!("cannot read standard input: {error}")),
        file => Error::Usage(format!("cannot read {file}: {error}")),
    })
}

/// Quotes text as one word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
