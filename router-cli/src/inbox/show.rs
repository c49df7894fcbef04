//! `inbox show`: all that is kept of an event.

use clap::Args;
use router_catalog::samples::stripe_json;
use router_inbox::{
    DeliveryState, Operations,
    operations::{EventDetails, EventSummary},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    store::failed,
    words::{DeliveryLine, EventLine, ago, delivery, rfc3339},
};
use crate::{
    error::{Error, Exit},
    output::{DIM, DOUBTFUL, Output, plain, styled},
};

/// Show an event and what became of it, for each handler
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy --payload
  event-router inbox show evt_1NG8Du2eZvKYlo2CUI79vXWy --payload --json | event-router send --file -

An event that was replayed is there once for each time, and one that came through several
endpoints once for each.

With --json, a line for each: {\"event\", \"type\", \"object\", \"endpoint\", \"account\", \"generation\",
\"stored_at\", \"deliveries\": [{\"handler\", \"state\", \"attempts\", \"due_at\", \"blocked\", \"ended_at\",
\"error\"}]}; with --payload also \"payload\", the text that Stripe sent.")]
pub(super) struct Show {
    /// The event's id.
    #[arg(value_name = "EVENT")]
    id: String,

    /// Print what Stripe has sent, too. It may hold people's names and addresses.
    #[arg(long)]
    payload: bool,
}

#[derive(Serialize)]
struct Line<'l> {
    #[serde(flatten)]
    event: EventLine<'l>,
    deliveries: Vec<DeliveryLine<'l>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'l str>,
}

impl Show {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let shown = of_event(store, &self.id).await?;
        for (number, one) in shown.iter().enumerate() {
            if output.json {
                let deliveries = one.deliveries.iter().map(DeliveryLine::of).collect();
                let payload = std::str::from_utf8(&one.kept.payload).ok().filter(|_| self.payload);
                output.json(&Line { event: EventLine::of(&one.event), deliveries, payload })?;
                continue;
            }
            if number > 0 {
                output.line("")?;
            }
            tell(one, output)?;
            if self.payload {
                output.line("")?;
                output.line(pretty(&one.kept.payload))?;
            }
        }
        if !output.json {
            help(&self.id, &shown, output);
        }
        Ok(Exit::Done)
    }
}

/// What is kept of an event; that there is none, where there is none.
pub(super) async fn of_event(store: &dyn Operations, id: &str) -> Result<Vec<EventDetails>, Error> {
    let shown = store.show(id).await.map_err(failed)?;
    if shown.is_empty() { Err(unknown(id)) } else { Ok(shown) }
}

pub(super) fn unknown(id: &str) -> Error {
    let id = plain(id);
    Error::Usage(match id.starts_with("evt_") {
        true => format!(
            "the inbox has no event `{id}`: it never came, or was purged; `event-router inbox list` lists what there is"
        ),
        false => format!(
            "the inbox has no event `{id}`: an event's id begins with `evt_`; `event-router inbox list --object {id}` \
             finds the events about an object"
        ),
    })
}

fn tell(
    EventDetails { event, kept, deliveries }: &EventDetails,
    output: &mut Output,
) -> Result<(), Error> {
    let EventSummary { id, endpoint, account, generation, event_type, object, stored_at } = event;
    output.line(format_args!("{}  {}", plain(event_type), plain(id)))?;
    let mut row = |name: &str, text: String| {
        output.line(format_args!("  {}  {text}", styled(DIM, format_args!("{name:9}"))))
    };
    row("object", plain(object))?;
    row("endpoint", plain(endpoint))?;
    if let Some(account) = account {
        row("account", plain(account))?;
    }
    match generation {
        0 => row("came", format!("{}, at {}", ago(*stored_at), rfc3339(*stored_at)))?,
        more => row(
            "replay",
            format!("number {more}, {}, at {}", ago(*stored_at), rfc3339(*stored_at)),
        )?,
    }
    row("payload", format!("{} bytes", kept.payload.len()))?;
    for one in deliveries {
        output.line(format_args!("  {}", delivery(one)))?;
    }
    if deliveries.is_empty() {
        output.line(format_args!("  {}", styled(DOUBTFUL, "no handler was for it")))?;
    }
    Ok(())
}

/// What to do next.
fn help(id: &str, shown: &[EventDetails], output: &mut Output) {
    let mut deliveries = shown.iter().flat_map(|one| &one.deliveries);
    let text = match () {
        () if deliveries.any(|one| one.state == DeliveryState::Dead) => format!(
            "once what is wrong is put right, `event-router inbox retry {id}`; or `discard {id}`, if it never will be"
        ),
        () if shown.iter().all(|one| one.deliveries.is_empty()) => {
            format!("`event-router inbox replay {id} --handler NAME` gives it to a handler")
        }
        () => return,
    };
    output.note(format_args!("{DOUBTFUL}help:{DOUBTFUL:#} {text}"));
}

/// As Stripe prints JSON; as it is, if it is none.
fn pretty(payload: &[u8]) -> String {
    match serde_json::from_slice::<Value>(payload) {
        Ok(value) => stripe_json(&value),
        Err(_) => plain(&String::from_utf8_lossy(payload)),
    }
}
