//! `doctor --ping`: proves that an event reaches the program's inbox.

use std::time::Duration;

use clap::Args;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::store::Operations;
use router_stripe::doctor::{Doctor, Finding, Ping};
use serde_json::json;

use super::explain;
use crate::{
    error::Error,
    inbox::{
        format::count,
        store::{open, within_limit},
    },
    output::{Output, SUCCESS, styled},
    stripe::one_line,
};

const POLL_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct PingArgs {
    /// Let Stripe send a ping event to each enabled webhook endpoint, or to those with --url, and
    /// wait until it is in the inbox.
    #[arg(long, conflicts_with = "destinations")]
    ping: bool,

    /// URL of the program's inbox for --ping, as for `event-router inbox`.
    #[arg(long, env = "EVENT_ROUTER_INBOX", hide_env_values = true, value_name = "URL")]
    inbox: Option<String>,

    /// Time to wait for the ping events, as in `90s`.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "60s",
        value_parser = humantime::parse_duration,
        requires = "ping"
    )]
    ping_timeout: Duration,
}

impl PingArgs {
    /// Opens the inbox for `--ping`. Returns `None` without the option.
    ///
    /// # Errors
    ///
    /// Fails if no inbox is given, or if it cannot be opened.
    pub(super) async fn open_inbox(&self) -> Result<Option<Box<dyn Operations>>, Error> {
        match &self.inbox {
            _ if !self.ping => Ok(None),
            Some(url) => open(url).await.map(Some),
            None => Err(Error::Usage(
                "--ping looks for the ping events in the program's inbox; pass it as `--inbox \
                 sqlite:FILE`, or set EVENT_ROUTER_INBOX"
                    .to_owned(),
            )),
        }
    }

    /// Pings the destinations, prints the events that reach the inbox, and returns the findings
    /// about the others.
    pub(super) async fn run(
        &self,
        doctor: &Doctor<'_>,
        inbox: &dyn Operations,
        output: &mut Output,
    ) -> Result<Vec<Finding>, Error> {
        let pings = doctor.ping().await.map_err(explain)?;
        for Ping { destination, event, .. } in &pings {
            if let Err(reason) = event {
                let id = one_line(&destination.id);
                output.note(format_args!("{id} was not pinged: {reason}"));
            }
        }
        if let Some(finding) = Ping::none_sent(&pings) {
            return Ok(vec![finding]);
        }
        self.await_events(&pings, inbox, output).await
    }

    async fn await_events(
        &self,
        pings: &[Ping],
        inbox: &dyn Operations,
        output: &mut Output,
    ) -> Result<Vec<Finding>, Error> {
        let mut pending: Vec<_> =
            pings.iter().filter_map(|ping| Some((ping, ping.event.as_ref().ok()?))).collect();
        let events = pending.len();
        let limit = humantime::format_duration(self.ping_timeout);
        output.note(format_args!(
            "waiting for {} in the inbox, for up to {limit}",
            count(events as u64, "ping event")
        ));
        let start = SystemClock.monotonic();
        loop {
            let mut missing = Vec::new();
            for (ping, event) in pending {
                if within_limit(inbox.show(event)).await?.is_empty() {
                    missing.push((ping, event));
                } else {
                    print_received(ping, event, output)?;
                }
            }
            pending = missing;
            let remaining =
                self.ping_timeout.saturating_sub(SystemClock.monotonic().duration_since(start));
            if pending.is_empty() || remaining.is_zero() {
                break;
            }
            SystemClock.sleep(remaining.min(POLL_INTERVAL)).await;
        }
        if pending.len() < events && !output.json {
            output.line("")?;
        }
        Ok(pending.iter().filter_map(|(ping, _)| ping.missing(self.ping_timeout)).collect())
    }
}

fn print_received(ping: &Ping, event: &str, output: &mut Output) -> Result<(), Error> {
    let (id, url) = (&ping.destination.id, ping.destination.url.as_deref());
    if output.json {
        return output.json(&json!({"received": {"event": event, "destination": id, "url": url}}));
    }
    let received = styled(SUCCESS, "received");
    let text = format!("ping event {event} of {id}, {}", url.unwrap_or_default());
    output.line(format_args!("{received}  {}", one_line(&text)))
}
