//! The events in the inbox, and the checkpoint of each list.

use std::time::SystemTime;

use router_core::Event;
use router_inbox::{operations::EventSummary, store::Operations};
use router_stripe::reconcile::{
    Lookup, format_checkpoint, has_identity_of, look_up, parse_checkpoint,
};

use crate::{error::Error, inbox::store::within_limit, stripe::one_line};

/// The inbox of the server.
pub(super) struct Known {
    store: Box<dyn Operations>,
    /// `true` if the run hands over all missed events, so that the checkpoint may be set.
    pub(super) is_complete: bool,
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

    pub(super) async fn look_up(&self, event: &Event) -> Result<Lookup, Error> {
        within_limit(look_up(&*self.store, event)).await
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
                if has_identity_of(&stored, event) {
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

/// Formats an endpoint and an account, as in `endpoint connect, account acct_1`.
pub(super) fn identity(endpoint: &str, account: Option<&str>) -> String {
    let endpoint = format!("endpoint {}", one_line(endpoint));
    account.map_or(endpoint.clone(), |account| format!("{endpoint}, account {}", one_line(account)))
}
