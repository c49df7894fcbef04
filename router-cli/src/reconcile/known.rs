//! The events in the inbox, and the checkpoint of each list.

use std::time::SystemTime;

use router_core::Event;
use router_inbox::{operations::EventSummary, store::Operations};
use router_stripe::reconcile::{format_checkpoint, parse_checkpoint};

use crate::{error::Error, inbox::store::within_limit, stripe::one_line};

/// The inbox of the server.
pub(super) struct Known {
    store: Box<dyn Operations>,
    /// `true` if the run hands over all missed events, so that the checkpoint may be set.
    is_complete: bool,
}

/// The result of a search for an event.
pub(super) enum Found {
    Here,
    /// Stored only under another endpoint or account, so its handlers would run again.
    Elsewhere(EventSummary),
    Nowhere,
}

/// The reason why a checkpoint cannot be used.
pub(super) enum CheckpointError {
    /// The store cannot be read.
    Store(Error),
    /// The checkpoint is not a time.
    NotATime,
}

impl From<Error> for CheckpointError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Known {
    pub(super) fn new(store: Box<dyn Operations>, is_complete: bool) -> Self {
        Self { store, is_complete }
    }

    /// Searches for an event.
    ///
    /// A thin event and its snapshot event are one event in the inbox, but a handler may take only
    /// one of them, and each may have an endpoint of its own. If only the other one is stored, the
    /// event is sent, and the server decides for each handler.
    pub(super) async fn find(&self, event: &Event) -> Result<Found, Error> {
        let mut found = Found::Nowhere;
        for stored in self.show(event.id()).await? {
            if stored.id != event.id() {
                continue;
            }
            if is_same(&stored, event) {
                return Ok(Found::Here);
            }
            found = Found::Elsewhere(stored);
        }
        Ok(found)
    }

    /// Checks that the inbox has an event that the server accepted.
    ///
    /// # Errors
    ///
    /// Fails if the inbox does not have the event under this endpoint and account. The inbox is
    /// then another server's, or the endpoint's name is wrong. The checkpoint must not be set.
    pub(super) async fn confirm(&self, event: &Event) -> Result<(), Error> {
        let mut elsewhere = None;
        for id in [Some(event.id()), event.snapshot_event()].into_iter().flatten() {
            for stored in self.show(id).await? {
                if is_same(&stored, event) {
                    return Ok(());
                }
                elsewhere = Some(stored);
            }
        }
        let id = event.id();
        Err(Error::Refused(match elsewhere {
            None => format!(
                "the server accepted {id}, but the inbox does not have it; check that the server at --to \
                 uses the inbox of --inbox"
            ),
            Some(stored) => format!(
                "the server received {id} under {}, not under {}; pass the name of its endpoint with \
                 --endpoint, --connect-endpoint or --thin-endpoint",
                identity(&stored.endpoint, stored.account.as_deref()),
                identity(event.key().endpoint(), event.key().account())
            ),
        }))
    }

    async fn show(&self, id: &str) -> Result<Vec<EventSummary>, Error> {
        let details = within_limit(self.store.show(id)).await?;
        Ok(details.into_iter().map(|details| details.event).collect())
    }

    /// Returns the time up to which an earlier run has read the list.
    pub(super) async fn checkpoint(
        &self,
        name: &str,
    ) -> Result<Option<SystemTime>, CheckpointError> {
        let value = within_limit(self.store.checkpoint(name)).await?;
        let time = value.as_deref().map(parse_checkpoint);
        time.map(|time| time.ok_or(CheckpointError::NotATime)).transpose()
    }

    /// Stores the time up to which the list has been read, unless missed events were left out.
    pub(super) async fn set_checkpoint(&self, name: &str, until: SystemTime) -> Result<(), Error> {
        if !self.is_complete {
            return Ok(());
        }
        within_limit(self.store.set_checkpoint(name, &format_checkpoint(until))).await
    }
}

fn is_same(stored: &EventSummary, event: &Event) -> bool {
    let key = event.key();
    (&*stored.endpoint, stored.account.as_deref()) == (key.endpoint(), key.account())
}

/// Formats an endpoint and an account, as in `endpoint connect, account acct_1`.
pub(super) fn identity(endpoint: &str, account: Option<&str>) -> String {
    let endpoint = format!("endpoint {}", one_line(endpoint));
    account.map_or(endpoint.clone(), |account| format!("{endpoint}, account {}", one_line(account)))
}
