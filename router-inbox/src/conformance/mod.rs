//! The test suite for implementations of [`Store`], including your own (feature `conformance`).
//!
//! ```
//! use router_core::{clock::{Clock as _, SystemClock}, testing::ManualClock};
//! use router_inbox::conformance::{MemoryStore, Subject};
//!
//! /// A new store, and the clock it uses.
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
//!     async fn reopen(&self) -> MemoryStore {
//!         self.0.clone()
//!     }
//!
//!     async fn pass(&self, time: std::time::Duration) {
//!         self.1.advance(time);
//!     }
//! }
//!
//! // Expands to a `#[tokio::test]` for each promise. Needs tokio's feature `rt-multi-thread`.
//! router_inbox::store_conformance!(InMemory);
//! # fn main() {}
//! ```

#![expect(clippy::missing_panics_doc, reason = "a broken promise is reported by a panic")]

mod model;
pub mod promises;
mod random;
mod random_operations;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{
    model::MemoryStore, random::random_workload_matches_model,
    random_operations::random_operations_match_model,
};
use crate::Store;

/// A store under test, and control over its clock.
#[async_trait]
pub trait Subject: Sized + Send + Sync {
    /// The type of the store.
    type Store: Store;

    /// Returns what this machine lacks to test the store, such as a server. The tests are then
    /// skipped with a message.
    fn missing() -> Option<String> {
        None
    }

    /// Creates an empty store that no other test uses. Its clock may start at any time.
    async fn fresh() -> Self;

    /// Returns the store.
    fn store(&self) -> &Self::Store;

    /// Opens the same store again, as another process would. A store that only one process can use
    /// returns a clone that shares its data.
    async fn reopen(&self) -> Self::Store;

    /// Returns whether [`Store::notified`] notifies of changes by other processes. The default is
    /// `false`, like that of [`Store::notified`]; the tests of notifications are then skipped.
    ///
    /// The first call of `notified` must complete once the store can be notified.
    fn notifies() -> bool {
        false
    }

    /// Advances the store's clock.
    ///
    /// The clock may also run by itself in real time: the tests tolerate a deviation of a few
    /// seconds.
    async fn pass(&self, time: Duration);

    /// Sets the store's clock back, as an operator of its machine may do, and returns `true`.
    ///
    /// Returns `false`, the default, if the clock cannot be set back. The tests that need it are
    /// then skipped.
    async fn set_back(&self, time: Duration) -> bool {
        let _ = time;
        false
    }
}

/// A store under test, with control over its server. No other test may use the server.
#[async_trait]
pub trait ServerSubject: Subject {
    /// Returns the server's address, which errors must contain while the server is unavailable.
    fn address(&self) -> String;

    /// Shuts the server down.
    async fn stop(&self);

    /// Kills the server, as a crash would.
    async fn kill(&self);

    /// Starts the server again, at the same address and with the same data.
    async fn start(&self);
}

/// Expands to a `#[tokio::test]` for each promise of a [`Store`](crate::Store), run on a
/// [`Subject`](crate::conformance::Subject).
#[macro_export]
macro_rules! store_conformance {
    ($subject:ty) => {
        $crate::store_conformance! {
            $subject:
            event_stored_again_is_duplicate
            event_key_includes_endpoint_account_generation
            unhandled_event_is_stored_but_not_claimable
            claimed_event_equals_stored_event
            claim_respects_limits
            claim_skips_other_handlers
            claim_takes_longest_due_first
            claim_is_spread_over_handlers
            leased_delivery_is_not_claimable
            finished_delivery_is_not_claimable
            failed_delivery_is_claimable_after_backoff
            released_delivery_costs_no_attempt
            expired_lease_costs_one_attempt
            extended_lease_does_not_expire
            lost_lease_cannot_write
            expired_lease_completes_if_not_reclaimed
            ordered_lane_runs_one_delivery_at_a_time
            late_older_event_waits_for_delivery_in_flight
            ordered_lane_runs_by_age_then_arrival
            dead_letter_unblocks_lane
            newest_lane_outdates_older_events
            newest_lane_runs_ties
            newest_lane_runs_event_without_time
            newest_lane_is_not_held_by_failures
            redelivery_leaves_unfinished_and_done_unchanged
            dead_letter_restarts_if_redelivered_before
            duplicate_before_dead_letter_changes_nothing
            redelivery_restarts_dead_letter
            redelivery_adds_new_handler
            redelivery_recognizes_former_name
            restarted_dead_letter_keeps_its_place
            event_of_other_type_is_new
            test_event_is_never_duplicate
            thin_event_and_snapshot_are_one_event
            duplicate_thin_event_is_found_by_its_id
            redelivery_applies_to_latest_generation
            ordered_objects_without_id_wait_for_same_owner
            backlog_counts_unfinished_deliveries
            backlog_states_age_of_oldest_due_delivery
            reported_worker_is_listed_until_its_ttl_ends
            worker_reported_with_zero_ttl_is_removed
            worker_report_replaces_the_earlier_one
            claim_has_trace_parent_of_first_request
            later_costs_no_attempt
            claim_states_total_of_later_waits
            later_delivery_holds_its_lane
            later_out_of_order_takes_last_place
            later_out_of_order_runs_by_due_time
            later_out_of_order_keeps_place_in_newest_lane
            later_with_lost_lease_changes_nothing
            clock_set_back_delays_no_stored_event
            clock_set_back_while_stopped_delays_no_event
            clock_set_back_keeps_delays_and_leases
            event_with_any_text_is_stored
            different_events_are_no_duplicates
            longest_durations_are_accepted
            large_batch_is_stored_and_completed
            reopened_store_has_stored_events
            concurrent_duplicates_are_stored_once
            concurrent_twins_are_one_event
            concurrent_redeliveries_restart_dead_letter_once
            concurrent_claims_never_share_a_delivery
            concurrent_completions_of_one_event_are_recorded
            late_completion_loses_to_later_claim
            one_ordered_delivery_runs_per_object
            event_stored_by_other_process_notifies
            random_workload_matches_model
        }
    };
    ($subject:ty: $($promise:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $promise() {
                #[allow(unused_imports)]
                use $crate::conformance::{
                    random_workload_matches_model, random_operations_match_model, promises::*,
                };
                if let Some(missing) = <$subject as $crate::conformance::Subject>::missing() {
                    return println!("skipped: {missing}");
                }
                let subject = <$subject as $crate::conformance::Subject>::fresh().await;
                $promise(&subject).await;
            }
        )+
    };
}

