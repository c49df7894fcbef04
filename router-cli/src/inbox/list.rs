//! `inbox list`: lists deliveries, newest first.

use clap::{Args, ValueEnum};
use router_inbox::{
    operations::{ListEntry, ListFilter},
    store::{DeliveryState, Operations},
};
use serde::Serialize;

use super::{
    format::{DeliveryLine, EventLine, format_delivery, format_event},
    store::{check_handler, within_limit},
};
use crate::{
    error::{Error, Exit},
    output::Output,
};

/// List deliveries with their last error, newest first
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox list --state dead
  event-router inbox list --state waiting,running --handler orders.fulfil
  event-router inbox list --object cus_NffrFeUfNV2Hib
  event-router inbox list --state unhandled --type 'customer.*'

With --json, prints one object per delivery or unhandled event: {\"number\", \"event\", \"type\",
\"object\", \"endpoint\", \"account\", \"generation\", \"stored_at\"}; deliveries also have {\"handler\",
\"state\", \"attempts\", \"due_at\", \"blocked\", \"ended_at\", \"error\"}.")]
pub(super) struct ListArgs {
    /// Only these states, separated by commas; `unhandled` lists events without a handler.
    #[arg(long, value_enum, value_delimiter = ',')]
    state: Vec<ListedState>,

    /// Only events of this type, or of all types in `prefix.*`.
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,

    /// Only events about the object with this id, or `invoice:sub_…` for a subscription's upcoming
    /// invoices, which have no id.
    #[arg(long, value_name = "ID")]
    object: Option<String>,

    /// Only deliveries for this handler (its stable name).
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,

    /// Maximum number of entries.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Only entries older than this number, which is printed at the end of the previous list.
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
}

/// A value of `--state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListedState {
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

impl ListArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let filter = self.filter()?;
        if let Some(handler) = &filter.handler {
            check_handler(store, handler).await?;
        }
        let entries = within_limit(store.list(&filter)).await?;
        if output.json {
            for ListEntry { number, event, delivery, .. } in &entries {
                let delivery = delivery.as_ref().map(DeliveryLine::new);
                output.json(&Line { number: *number, event: EventLine::new(event), delivery })?;
            }
            return Ok(Exit::Success);
        }
        let mut previous = None;
        for ListEntry { event, delivery, .. } in &entries {
            // Groups the deliveries of an event below one line for the event.
            if previous != Some(event) {
                output.line(format_event(event))?;
                previous = Some(event);
            }
            if let Some(delivery) = delivery {
                output.line(format_args!("  {}", format_delivery(delivery)))?;
            }
        }
        match entries.last() {
            None => output.note(
                "nothing found; `event-router inbox status` counts the deliveries in the inbox",
            ),
            Some(last) if entries.len() == filter.limit => {
                output.note(format_args!(
                    "stopped after {} entries; continue with --before {}",
                    filter.limit, last.number
                ));
            }
            Some(_) => {}
        }
        Ok(Exit::Success)
    }

    fn filter(self) -> Result<ListFilter, Error> {
        let unhandled = self.state.contains(&ListedState::Unhandled);
        if unhandled && (self.state.len() > 1 || self.handler.is_some()) {
            let why = "--state unhandled lists events without deliveries; remove the other states and --handler";
            return Err(Error::Usage(why.to_owned()));
        }
        Ok(ListFilter {
            states: self.state.iter().filter_map(|state| state.delivery_state()).collect(),
            unhandled,
            event_type: self.r#type,
            object: self.object,
            handler: self.handler,
            before: self.before,
            limit: self.limit as usize,
        })
    }
}

impl ListedState {
    fn delivery_state(self) -> Option<DeliveryState> {
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
