//! The command line.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use router_core::{Secrets, Tolerance, signature::SecretError};

/// Receives Stripe webhooks at `POST /webhook` and runs the handlers of the `handlers` crate.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "RUST_LOG sets what is logged, as in `RUST_LOG=debug`."
)]
pub(crate) struct Options {
    /// The address to listen on.
    #[arg(long, env, default_value = "127.0.0.1:4242")]
    pub(crate) listen: SocketAddr,

    /// The endpoint's signing secret, `whsec_…`.
    ///
    /// Several are separated by commas and can be named: `platform=whsec_…,connect=whsec_…`; a
    /// secret that is being rolled is written `whsec_new|whsec_old`. Prefer the environment: other
    /// users of the machine can see a command line. Without one, your development secret is used,
    /// which `event-router send` knows too, and only loopback addresses are listened on.
    // Text rather than `Secrets`, because clap prints a value that does not parse.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,

    /// How old a signature may be: seconds, or as in `5m`.
    #[arg(long, env, default_value = "300", value_parser = tolerance)]
    pub(crate) tolerance: Tolerance,

    /// Where events are stored before Stripe is answered: `sqlite:FILE`, `postgres://…`, `nats://…`, or `off`.
    ///
    /// A file is for one machine, `postgres://user:password@host:5432/database` and, in NATS JetStream,
    /// `nats://user:password@host:4222` for several; `nats://…` takes the servers of a cluster separated by commas, and a
    /// name for the inbox after a `/`. Prefer the environment for a password: other users of the machine can see a
    /// command line.
    ///
    /// A handler that fails is then tried again from there, for three days; `event-router inbox` shows what is
    /// there. With `off`, Stripe waits for the handlers, and is told to send the event again if one fails.
    // Text, because clap prints a value that does not parse, and a database's URL can hold a password.
    #[arg(
        long,
        env = "EVENT_ROUTER_INBOX",
        hide_env_values = true,
        value_name = "URL",
        default_value = "sqlite:inbox.db"
    )]
    inbox: String,

    /// The address at which Prometheus may fetch `/metrics`; without one, nothing is counted.
    ///
    /// It is not that of the webhooks, because metrics are not for everybody who can reach those.
    #[arg(long, env, value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<SocketAddr>,
}

/// Which store events are kept in.
#[derive(Clone)]
pub(crate) enum InboxUrl {
    Off,
    Sqlite(String),
    Postgres(String),
    JetStream(String),
}

impl Options {
    /// The secrets that were given, if any were.
    pub(crate) fn secrets(&self) -> Option<Result<Secrets, SecretError>> {
        self.secret.as_deref().map(Secrets::parse)
    }

    /// Where events are kept.
    pub(crate) fn inbox(&self) -> Result<InboxUrl, &'static str> {
        match self.inbox.split_once(':') {
            None if self.inbox == "off" => Ok(InboxUrl::Off),
            Some(("sqlite", file)) if !file.is_empty() => Ok(InboxUrl::Sqlite(self.inbox.clone())),
            Some(("postgres" | "postgresql", _)) => Ok(InboxUrl::Postgres(self.inbox.clone())),
            Some(("nats" | "tls", _)) => Ok(InboxUrl::JetStream(self.inbox.clone())),
            _ => Err(
                "EVENT_ROUTER_INBOX or --inbox: write `sqlite:` and a file, as in `sqlite:inbox.db`, a database's URL, as \
                 in `postgres://user:password@localhost/shop`, that of a NATS server with JetStream, as in \
                 `nats://user:password@localhost:4222`, or `off`",
            ),
        }
    }
}

fn tolerance(text: &str) -> Result<Tolerance, String> {
    let age = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "write seconds, as in `300`, or a unit, as in `5m`")?,
    };
    let too_short = "less than a second would refuse what Stripe sends; the usual is 300";
    Tolerance::new(age).map_err(|_| too_short.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_never_shows_the_secret() {
        use clap::CommandFactory as _;

        let secret = Options::command().get_arguments().find(|a| a.get_id() == "secret").cloned();
        assert!(secret.is_some_and(|secret| secret.is_hide_env_values_set()));
    }

    #[test]
    fn a_tolerance_is_seconds_or_has_a_unit() {
        assert_eq!(tolerance("300"), Ok(Tolerance::default()));
        assert_eq!(tolerance("5m"), tolerance("300"));
        assert!(tolerance("0").is_err());
        assert!(tolerance("-1").is_err());
        assert!(tolerance("soon").is_err());
    }
}
