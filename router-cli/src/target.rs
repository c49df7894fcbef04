//! Where events are sent, and with which secret they are signed.

use clap::Args;
use router_core::{Secrets, SigningSecret, signature::EndpointName};

use crate::error::Error;

/// The server, and the secret that it shares with us.
#[derive(Args)]
#[command(next_help_heading = "The server")]
pub(crate) struct Target {
    /// The server's webhook endpoint.
    #[arg(
        long,
        env = "EVENT_ROUTER_TO",
        value_name = "URL",
        default_value = "http://127.0.0.1:4242/webhook"
    )]
    pub(crate) to: String,

    #[command(flatten)]
    pub(crate) secret: Secret,

    /// How long to wait for an answer, as in `40s`.
    #[arg(long, default_value = "40s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: std::time::Duration,
}

/// The secret to sign with.
#[derive(Args)]
pub(crate) struct Secret {
    /// The endpoint's signing secret, `whsec_…`; a list as in `platform=whsec_…,connect=whsec_…` is fine.
    ///
    /// Prefer the environment: other users of the machine can see a command line. Without one, your
    /// development secret is used, which a `cargo run` without a secret uses too.
    // Text rather than `Secrets`, because clap prints a value that does not parse.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    secret: Option<String>,

    /// The endpoint whose secret to take, where several are given.
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
}

impl Secret {
    /// The secret to sign with, and whether it was given.
    pub(crate) fn read(&self) -> Result<(SigningSecret, bool), Error> {
        let Some(text) = &self.secret else {
            let secret = SigningSecret::development();
            return secret
                .map(|secret| (secret, false))
                .map_err(|error| Error::Usage(error.to_string()));
        };
        let secrets = Secrets::parse(text)
            .map_err(|error| Error::Usage(format!("STRIPE_WEBHOOK_SECRET or --secret: {error}")))?;
        let is_it = |secret: &&SigningSecret| match &self.endpoint {
            None => true,
            Some(name) => secret.endpoint().as_str() == name,
        };
        let names = || secrets.iter().map(SigningSecret::endpoint).map(EndpointName::as_str);
        secrets.iter().find(is_it).cloned().map(|secret| (secret, true)).ok_or_else(|| {
            Error::Usage(format!(
                "no secret is given for the endpoint `{}`, but for: {}",
                self.endpoint.as_deref().unwrap_or_default(),
                names().collect::<Vec<_>>().join(", ")
            ))
        })
    }
}
