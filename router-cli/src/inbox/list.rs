//! `inbox list`: deliveries, the newest first.

use clap::{Args, ValueEnum};
use router_inbox::{
    DeliveryState, Operations,
    operations::{ListEntry, ListFilter},
};
use serde::Serialize;

use super::{
    store::{check_handler, failed},
    words::{DeliveryLine, EventLine, delivery, event},
};
use crate::{
    error::{Error, Exit},
    output::Output,
};

/// List deliveries, the newest first, with what went wrong last
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox list --state dead
  event-router inbox list --state waiting,running --handler orders.fulfil
  event-router inbox list --object cus_NffrFeUfNV2Hib
  event-router inbox list --state unhandled --type 'customer.*'

With --json, a line for each: {\"number\", \"event\", \"type\", \"object\", \"endpoint\", \"account\",
\"generation\", \"stored_at\"}, and of a delivery also {\"handler\", \"state\", \"attempts\", \"due_at\",
\"blocked\", \"ended_at\", \"error\"}.")]
pub(super) struct List {
    /// Only in one of these states; `unhandled` lists the events that no handler was for.
    #[arg(long, value_enum, value_delimiter = ',')]
    state: Vec<Listable>,

    /// Only of events of this type, or of `prefix.*`.
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,

    /// Only of events about the object with this id.
    #[arg(long, value_name = "ID")]
    object: Option<String>,

    /// Only for this handler, by its stable name.
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,

    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Go on behind this number, which the end of a list tells.
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
}

/// What `--state` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Listable {
    Waiting,
    Running,
    Done,
    Ignored,
    Dead,
    Discarded,
    Unhandled,
}

#[derive(Serialize)]
struct Line<'l> {
    number: i64,
    #[serde(flatten)]
    event: EventLine<'l>,
    #[serde(flatten)]
    delivery: Option<DeliveryLine<'l>>,
}

impl List {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let filter = self.filter()?;
        if let Some(handler) = &filter.handler {
            check_handler(store, handler).await?;
        }
        let listed = store.list(&filter).await.map_err(failed)?;
        if output.json {
            for ListEntry { number, event, delivery } in &listed {
                let delivery = delivery.as_ref().map(DeliveryLine::of);
                output.json(&Line { number: *number, event: EventLine::of(event), delivery })?;
            }
            return Ok(Exit::Done);
        }
        let mut last = None;
        for ListEntry { event: of, delivery: one, .. } in &listed {
            // The deliveries of an event stand below it.
            if last != Some(of) {
                output.line(event(of))?;
                last = Some(of);
            }
            if let Some(one) = one {
                output.line(format_args!("  {}", delivery(one)))?;
            }
        }
        match listed.last() {
            None => output.note("nothing found; `event-router inbox status` counts what there is"),
            Some(last) if listed.len() == filter.limit => {
                output.note(format_args!(
                    "these are the newest {}; --before {} goes on",
                    filter.limit, last.number
                ));
            }
            Some(_) => {}
        }
        Ok(Exit::Done)
    }

    fn filter(self) -> Result<ListFilter, Error> {
        let unhandled = self.state.contains(&Listable::Unhandled);
        if unhandled && (self.state.len() > 1 || self.handler.is_some()) {
            let why = "--state unhandled lists events that no handler was for: leave out other states and --handler";
            return Err(Error::Usage(why.to_owned()));
        }
        Ok(ListFilter {
            states: self.state.iter().filter_map(|state| state.of_delivery()).collect(),
            unhandled,
            event_type: self.r#type,
            object: self.object,
            handler: self.handler,
            before: self.before,
            limit: self.limit as usize,
        })
    }
}

impl Listable {
    fn of_delivery(self) -> Option<DeliveryState> {
        Some(match self {
            Self::Waiting => DeliveryState::Waiting,
            Self::Running => DeliveryState::Running,
            Self::Done => DeliveryState::Done,
            Self::Ignored => DeliveryState::Ignored,
            Self::Dead => DeliveryState::Dead,
            Self::Discarded => DeliveryState::Discarded,
            Self::Unhandled => return None,
        })
    }
}
