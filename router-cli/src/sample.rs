//! `sample`: prints one event.

use clap::Args;
use router_catalog::samples::stripe_json;
use serde_json::Value;

use crate::{
    error::{Error, Exit},
    event_options::EventOptions,
    output::Output,
};

/// Print a sample event as Stripe would send it
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router sample invoice.paid
  event-router sample customer.subscription.updated --set status=past_due --previous status=active
  event-router sample charge.refunded --object --json | jq .amount_refunded

With --json, prints the event on one line.")]
pub(crate) struct SampleArgs {
    /// Event type.
    r#type: String,

    /// Print only the event's object.
    #[arg(long)]
    object: bool,

    /// Seed of the generated ids and amounts; the same seed gives the same values.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    event: EventOptions,
}

impl SampleArgs {
    pub(crate) fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let payload = self.event.build(&self.r#type, self.seed)?;
        let mut value: Value = payload
            .event()
            .payload_text()
            .parse()
            .map_err(|error| Error::Usage(format!("{}: {error}", self.r#type)))?;
        if self.object {
            value = match value.pointer_mut("/data/object") {
                Some(object) => object.take(),
                None => {
                    let why = "is a thin event and carries no object; remove --object";
                    return Err(Error::Usage(format!("`{}` {why}", payload.event_type())));
                }
            };
        }
        match output.json {
            true => output.json(&value)?,
            false => output.line(stripe_json(&value))?,
        }
        Ok(Exit::Success)
    }
}