/// Expands to a `#[tokio::test]` for each promise of [`Operations`](crate::store::Operations), run
/// on a [`Subject`](crate::conformance::Subject) whose store implements them.
#[macro_export]
macro_rules! operations_conformance {
    ($subject:ty) => {
        $crate::store_conformance! {
            $subject:
            status_counts_open_and_dead_deliveries
            status_lists_handlers_without_open_deliveries
            status_counts_blocked_deliveries_as_waiting
            status_has_oldest_due_and_workers
            list_is_paged_newest_first
            list_applies_filters
            list_finds_objects_by_identity
            show_returns_all_stored_data
            event_is_shown_by_each_received_id
            unhandled_event_is_listed_until_replayed
            retried_dead_letter_starts_over
            retried_waiting_delivery_is_due_at_once
            retry_and_discard_skip_running_and_done
            discarded_delivery_is_not_claimable
            delivery_with_expired_lease_can_be_changed
            retried_ordered_delivery_keeps_its_place
            discard_unblocks_lane
            retry_applies_to_latest_generation
            filters_by_error_age_and_id_apply
            selected_deliveries_are_changed
            delivery_changed_since_selected_is_left
            superseded_delivery_is_not_retried
            large_selection_is_changed
            concurrent_changes_apply_once
            replay_creates_new_generation
            replay_is_for_given_handlers
            replay_has_payload_of_latest_delivery
            replay_reports_events_not_replayed
            replay_discards_superseded_dead_letter
            replay_is_ordered_if_handler_is
            select_skips_replays
            purge_deletes_long_finished_events
            purge_keeps_dead_letters_and_open_deliveries
            purge_deletes_all_generations_together
            purge_enforces_min_retention
            erased_event_has_no_payload_and_no_error
            unfinished_event_is_not_erased
            erased_event_cannot_be_retried_or_replayed
            redelivery_brings_no_erased_payload_back
            select_finds_events_about_and_mentioning_an_object
            concurrent_replay_does_not_bring_erased_payload_back
            store_exposes_operations_to_workers
            event_with_any_text_supports_operations
            longest_durations_are_accepted_by_operations
            large_batch_is_counted_and_listed
            operations_on_busy_store_keep_promises
            concurrent_replays_each_store_a_generation
            late_completion_outdates_older_event
            change_by_operator_notifies
            paused_handler_is_listed_until_resumed
            second_pause_keeps_the_time
            resume_of_handler_not_paused_changes_nothing
            pause_affects_no_delivery
            concurrent_pauses_are_all_stored
            checkpoint_has_the_latest_value
            checkpoints_with_unusual_names_are_distinct
            checkpoint_limits_are_enforced
            checkpoint_survives_erase_and_purge
            concurrent_checkpoint_writers_leave_one_value
            history_has_each_attempt
            history_has_the_only_attempt
            released_attempt_is_not_in_history
            crashed_attempt_has_its_own_worker
            lost_lease_changes_no_history
            history_has_the_latest_attempts
            delivery_that_starts_over_keeps_its_history
            attempt_abandoned_by_operator_is_in_history
            history_can_have_any_text
            clock_set_back_makes_no_duration_negative
            random_operations_match_model
        }
    };
}

/// Expands to a `#[tokio::test]` for each promise of a store whose server becomes unavailable, run
/// on a [`ServerSubject`](crate::conformance::ServerSubject).
#[macro_export]
macro_rules! outage_conformance {
    ($subject:ty) => {
        $crate::store_conformance! {
            $subject:
            unavailable_server_fails_soon_and_is_reused
            acknowledged_events_survive_killed_server
        }
    };
}
