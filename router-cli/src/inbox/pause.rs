//! `inbox pause` and `inbox resume`: stop and continue the deliveries of a handler.

use clap::Args;
use router_inbox::store::{Operations, PausedHandler};
use serde_json::json;

use super::{
    batches::Confirm,
    format::ago,
    store::{parse_handler, unknown_handler_warning, within_limit},
};
use crate::{
    error::{Error, Exit},
    output::{DIM, Output, SUCCESS, WARNING, sanitize, styled},
};

/// Pause a handler: its deliveries wait until it is resumed
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox pause orders.fulfil
  event-router inbox pause orders.fulfil --note 'the warehouse is down until 14:00'

Events are still received and stored, and all other handlers continue. Within about a second no
worker, in any process, starts a delivery of the handler. Deliveries in flight finish. If one fails,
it is retried only after the handler is resumed. A restart of the servers does not end the pause. The
pause uses up no attempts.

Pausing a paused handler again changes only its note, if --note is given. `event-router inbox status`
lists the paused handlers, and `event-router inbox resume HANDLER` ends the pause. If a handler was
renamed with `formerly`, a pause under its old or its new name stops the deliveries under both names.

With --json, prints one object: {\"handler\", \"paused\", \"was_paused\"}.")]
pub(super) struct PauseArgs {
    /// Stable name of the handler.
    #[arg(value_name = "HANDLER", value_parser = parse_handler)]
    handler: String,

    /// Reason for the pause, shown by `status` and in the workers' logs.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    #[command(flatten)]
    confirm: Confirm,
}

/// Resume a paused handler: its due deliveries run
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router inbox resume orders.fulfil

Workers with the handler start its due deliveries within about a second, beginning with the delivery
that has been due for the longest time. The exit code is 1 if the handler is not paused.

With --json, prints one object: {\"handler\", \"paused\", \"was_paused\"}.")]
pub(super) struct ResumeArgs {
    /// Name with which the handler was paused.
    #[arg(value_name = "HANDLER")]
    handler: String,
}

impl PauseArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let Self { handler, note, confirm } = self;
        let warning = unknown_handler_warning(store, [&*handler]).await?;
        // The name may be misspelled, and the pause would then have no effect.
        if let Some(warning) = warning {
            let change = format!("{warning}about to pause {}", sanitize(&handler));
            if !confirm.ask(&change, output)? {
                return Ok(Exit::Failure);
            }
        }
        let earlier = within_limit(store.pause(&handler, note.as_deref())).await?;
        let detail = match &earlier {
            None => format!("until `event-router inbox resume {}`", sanitize(&handler)),
            Some(earlier) if note.is_some() => {
                format!("{}; the note was replaced", ago(earlier.paused_at))
            }
            Some(earlier) => ago(earlier.paused_at),
        };
        let word = match earlier {
            None => styled(SUCCESS, "paused"),
            Some(_) => styled(DIM, "already paused"),
        };
        print(&handler, true, earlier.is_some(), &word, &detail, output)?;
        Ok(Exit::Success)
    }
}

impl ResumeArgs {
    pub(super) async fn run(
        self,
        store: &dyn Operations,
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let resumed = within_limit(store.resume(&self.handler)).await?;
        let (word, detail) = match &resumed {
            Some(PausedHandler { paused_at, .. }) => {
                (styled(SUCCESS, "resumed"), format!("paused {}", ago(*paused_at)))
            }
            None => (styled(DIM, "unchanged"), "is not paused".to_owned()),
        };
        print(&self.handler, false, resumed.is_some(), &word, &detail, output)?;
        if resumed.is_some() {
            return Ok(Exit::Success);
        }
        if !output.json {
            let paused = within_limit(store.status()).await?.paused;
            let names: Vec<_> = paused.iter().map(|paused| sanitize(&paused.handler)).collect();
            let help = match &names[..] {
                [] => "no handler is paused".to_owned(),
                names => format!("paused handlers: {}", names.join(", ")),
            };
            output.note(format_args!("{WARNING}help:{WARNING:#} {help}"));
        }
        Ok(Exit::Failure)
    }
}

/// Prints the result. `paused` is the state after the command, `was_paused` the state before it.
fn print(
    handler: &str,
    paused: bool,
    was_paused: bool,
    word: &str,
    detail: &str,
    output: &mut Output,
) -> Result<(), Error> {
    if output.json {
        let line = json!({"handler": handler, "paused": paused, "was_paused": was_paused});
        return output.json(&line);
    }
    output.line(format_args!("{word}  {}  {detail}", sanitize(handler)))
}
