//! `inbox replay`: events once more, whatever became of them.

use std::{sync::Arc, time::Duration};

use clap::Args;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    Operations,
    operations::{EventSelector, Replayed},
};
use serde_json::{Value, json};

use super::{
    batches::{Confirm, in_batches, stopped},
    show::unknown,
    store::{failed, meant},
    words::count,
};
use crate::{
    error::{Error, Exit},
    output::{BAD, DOUBTFUL, GOOD, Output, plain, styled},
};

/// Have events handled once more, also those that are done; or by a handler that is new
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox replay evt_1NG8Du2eZvKYlo2CUI79vXWy
  event-router inbox replay evt_1NG8Du2eZvKYlo2CUI79vXWy --handler orders.fulfil
  event-router inbox replay --since 2days --type 'invoice.*' --handler audit
  event-router inbox replay --since 2026-11-25T09:00:00Z --until 2026-11-25T11:00:00Z

A replay is another event, also to an IdempotencyKey: what a handler did, it does once more. It
is for the handlers that the event was for, or for those that are given. A dead letter of a
handler that gets the event again is discarded.

With --json, a line for each event: {\"event\", \"generation\", \"handlers\"}, or {\"event\", \"error\"}; and
after a span of them, {\"summary\"}.")]
pub(super) struct Replay {
    /// The events' ids.
    #[arg(value_name = "EVENT",  conflicts_with_all = ["since", "until", "type"])]
    ids: Vec<String>,

    /// Only for this handler, by its stable name, whether the event was for it or not; can be given several times.
    #[arg(long, value_name = "NAME")]
    handler: Vec<String>,

    /// Instead of by their ids: the events that came since then, as in `2h` or `2026-11-25T09:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = ago)]
    since: Option<Duration>,

    /// Those that came before then.
    #[arg(long, value_name = "TIME", value_parser = ago)]
    until: Option<Duration>,

    /// Those of this type, or of `prefix.*`.
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,

    #[command(flatten)]
    confirm: Confirm,
}

/// How long ago that is.
fn ago(text: &str) -> Result<Duration, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(ago);
    }
    let time = humantime::parse_rfc3339_weak(text).map_err(
        |_| "write how long ago, as in 90min or 2days, or when, as in 2026-11-25T09:00:00Z",
    )?;
    SystemClock.wall().duration_since(time).map_err(|_| "that is in the future".to_owned())
}

/// What became of them.
#[derive(Default)]
struct Sum {
    replayed: u64,
    no_handler: u64,
    damaged: u64,
    gone: u64,
}

/// So many at a time.
const BATCH: usize = 100;

