//! What every store promises, as tests that a store of your own can run too (feature `conformance`).
//!
//! ```
//! use router_core::{clock::{Clock as _, SystemClock}, testing::ManualClock};
//! use router_inbox::conformance::{MemoryStore, Subject};
//!
//! /// A fresh store, and how its time passes.
//! struct InMemory(MemoryStore, ManualClock);
//!
//! #[async_trait::async_trait]
//! impl Subject for InMemory {
//!     type Store = MemoryStore;
//!
//!     async fn fresh() -> Self {
//!         let clock = ManualClock::at(SystemClock.wall());
//!         Self(MemoryStore::new(clock.clone()), clock)
//!     }
//!
//!     fn store(&self) -> &MemoryStore {
//!         &self.0
//!     }
//!
//!     async fn pass(&self, time: std::time::Duration) {
//!         self.1.advance(time);
//!     }
//! }
//!
//! // A `#[tokio::test]` for each promise.
//! router_inbox::store_conformance!(InMemory);
//! # fn main() {}
//! ```

#![expect(clippy::missing_panics_doc, reason = "a store that breaks a promise fails by a panic")]

mod model;
pub mod promises;
mod random;
mod random_operations;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{
    model::MemoryStore, random::does_as_the_model_does,
    random_operations::operates_as_the_model_does,
};
use crate::Store;

/// A store that is to be tried, and its time.
#[async_trait]
pub trait Subject: Sized + Send + Sync {
    /// The store.
    type Store: Store;

    /// What this machine lacks to try the store, such as a server: then the promises are passed over, and say so.
    fn missing() -> Option<String> {
        None
    }

    /// An empty store of its own, whose time begins at any moment.
    async fn fresh() -> Self;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Lets time pass for the store. It may pass by itself too, if slowly: no promise is tried to less than some
    /// seconds.
    async fn pass(&self, time: Duration);
}

/// Makes a `#[tokio::test]` of each promise, for a [`Subject`](crate::conformance::Subject).
#[macro_export]
macro_rules! store_conformance {
    ($subject:ty) => {
        $crate::store_conformance! {
            $subject:
            an_event_is_stored_once
            an_event_of_another_endpoint_account_or_generation_is_another
            an_event_without_handlers_is_kept_and_claimed_by_nobody
            an_event_comes_out_as_it_went_in
            a_claim_takes_no_more_than_it_asks_for
            a_claim_leaves_other_handlers_deliveries_alone
            what_has_been_due_longest_is_claimed_first
            what_is_claimed_is_claimed_by_nobody_else
            what_has_ended_is_not_claimed_again
            what_failed_is_claimed_again_once_its_wait_is_over
            what_is_given_back_has_cost_no_attempt
            a_lease_that_ran_out_is_claimed_as_interrupted_and_costs_one_attempt
            a_lease_that_is_extended_does_not_run_out
            who_has_lost_a_lease_can_write_nothing
            a_late_end_counts_while_nobody_else_has_claimed
            of_an_object_one_ordered_delivery_is_out_at_a_time
            an_older_one_that_comes_late_waits_for_the_one_that_is_out
            ordered_deliveries_go_by_age_and_then_as_they_came
            a_dead_letter_lets_the_next_of_its_object_go
            the_backlog_is_what_has_not_ended
            does_as_the_model_does
        }
    };
    ($subject:ty: $($promise:ident)+) => {
        $(
            #[tokio::test]
            async fn $promise() {
                #[allow(unused_imports)]
                use $crate::conformance::{
                    does_as_the_model_does, operates_as_the_model_does, promises::*,
                };
                if let Some(missing) = <$subject as $crate::conformance::Subject>::missing() {
                    return println!("passed over: {missing}");
                }
                let subject = <$subject as $crate::conformance::Subject>::fresh().await;
                $promise(&subject).await;
            }
        )+
    };
}

/// Makes a `#[tokio::test]` of each promise to whoever operates a store, for a
/// [`Subject`](crate::conformance::Subject) whose store has [`Operations`](crate::Operations).
#[macro_export]
macro_rules! operations_conformance {
    ($subject:ty) => {
        $crate::store_conformance! {
            $subject:
            a_status_counts_what_is_open_and_what_is_dead
            a_status_has_each_handler_that_has_had_a_delivery
            a_status_counts_what_waits_for_its_turn
            a_list_has_the_newest_first_in_pages
            a_list_is_of_what_is_asked_for
            all_that_is_kept_of_an_event_is_shown
            what_no_handler_was_for_is_listed_until_it_is_replayed
            what_is_dead_begins_anew_when_it_is_retried
            what_waits_is_due_at_once_when_it_is_retried
            what_runs_and_what_is_done_is_left_alone
            what_is_discarded_is_not_run
            what_nobody_runs_any_more_can_be_changed
            what_is_ordered_is_retried_in_its_place
            what_is_discarded_lets_the_next_of_its_object_go
            of_a_replayed_event_the_last_delivery_is_retried
            what_is_replayed_is_another_event
            a_replay_is_for_the_handlers_that_are_given
            what_cannot_be_replayed_is_said
            a_replay_stands_for_the_dead_letter
            a_replay_is_ordered_where_its_handler_is
            a_selection_is_of_the_events_that_came
            what_has_ended_long_ago_is_purged
            dead_letters_and_what_is_open_are_never_purged
            an_event_is_purged_with_all_of_its_replays
            nothing_is_purged_before_it_is_four_days_old
            workers_can_purge_too
            operates_as_the_model_does
        }
    };
}
