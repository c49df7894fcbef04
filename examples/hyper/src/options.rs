//! Command-line options.

use std::{error::Error, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser};
use router_core::{
    Secrets,
    handler::ErrorChain,
    signature::{SecretError, Tolerance},
};
use shop_mail::Mailer;

/// Receives Stripe webhooks at `POST /webhook` and runs the handlers of the crates in `handlers/`.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "RUST_LOG sets the log filter, for example `RUST_LOG=debug`."
)]
pub(crate) struct Options {
    /// The address to listen on.
    #[arg(long, env, default_value = "127.0.0.1:4242")]
    pub(crate) listen: SocketAddr,

    /// The endpoint's signing secret, `whsec_…`.
    ///
    /// Separate several endpoints' secrets with commas, optionally with names:
    /// `platform=whsec_…,connect=whsec_…`. While a secret is rolled, write `whsec_new|whsec_old`.
    /// For `stripe listen`, which signs the events of both with one secret, write
    /// `platform+connect=whsec_…`.
    /// Prefer the environment variable, because other users of the machine can see command lines.
    /// Without a secret, the server uses your development secret, as `event-router send` does, and
    /// listens only on loopback addresses.
    // Not parsed by clap, because clap prints values that fail to parse.
    #[arg(long, env = "STRIPE_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,

    /// The maximum age of a signature, in seconds or with a unit, such as `5m`.
    #[arg(long, env, default_value = "300", value_parser = tolerance)]
    pub(crate) tolerance: Tolerance,

    /// The store for events: `sqlite:FILE`, `postgres://…`, `nats://…`, or `off`.
    ///
    /// Events are stored before Stripe gets its answer. A SQLite file serves one machine. Several
    /// machines share `postgres://user:password@host:5432/database` or, in NATS JetStream,
    /// `nats://user:password@host:4222`. For a NATS cluster, separate the servers with commas; a
    /// path after `/` names the inbox. Prefer the environment variable for a URL with a password,
    /// because other users of the machine can see command lines.
    ///
    /// Failed handlers are retried from the store for three days; `event-router inbox` shows its
    /// contents. With `off`, Stripe waits for the handlers, and redelivers the event if one fails.
    ///
    /// The shop's handlers write to tables of their own in the SQLite file or in the PostgreSQL
    /// database. With NATS and with `off`, they are left out.
    // Not parsed by clap, because clap prints values that fail to parse, and the URL can contain a
    // password.
    #[arg(
        long,
        env = "EVENT_ROUTER_INBOX",
        hide_env_values = true,
        value_name = "URL",
        default_value = "sqlite:inbox.db"
    )]
    inbox: String,

    #[command(flatten)]
    pub(crate) mail: MailOptions,

    /// The address that serves the page `/shop` (with an inbox in SQLite or PostgreSQL), `/metrics`
    /// for Prometheus, and `/routes` for `event-router doctor`.
    ///
    /// They have their own address, so that clients of the webhook endpoint cannot read them.
    /// Choose one that only your network can reach.
    #[arg(long, env, value_name = "ADDRESS", default_value = "127.0.0.1:4243")]
    pub(crate) internal_listen: SocketAddr,
}

/// The place where the shop's mails go.
#[derive(Args)]
pub(crate) struct MailOptions {
    /// The folder for the shop's mails, one file `….eml` for each.
    #[arg(long, env, value_name = "FOLDER", default_value = "outbox")]
    outbox: PathBuf,

    /// The mail server that sends the shop's mails, `smtp://user:password@host:587` with STARTTLS
    /// or `smtps://user:password@host:465` with TLS. Without it, no mail leaves this machine.
    ///
    /// Prefer the environment variable for a URL with a password, because other users of the
    /// machine can see command lines.
    // Not parsed by clap, because clap prints values that fail to parse.
    #[arg(
        long,
        env = "SMTP_URL",
        hide_env_values = true,
        value_name = "URL",
        requires = "mail_from",
        conflicts_with = "outbox"
    )]
    smtp: Option<String>,

    /// The sender of the shop's mails, such as `The Shop <shop@example.com>`. Required by `--smtp`.
    #[arg(long, env, value_name = "SENDER", default_value = "The Shop <shop@example.com>")]
    mail_from: String,
}

/// The store for events.
#[derive(Clone)]
pub(crate) enum InboxUrl {
    Off,
    Sqlite(String),
    Postgres(String),
    JetStream(String),
}

impl Options {
    /// Parses the signing secrets, if any were given.
    pub(crate) fn secrets(&self) -> Option<Result<Secrets, SecretError>> {
        self.secret.as_deref().map(Secrets::parse)
    }

    /// Parses the URL of the inbox.
    ///
    /// # Errors
    ///
    /// Fails if the scheme is unknown. The error does not contain the URL, which may have a
    /// password.
    pub(crate) fn inbox(&self) -> Result<InboxUrl, &'static str> {
        match self.inbox.split_once(':') {
            None if self.inbox == "off" => Ok(InboxUrl::Off),
            Some(("sqlite", file)) if !file.is_empty() => Ok(InboxUrl::Sqlite(self.inbox.clone())),
            Some(("postgres" | "postgresql", _)) => Ok(InboxUrl::Postgres(self.inbox.clone())),
            Some(("nats" | "tls", _)) => Ok(InboxUrl::JetStream(self.inbox.clone())),
            _ => Err(
                "EVENT_ROUTER_INBOX or --inbox: expected a SQLite file (`sqlite:inbox.db`), a PostgreSQL URL \
                 (`postgres://user:password@localhost/shop`), a NATS JetStream URL \
                 (`nats://user:password@localhost:4222`), or `off`",
            ),
        }
    }
}

impl MailOptions {
    /// Returns the mailer. Creates the folder for mails if they go to one.
    ///
    /// # Errors
    ///
    /// Fails if an option is malformed, or if the folder cannot be created. The error does not
    /// contain the server's URL, which may have a password.
    pub(crate) fn mailer(&self) -> Result<Mailer, Box<dyn Error>> {
        let (mailer, options) = match &self.smtp {
            Some(url) => (Mailer::smtp(url, &self.mail_from), "SMTP_URL, --smtp or --mail-from"),
            None => (Mailer::folder(&self.outbox, &self.mail_from), "--outbox or --mail-from"),
        };
        mailer.map_err(|error| format!("{options}: {}", ErrorChain::new(&error).text()).into())
    }
}

fn tolerance(text: &str) -> Result<Tolerance, String> {
    let age = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(
            |_| "expected seconds, such as `300`, or a duration with a unit, such as `5m`",
        )?,
    };
    let too_short = "less than a second would reject Stripe's requests; the default is 300";
    Tolerance::new(age).map_err(|_| too_short.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_hides_secret() {
        use clap::CommandFactory as _;

        let secret = Options::command().get_arguments().find(|a| a.get_id() == "secret").cloned();
        assert!(secret.is_some_and(|secret| secret.is_hide_env_values_set()));
    }

    /// The internal server shows the data of customers.
    #[test]
    fn internal_server_is_on_loopback_by_default() {
        let options = Options::parse_from(["hyper", "--listen=0.0.0.0:443"]);
        assert!(options.internal_listen.ip().is_loopback());
    }

    #[test]
    fn tolerance_is_seconds_or_has_unit() {
        assert_eq!(tolerance("300"), Ok(Tolerance::default()));
        assert_eq!(tolerance("5m"), tolerance("300"));
        assert!(tolerance("0").is_err());
        assert!(tolerance("-1").is_err());
        assert!(tolerance("soon").is_err());
    }
}
