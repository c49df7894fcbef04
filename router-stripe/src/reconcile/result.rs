//! The result of a pass.

use std::time::SystemTime;

#[cfg(doc)]
use router_inbox::store::Operations;
use router_inbox::{InboxError, StoreError};

use super::{
    checkpoint::format_checkpoint,
    telemetry::{self, Outcome},
};
use crate::Error;

/// The numbers of events of a pass, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// All events that were listed.
    pub listed: u64,
    /// Events that the inbox did not have. Their handlers run now.
    pub missed: u64,
    /// Events that the inbox had.
    pub already_stored: u64,
    /// Events that the inbox has only for another endpoint or account. They are not handed over:
    /// the name of the endpoint may be wrong, and every handler would run again.
    pub other_endpoint: u64,
    /// Thin events that no handler's pattern names.
    pub ignored: u64,
    /// Items that are not events in a known form.
    pub unreadable: u64,
}

/// The failure of a pass. The next pass goes on from the checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// A request to Stripe failed. Events of other accounts and lists have been read all the same.
    #[error("cannot list the events {list}")]
    Stripe {
        /// The list, as in `v1/default/self`.
        list: String,
        /// The cause.
        #[source]
        error: Error,
    },
    /// The connected accounts could not be listed.
    #[error("cannot list the connected accounts")]
    Accounts(#[source] Error),
    /// The inbox did not accept an event.
    #[error("cannot hand a missed event to the inbox")]
    Inbox(#[from] InboxError),
    /// The store could not be read, or a checkpoint could not be stored.
    #[error("cannot access the store of the inbox")]
    Store(#[from] StoreError),
    /// The store has no [`Operations`], by which events are found.
    #[error("the store of the inbox does not implement `Operations`, by which events are found")]
    NoOperations,
    /// The router has no endpoint of this name, see `RouterBuilder::endpoints`.
    #[error(
        "the router has no endpoint {endpoint:?}, which was given to `Reconcile`; its endpoints are \
         {known:?}"
    )]
    UnknownEndpoint {
        /// The name that was given to [`Reconcile`](super::Reconcile).
        endpoint: String,
        /// The endpoints of the router, sorted.
        known: Vec<String>,
    },
    /// The store has recent events, and none is of this endpoint. The name may be wrong, and every
    /// event would then be handled again when its webhook arrives.
    #[error(
        "the inbox has recent events of the endpoints {stored:?}, and none of {endpoint:?}, which \
         was given to `Reconcile`; correct the name, or call `RouterBuilder::endpoints` with the \
         names of all endpoints if it is right"
    )]
    UnseenEndpoint {
        /// The name that was given to [`Reconcile`](super::Reconcile).
        endpoint: String,
        /// The endpoints of the stored events, sorted.
        stored: Vec<String>,
    },
    /// The last successful pass was so long ago that the inbox may have purged events since then.
    ///
    /// The events between these times have not been handed over, because the inbox may have handled
    /// and purged them. Later events have been handed over. The checkpoint stays, so that
    /// nothing is lost: if the inbox retains events for longer, set
    /// [`Reconcile::since`](super::Reconcile::since), and the next pass reads them.
    #[error(
        "the events {list} from {} until {} were not handed over, because the inbox may have purged \
         them; set `Reconcile::since` to a day less than its retention",
        format_checkpoint(*.from), format_checkpoint(*.until)
    )]
    Gap {
        /// The list, as in `v1/default/self`.
        list: String,
        /// The checkpoint.
        from: SystemTime,
        /// The time from which on events have been handed over.
        until: SystemTime,
    },
    /// A checkpoint in the store is not a time.
    #[error("the checkpoint {name} is not a time: {value:?}; was it changed by another program?")]
    Checkpoint {
        /// The name of the checkpoint.
        name: String,
        /// Its value.
        value: String,
    },
}

impl Summary {
    /// Counts a listed event.
    pub(super) fn count(&mut self, outcome: Outcome, id: &str) {
        telemetry::found(outcome, id);
        self.listed += 1;
        *match outcome {
            Outcome::Missed => &mut self.missed,
            Outcome::Stored => &mut self.already_stored,
            Outcome::OtherEndpoint => &mut self.other_endpoint,
            Outcome::Ignored => &mut self.ignored,
            Outcome::Unreadable => &mut self.unreadable,
        } += 1;
    }
}

impl ReconcileError {
    /// Returns whether no later pass of the same process can succeed.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, Self::NoOperations | Self::UnknownEndpoint { .. })
    }

    /// Returns whether the other lists can still be read.
    pub(super) fn is_of_one_list(&self) -> bool {
        matches!(self, Self::Stripe { .. } | Self::Gap { .. })
    }
}
