//! `inbox list`: lists deliveries, newest first.

use clap::Args;
use router_inbox::{
    operations::{ListEntry, ListFilter},
    store::Operations,
};
use serde::Serialize;

use super::{
    filter::{FilterArgs, ListedState},
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
  event-router inbox list --state dead --since 2h --error 'connection refused'
  event-router inbox list --state waiting,running --handler orders.fulfil
  event-router inbox list --object cus_NffrFeUfNV2Hib
  event-router inbox list --state unhandled --type 'customer.*'

With --json, prints one object per delivery or unhandled event: {\"number\", \"event\", \"type\",
\"object\", \"endpoint\", \"account\", \"generation\", \"stored_at\"}; deliveries also have {\"handler\",
\"state\", \"attempts\", \"due_at\", \"blocked\", \"ended_at\", \"error\"}.")]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Maximum number of entries.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Only entries older than this number, which is printed at the end of the previous list.
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
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
        let FilterArgs { state, handler, error, .. } = &self.filter;
        let is_of_deliveries = state.len() > 1 || handler.is_some() || error.is_some();
        if state.contains(&ListedState::Unhandled) && is_of_deliveries {
            let why = "--state unhandled lists events without deliveries; remove the other states, \
                       --handler and --error";
            return Err(Error::Usage(why.to_owned()));
        }
        let filter = self.filter.into_filter();
        Ok(ListFilter { before: self.before, limit: self.limit as usize, ..filter })
    }
}
