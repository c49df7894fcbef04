//! Which event is made: the options that `send` and `sample` share.

use clap::Args;
use router_core::testing::{Payload, SyntheticEvent};

use crate::error::Error;

/// How an event is made.
#[derive(Args, Clone)]
#[command(next_help_heading = "The event")]
pub(crate) struct Synthetic {
    /// Set a field of the object, or of a thin event itself: `amount=500`, `lines.data[0].quantity=2`,
    /// `metadata.order_id=6735`. The value is JSON, or text where the field holds text. Can be given
    /// several times.
    #[arg(long, value_name = "PATH=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,

    /// Set what a field was before, in `data.previous_attributes`.
    #[arg(long, value_name = "PATH=VALUE", value_parser = setting)]
    previous: Vec<(String, String)>,

    #[command(flatten)]
    circumstances: Circumstances,

    /// Make the thin event for the same change: `v1.invoice.paid` for `invoice.paid`.
    #[arg(long)]
    thin: bool,

    /// The object to carry, where the type can carry several: `card`, for `customer.source.created`.
    #[arg(long, value_name = "OBJECT")]
    carrying: Option<String>,
}

/// What does not depend on an event's type.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "The event")]
pub(crate) struct Circumstances {
    /// The connected account that the event is about.
    #[arg(long, value_name = "acct_…")]
    account: Option<String>,

    /// The API version in which the event says that it is written.
    #[arg(long, value_name = "VERSION")]
    api_version: Option<String>,

    /// Make an event about real money.
    #[arg(long)]
    livemode: bool,
}

impl Circumstances {
    pub(crate) fn of(&self, mut event: SyntheticEvent) -> SyntheticEvent {
        if let Some(account) = &self.account {
            event = event.account(account);
        }
        if let Some(version) = &self.api_version {
            event = event.api_version(version);
        }
        event.livemode(self.livemode)
    }

    fn is_plain(&self) -> bool {
        let Self { account, api_version, livemode } = self;
        account.is_none() && api_version.is_none() && !livemode
    }
}

impl Synthetic {
    pub(crate) fn build(&self, event_type: &str, seed: u64) -> Result<Payload, Error> {
        let mut event = self.circumstances.of(SyntheticEvent::new(event_type).seed(seed));
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
        event.build().map_err(|error| Error::Usage(error.to_string()))
    }

    /// Whether nothing is set, so that an event from a file is left as it is.
    pub(crate) fn is_plain(&self) -> bool {
        let Self { set, previous, circumstances, thin, carrying } = self;
        set.is_empty()
            && previous.is_empty()
            && circumstances.is_plain()
            && carrying.is_none()
            && !thin
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) => Ok((path.to_owned(), value.to_owned())),
        None => Err("write a field, `=`, and its value, as in `amount=500`".to_owned()),
    }
}
