//! Options for the server that events are sent to, and for the signing secret.

use clap::Args;
use router_core::{Secrets, SigningSecret, signature::EndpointName};

use crate::error::Error;

/// Options for the server.
#[derive(Args)]
#[command(next_help_heading = "Server options")]
pub(crate) struct Target {
    /// URL of the server's webhook endpoint.
    // The URL may contain a password.
    #[arg(
        long,
        env = "EVENT_ROUTER_TO",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:4242/webhook"
    )]
    pub(crate) to: String,

    #[command(flatten)]
    pub(crate) secret: SecretOptions,

    /// Timeout for each answer, as in `40s`.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "40s",
        value_parser = humantime::parse_duration
    )]
    pub(crate) timeout: std::time::Duration,
}

/// Options for the signing secret.
#[derive(Args)]
pub(crate) struct SecretOptions {
    /// Signing secret of the endpoint (`whsec_…`), or a list of them by endpoint
    /// (`platform=whsec_…,connect=whsec_…`).
    ///
    /// Prefer the environment variable: other users of this machine can see command lines. Without
    /// a secret, your development secret is used; a server started by `cargo run` without a secret
    /// uses the same one.
    // A `String`, not `Secrets`: if parsing fails, clap prints the value.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    secret: Option<String>,

    /// Endpoint whose secret to use if several are given; the first by default.
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
}

impl SecretOptions {
    /// Returns the secret to sign with, and `true` if it was given, `false` if it is the
    /// development secret.
    pub(crate) fn resolve(&self) -> Result<(SigningSecret, bool), Error> {
        self.resolve_for(self.endpoint.as_deref())
    }

    /// Like [`resolve`](Self::resolve), but for this endpoint instead of that of `--endpoint`.
    pub(crate) fn resolve_for(
        &self,
        endpoint: Option<&str>,
    ) -> Result<(SigningSecret, bool), Error> {
        let Some(text) = &self.secret else {
            let secret = SigningSecret::development();
            return secret
                .map(|secret| (secret, false))
                .map_err(|error| Error::Usage(error.to_string()));
        };
        let secrets = Secrets::parse(text)
            .map_err(|error| Error::Usage(format!("STRIPE_WEBHOOK_SECRET or --secret: {error}")))?;
        let is_selected = |secret: &&SigningSecret| match endpoint {
            None => true,
            Some(selected) => secret.endpoints().any(|name| name.as_str() == selected),
        };
        let names = || secrets.endpoints().map(EndpointName::as_str);
        secrets.iter().find(is_selected).cloned().map(|secret| (secret, true)).ok_or_else(|| {
            Error::Usage(format!(
                "no signing secret for endpoint `{}`; secrets are given for: {}",
                endpoint.unwrap_or_default(),
                names().collect::<Vec<_>>().join(", ")
            ))
        })
    }
}
