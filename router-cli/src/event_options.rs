//! Options that `send`, `scenario` and `sample` share to build events.

use clap::Args;
use router_core::testing::{Payload, SyntheticError, SyntheticEvent};

use crate::error::Error;

/// Options for building one event.
#[derive(Args, Clone)]
#[command(next_help_heading = "Event options")]
pub(crate) struct EventOptions {
    /// Set a field of the object, or of the event itself if it is thin. Repeatable.
    ///
    /// For example `amount=500`, `lines.data[0].quantity=2` or `metadata.order_id=6735`. The value
    /// is JSON, or plain text if the field is a string.
    #[arg(long, value_name = "PATH=VALUE", value_parser = parse_assignment)]
    set: Vec<(String, String)>,

    /// Set a field's previous value, in `data.previous_attributes`. Repeatable.
    #[arg(long, value_name = "PATH=VALUE", value_parser = parse_assignment)]
    previous: Vec<(String, String)>,

    #[command(flatten)]
    envelope: EnvelopeOptions,

    /// Build the corresponding thin event, for example `v1.invoice.paid` for `invoice.paid`.
    #[arg(long)]
    thin: bool,

    /// Object to carry if the event type allows several: `card` for `customer.source.created`.
    #[arg(long, value_name = "OBJECT")]
    carrying: Option<String>,
}

/// Options for the event's own fields, for events of any type.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Event options")]
pub(crate) struct EnvelopeOptions {
    /// Connected account of the event.
    #[arg(long, value_name = "acct_…")]
    account: Option<String>,

    /// API version of the event.
    #[arg(long, value_name = "VERSION")]
    api_version: Option<String>,

    /// Mark the event as live mode.
    #[arg(long)]
    livemode: bool,
}

impl EnvelopeOptions {
    pub(crate) fn apply(&self, mut event: SyntheticEvent) -> SyntheticEvent {
        if let Some(account) = &self.account {
            event = event.account(account);
        }
        if let Some(version) = &self.api_version {
            event = event.api_version(version);
        }
        event.livemode(self.livemode)
    }

    fn is_default(&self) -> bool {
        let Self { account, api_version, livemode } = self;
        account.is_none() && api_version.is_none() && !livemode
    }
}

impl EventOptions {
    pub(crate) fn build(&self, event_type: &str, seed: u64) -> Result<Payload, Error> {
        let mut event = self.envelope.apply(SyntheticEvent::new(event_type).seed(seed));
        for (path, value) in &self.set {
            event = event.set_text(path, value);
        }
        for (path, value) in &self.previous {
            event = event.previous_text(path, value);
        }
        if let Some(object) = &self.carrying {
            event = event.carrying(object);
        }
        if self.thin {
            event = event.thin();
        }
        event.build().map_err(|error| {
            Error::Usage(match error {
                SyntheticError::UnknownType { event_type, .. } if event_type.contains('*') => format!(
                    "expected one event type instead of the pattern `{event_type}`; `event-router \
                     events '{event_type}'` lists those that match"
                ),
                SyntheticError::UnknownType { event_type, nearest } => {
                    unknown_event_type(&event_type, nearest)
                }
                other => other.to_string(),
            })
        })
    }

    /// Returns whether no option is given, so that an event from a file is sent unchanged.
    pub(crate) fn is_default(&self) -> bool {
        let Self { set, previous, envelope, thin, carrying } = self;
        set.is_empty()
            && previous.is_empty()
            && envelope.is_default()
            && carrying.is_none()
            && !thin
    }
}

/// Describes an event type that the catalog does not have, and how to send an event of it.
fn unknown_event_type(event_type: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!(
            "Stripe has no event type `{event_type}`; did you mean `{nearest}`? `event-router send --file \
             FILE` sends events of any type"
        ),
        None => format!(
            "Stripe has no event type `{event_type}` in API version {}; `event-router events` lists all \
             types, and `event-router send --file FILE` sends events of any type",
            router_catalog::API_VERSION
        ),
    }
}

fn parse_assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) => Ok((path.to_owned(), value.to_owned())),
        None => Err("expected PATH=VALUE, as in `amount=500`".to_owned()),
    }
}
