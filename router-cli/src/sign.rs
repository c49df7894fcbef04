//! `sign`: the header for a body.

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
    target::Secret,
};

/// Print the `Stripe-Signature` header for a body
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router sample invoice.paid > event.json
  event-router sign event.json
  eval \"$(event-router sign event.json --curl http://127.0.0.1:4242/webhook)\"

With --json: {\"header\", \"timestamp\"}.")]
pub(crate) struct Sign {
    /// The file with the body; `-` is standard input.
    #[arg(default_value = "-")]
    file: String,

    /// When it is signed, in seconds since the Unix epoch; now by default.
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,

    /// Print the `curl` command that sends it to this address.
    #[arg(long, value_name = "URL")]
    curl: Option<String>,

    #[command(flatten)]
    secret: Secret,
}

impl Sign {
    pub(crate) fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let (secret, _) = self.secret.read()?;
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
        Ok(Exit::Done)
    }
}

/// What is in a file, or comes on standard input.
pub(crate) fn read(file: &str, output: &mut Output) -> Result<Vec<u8>, Error> {
    if file == "-" && io::stdin().is_terminal() {
        output.note("waiting for what you type or paste; Ctrl-D on a line of its own ends it");
    }
    let mut bytes = Vec::new();
    let read = match file {
        "-" => io::stdin().read_to_end(&mut bytes).map(|_| bytes),
        file => fs::read(Path::new(file)),
    };
    read.map_err(|error| match file {
        "-" => Error::Usage(format!("standard input cannot be read: {error}")),
        file => Error::Usage(format!("{file} cannot be read: {error}")),
    })
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
