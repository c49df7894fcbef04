//! `reconcile`: catches up on the events that Stripe could not deliver.

mod deliver;
mod follow;
mod known;
mod pass;
mod report;
mod resend;
mod sources;

use std::time::{Duration, SystemTime};

use clap::Args;
use router_catalog::Pattern;
use router_core::clock::{Clock as _, SystemClock};

use self::{
    follow::follow,
    known::Known,
    pass::{Action, Filter, Pass},
    resend::Resend,
    sources::{ServerEndpoints, SourceOptions},
};
use crate::{
    error::{Error, Exit},
    inbox::store::open,
    output::Output,
    stripe::{StripeOptions, read_routes},
    target::Target,
};

/// The permissions of the API key, for the error of a key that lacks one.
const PERMISSIONS: &str = "`reconcile` needs the permission \"Events\": Read, or Write for \
                           --resend; and with --all-accounts also Read for the connected accounts";

/// Catch up on the events that Stripe could not deliver
#[derive(Args)]
#[command(after_help = "\
Lists the events that Stripe could not deliver, of at most 30 days, and sends each to your running
server, signed with the endpoint's secret. With --inbox, events that the inbox has are not sent, and
the next run begins where this one ends (if a first run reads 84 hours or more).

Examples:
  event-router reconcile --inbox sqlite:inbox.db --to https://shop.example/webhook
  event-router reconcile --inbox sqlite:inbox.db --since 3d --dry-run
  event-router reconcile --inbox sqlite:inbox.db --all-accounts --connect-endpoint connect
  event-router reconcile --inbox sqlite:inbox.db --resend --webhook-endpoint we_1
  event-router reconcile --inbox sqlite:inbox.db --all --since 7d --routes routes.json
  event-router reconcile --follow --to http://127.0.0.1:4242/webhook

The API key is read from STRIPE_API_KEY. A restricted key (rk_…) needs the permission \"Events\":
Read, or Write for --resend. With --all-accounts, it must be able to read the connected accounts too.

The name of the endpoint is that of the signing secret: `default`, or NAME in NAME=whsec_…. It must
be the one under which the server receives these events. An event that the inbox has only under
another endpoint or account is reported and not sent, because its handlers would run again.

An event that the inbox has handled and purged is taken for a missed one. No inbox purges an event
within four days, so without --since, no event older than 84 hours is sent. The default retention is
30 days.

The exit code is 1 if the server refused an event or reports a dead letter, or if an event is
unreadable or stored under another endpoint or account; 2 if an option is invalid, or --since is
needed because the last run is too long ago; and 3 if the server, Stripe or the inbox did not answer,
or Stripe refused the request. The next run goes on in front of an event that was not sent.

With --json, prints one object per event: {\"event\", \"type\", \"account\", \"endpoint\", \"created\",
\"outcome\", \"status\", \"answer\"}, and then {\"summary\"}. The outcome is `sent`, `missed` (--dry-run),
`resent`, `refused`, `other_endpoint` or `unreadable`.")]
pub(crate) struct ReconcileArgs {
    /// URL of the server's inbox, as for `event-router inbox`. Events in it are not sent again.
    ///
    /// The inbox also stores the time up to which all events have been read, for the next run.
    // The URL may contain a password.
    #[arg(long, env = "EVENT_ROUTER_INBOX", hide_env_values = true, value_name = "URL")]
    inbox: Option<String>,

    /// Read the events since then: a duration, as in `3d`, or a time, as in `2026-11-28T10:00:00Z`.
    ///
    /// By default, the command goes on where the last run or the server's task ended, or reads the
    /// last 84 hours. Stripe lists the events of 30 days. Required without --inbox, and if the last
    /// run is more than 84 hours ago. Must not be longer ago than the inbox stores events.
    #[arg(long, value_name = "TIME", value_parser = parse_since, conflicts_with = "follow")]
    since: Option<Since>,

    /// Print the missed events, and send nothing.
    #[arg(long, conflicts_with_all = ["resend", "follow"])]
    dry_run: bool,

    /// Only events of these types, as in `invoice.paid` or `invoice.*`. Repeatable.
    ///
    /// The time for the next run is not stored.
    #[arg(long = "type", value_name = "PATTERN", value_parser = parse_pattern)]
    types: Vec<String>,

    #[command(flatten)]
    sources: SourceOptions,

    /// The program's routes as JSON, as for `doctor`: a file, or the URL of a server that returns
    /// them. With --thin and --all, only events with a handler are sent.
    #[arg(long, value_name = "FILE|URL")]
    routes: Option<String>,

    /// Let Stripe deliver each missed event again, to the endpoint of --webhook-endpoint, instead
    /// of sending it.
    ///
    /// Such an event has the endpoint's API version.
    #[arg(long, conflicts_with_all = ["thin", "follow"])]
    resend: bool,

    /// Id of the webhook endpoint for --resend (`we_…`).
    #[arg(long, value_name = "ID", requires = "resend", required_if_eq("resend", "true"))]
    webhook_endpoint: Option<String>,

    /// Send each new event of a sandbox until Ctrl-C, as `stripe listen` does, for development.
    #[arg(long)]
    follow: bool,

    /// Time between two polls of --follow, as in `2s`; at least 500ms.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "2s",
        value_parser = parse_interval,
        requires = "follow"
    )]
    interval: Duration,

    #[command(flatten)]
    stripe: StripeOptions,

    #[command(flatten)]
    target: Target,
}