impl Replay {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let is_span = self.ids.is_empty();
        let events = self.events(store).await?;
        let doubt = self.doubt(store).await?;
        let is_to_be_asked = (is_span || doubt.is_some()) && !events.is_empty();
        let what = self.what(events.len(), doubt.as_deref());
        if is_to_be_asked && !self.confirm.ask(&what, output)? {
            return Ok(Exit::Refused);
        }
        let handlers: Vec<Arc<str>> = self.handler.iter().map(|name| Arc::from(&**name)).collect();
        let (mut told, mut sum, mut reached) = (Vec::new(), Sum::default(), 0);
        let is_all = in_batches(&events, BATCH, output, async |batch| {
            let replayed = store.replay(batch, &handlers).await.map_err(failed)?;
            replayed.iter().for_each(|one| sum.add(one));
            reached += replayed.len();
            if output.json || !is_span {
                told.extend(replayed);
            }
            Ok(())
        })
        .await?;
        for one in &told {
            match output.json {
                true => output.json(&line(one))?,
                false if !is_span => tell(one, output)?,
                false => {}
            }
        }
        if is_span {
            sum.tell(output)?;
        }
        if !is_all {
            output.note(stopped(events.len(), reached));
        }
        Ok(match sum.replayed {
            _ if !is_all => Exit::Stopped,
            0 => Exit::Refused,
            _ => Exit::Done,
        })
    }

    /// An id that there is not is told before anything is replayed.
    async fn events(&self, store: &dyn Operations) -> Result<Vec<i64>, Error> {
        let (since, until, event_type) = (self.since, self.until, self.r#type.clone());
        let span = EventSelector { event_id: None, event_type, since, until };
        if span == EventSelector::default() && self.ids.is_empty() {
            let why = "say which events: by their ids, or by --since, --until or --type";
            return Err(Error::Usage(why.to_owned()));
        }
        if self.ids.is_empty() {
            return store.select(&span).await.map_err(failed);
        }
        let mut events = Vec::new();
        for id in &self.ids {
            let one = EventSelector { event_id: Some(id.clone()), ..EventSelector::default() };
            let of_id = store.select(&one).await.map_err(failed)?;
            if of_id.is_empty() {
                return Err(unknown(id));
            }
            events.extend(of_id);
        }
        Ok(events)
    }

    /// Whether a handler has never had a delivery: that is how a new one gets what came before it, and what a typo
    /// looks like.
    async fn doubt(&self, store: &dyn Operations) -> Result<Option<String>, Error> {
        let status = store.status().await.map_err(failed)?;
        let known: Vec<&str> = status.handlers.iter().map(|known| &*known.handler).collect();
        let unknown = self.handler.iter().find(|name| !known.contains(&name.as_str()));
        Ok(unknown.map(|handler| {
            let meant = meant(handler, &known);
            format!("`{handler}` has had no delivery in this inbox ({meant}); ")
        }))
    }

    fn what(&self, number: usize, doubt: Option<&str>) -> String {
        let of_type = self.r#type.as_ref().map(|of_type| format!(" of type `{of_type}`"));
        let ago = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs()));
        let span = match (self.since.map(ago), self.until.map(ago)) {
            (Some(since), None) => format!(" that came in the last {since}"),
            (None, Some(until)) => format!(" that came more than {until} ago"),
            (Some(since), Some(until)) => format!(" that came from {since} to {until} ago"),
            (None, None) => String::new(),
        };
        let by = match &self.handler[..] {
            [] => "the handlers that each was for".to_owned(),
            handlers => handlers.join(", "),
        };
        format!(
            "{}about to have {}{}{span} handled once more, by {by}",
            doubt.unwrap_or_default(),
            count(number as u64, "event"),
            of_type.unwrap_or_default()
        )
    }
}

impl Sum {
    fn add(&mut self, replayed: &Replayed) {
        match replayed {
            Replayed::Again { .. } => self.replayed += 1,
            Replayed::NoHandler { .. } => self.no_handler += 1,
            Replayed::Damaged { .. } => self.damaged += 1,
            Replayed::Gone => self.gone += 1,
        }
    }

    fn tell(&self, output: &mut Output) -> Result<(), Error> {
        let Self { replayed, no_handler, damaged, gone } = *self;
        if output.json {
            return output.json(&json!({"summary": {
                "replayed": replayed, "no_handler": no_handler, "damaged": damaged, "gone": gone,
            }}));
        }
        output.line(format_args!("{} replayed", count(replayed, "event")))?;
        let rows = [
            (no_handler, "that no handler was for: --handler says which is to have them"),
            (
                damaged,
                "that cannot be read: the store has damaged them, or a newer version has stored them",
            ),
            (gone, "that somebody has purged meanwhile"),
        ];
        for (number, why) in rows {
            if number > 0 {
                output.line(format_args!("{} left, {why}", count(number, "event")))?;
            }
        }
        Ok(())
    }
}

fn line(replayed: &Replayed) -> Value {
    match replayed {
        Replayed::Again { event_id, generation, handlers } => {
            let handlers: Vec<&str> = handlers.iter().map(|handler| &**handler).collect();
            json!({"event": event_id, "generation": generation, "handlers": handlers})
        }
        Replayed::NoHandler { event_id } => json!({"event": event_id, "error": "no handler"}),
        Replayed::Damaged { event_id } => json!({"event": event_id, "error": "damaged"}),
        Replayed::Gone => json!({"event": null, "error": "gone"}),
    }
}

fn tell(replayed: &Replayed, output: &mut Output) -> Result<(), Error> {
    let text = match replayed {
        Replayed::Again { event_id, generation, handlers } => format!(
            "{}  {event_id}  replay {generation}, for {}",
            styled(GOOD, "replayed"),
            plain(&handlers.join(", "))
        ),
        Replayed::NoHandler { event_id } => format!(
            "{}      {event_id}  no handler was for it: say with --handler which is to have it",
            styled(DOUBTFUL, "left")
        ),
        Replayed::Damaged { event_id } => format!(
            "{}      {event_id}  cannot be read: the store has damaged it, or a newer version has stored it",
            styled(BAD, "left")
        ),
        Replayed::Gone => {
            format!("{}      somebody has purged it meanwhile", styled(DOUBTFUL, "left"))
        }
    };
    output.line(text)
}