/// The time from which events are read.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Since {
    /// An age by Stripe's clock.
    Ago(Duration),
    Time(SystemTime),
}

impl ReconcileArgs {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        self.check()?;
        // A long run must not end because Stripe is busy for a minute.
        let client = self.stripe.client_with(|builder| {
            builder.max_attempts(10).total_timeout(Duration::from_secs(5 * 60))
        })?;
        let routes = match &self.routes {
            Some(file_or_url) => match read_routes(file_or_url).await? {
                // The checkpoint would pass every event.
                routes if routes.is_empty() => {
                    let why = "--routes has no routes, so no event has a handler; is it of another program?";
                    return Err(Error::Usage(why.to_owned()));
                }
                routes => Some(routes),
            },
            None => None,
        };
        let endpoints = ServerEndpoints::open(&self.target, &self.sources)?;
        let filter = Filter { types: self.types, routes };
        if self.follow {
            let sources = self.sources.follow(&endpoints, &client).await?;
            return follow(&client, sources, &endpoints, &filter, self.interval, output).await;
        }
        let inbox = match &self.inbox {
            Some(url) => Some(open(url).await?),
            None => None,
        };
        let sources = self.sources.catch_up(&endpoints, &client).await?;
        let action = match &self.webhook_endpoint {
            _ if self.dry_run => Action::Print,
            Some(endpoint) => Action::Resend(Resend::new(&client, endpoint)),
            None => Action::Send(&endpoints),
        };
        let is_complete =
            filter.types.is_empty() && !self.sources.all && matches!(action, Action::Send(_));
        let pass = Pass {
            client: &client,
            known: inbox.map(|store| Known::new(store, is_complete)),
            filter,
            action,
            since: self.since,
        };
        pass.run(&sources, output).await
    }

    /// Checks the options that depend on each other.
    fn check(&self) -> Result<(), Error> {
        let usage = |why: &str| Err(Error::Usage(why.to_owned()));
        if self.follow {
            return Ok(());
        }
        if matches!(self.since, Some(Since::Time(since)) if since > SystemClock.wall()) {
            return usage(
                "--since is in the future; pass a time in UTC, or a duration, as in `3d`",
            );
        }
        if self.sources.all && self.since.is_none() {
            return usage(
                "--all lists all events of the account; pass --since, as in `--since 7d`",
            );
        }
        if (self.sources.all || self.sources.thin) && self.routes.is_none() {
            return usage(
                "--thin and --all list events regardless of their delivery; pass --routes FILE|URL, so \
                 that only events with a handler are sent",
            );
        }
        if self.inbox.is_none() && self.since.is_none() {
            return usage(
                "without --inbox, it is unknown where the last run ended; pass `--inbox sqlite:FILE`, \
                 or --since, as in `--since 3d`",
            );
        }
        Ok(())
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(Since::Time(time));
    }
    humantime::parse_duration(text).map(Since::Ago).map_err(|_| {
        "expected a duration, as in `3d`, or a time in UTC, as in `2026-11-28T10:00:00Z`".to_owned()
    })
}

fn parse_pattern(text: &str) -> Result<String, String> {
    Pattern::parse(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= Duration::from_millis(500) => Ok(interval),
        Ok(_) => Err("the minimum is 500ms".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
