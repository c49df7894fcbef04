//! A process's local view of the open records, which follows the stream.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::jetstream::{Context, stream::Stream};
use router_core::clock::{Clock as _, SystemClock};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

use super::{
    connect::Address,
    open_records::OpenRecords,
    read::{self, ReadMessage, Reader},
    record::{Record, Stage},
    subjects::Subjects,
    time::{self, ServerTime},
};
use crate::StoreError;

/// The local view of the open records.
///
/// The view may be stale: other processes change records too, and their changes arrive here with a
/// delay. Decisions may be based on a stale view, because every write is a compare-and-set
/// on the revision that was seen (or on the last sequence of an object's open records).
pub(super) struct Mirror {
    shared: Arc<Shared>,
    follower: AbortHandle,
}

/// The state shared by the follower task and the store.
#[derive(Default)]
struct Shared {
    records: Mutex<OpenRecords>,
    progress: watch::Sender<Progress>,
    /// Notified when a message changes an open record in the view.
    wakeups: Notify,
}

/// The follower's position in the stream.
#[derive(Debug, Clone, Default)]
enum Progress {
    /// The follower still reads the records that existed when it started.
    #[default]
    Loading,
    /// All messages up to this sequence have been applied.
    CaughtUpTo(u64),
    /// The follower has failed, and restarts after [`RESTART_DELAY`].
    Failed(Arc<StoreError>),
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot follow the inbox's stream; retrying")]
struct FollowFailed(#[source] Arc<StoreError>);

/// Maximum time to wait until the view includes a message written by another process.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time to wait for the initial load of all open records.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
#[error("could not catch up with the inbox's stream within {0:?}")]
struct CatchUpTimeout(Duration);

/// Delay after a failure, before the follower restarts.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Minimum distance, in sequences, between sweeps that drop tombstones from the view.
const TOMBSTONE_SWEEP_INTERVAL: u64 = 1_000;

impl Mirror {
    /// Spawns the task that follows the stream. The task is aborted when the mirror is dropped.
    pub(super) fn start(
        jetstream: Context,
        stream: Stream,
        address: Address,
        subjects: &Subjects,
        time: Arc<ServerTime>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let follower = Follower {
            shared: shared.clone(),
            jetstream,
            address,
            stream,
            subjects: subjects.records(Stage::Open),
            time,
        };
        Self { shared, follower: tokio::spawn(follower.run()).abort_handle() }
    }

    /// Locks the view.
    pub(super) fn records(&self) -> MutexGuard<'_, OpenRecords> {
        self.shared.records()
    }

    /// Waits until the view includes all messages up to `sequence`; 0 waits for the initial load.
    ///
    /// # Errors
    ///
    /// Fails if the stream cannot be followed at the moment, or if the view does not catch up
    /// within [`CATCH_UP_TIMEOUT`] ([`LOAD_TIMEOUT`] for the initial load).
    pub(super) async fn wait_for_sequence(&self, sequence: u64) -> Result<(), StoreError> {
        let mut progress = self.shared.progress.subscribe();
        let caught_up = async {
            let is_settled = |progress: &Progress| match progress {
                Progress::Loading => false,
                Progress::CaughtUpTo(last) => *last >= sequence,
                Progress::Failed(_) => true,
            };
            match progress.wait_for(is_settled).await.map(|progress| progress.clone()) {
                Ok(Progress::Failed(error)) => Err(StoreError::unavailable(FollowFailed(error))),
                _ => Ok(()),
            }
        };
        let timeout = if sequence == 0 { LOAD_TIMEOUT } else { CATCH_UP_TIMEOUT };
        tokio::select! {
            result = caught_up => result,
            () = SystemClock.sleep(timeout) => Err(StoreError::busy(CatchUpTimeout(timeout))),
        }
    }

    /// Waits until an open record may have changed. A change wakes one waiter. Cancel safe.
    pub(super) async fn changed(&self) {
        self.shared.wakeups.notified().await;
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, OpenRecords> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The background task that applies the stream's messages to the view.
struct Follower {
    shared: Arc<Shared>,
    jetstream: Context,
    stream: Stream,
    address: Address,
    /// The filter for the subjects of open records.
    subjects: String,
    time: Arc<ServerTime>,
}

impl Follower {
    /// Follows the stream forever, and restarts after each failure.
    async fn run(self) {
        let client = self.jetstream.client();
        loop {
            let followed = self.address.unless_disconnected(&client, self.follow()).await;
            let error = match followed {
                Ok(Err(error)) => error,
                Err(error) => StoreError::unavailable(error),
            };
            tracing::debug!(%error, "stopped following the inbox's stream; restarting");
            self.shared.progress.send_replace(Progress::Failed(Arc::new(error)));
            SystemClock.sleep(RESTART_DELAY).await;
        }
    }

    /// Loads the existing open records, then applies new messages until reading fails.
    async fn follow(&self) -> Result<std::convert::Infallible, StoreError> {
        let last_in_stream =
            read::sync_time(&self.jetstream, &self.address.name, &self.time).await?;
        let mut reader = Reader::new(&self.stream, vec![self.subjects.clone()], false).await?;
        let (mut present, mut last) = (BTreeSet::new(), 0);
        while let Some(message) = reader.next_existing().await? {
            last = message.sequence;
            self.apply(&message);
            present.insert(message.subject);
        }
        // After a restart the view may contain records that are gone from the stream. Records that
        // were not read are therefore removed, with two exceptions. A record newer than the end of
        // the stream when loading began may have been written since. A record newer than the last
        // message read may be missing because the reader's replica lags behind the leader.
        self.shared.records().retain_present(&present, last.min(last_in_stream));
        drop(present);
        self.shared.progress.send_replace(Progress::CaughtUpTo(last));
        // Records may have changed while the stream was not followed.
        self.shared.wakeups.notify_one();
        let mut last_sweep = last;
        let mut next_sync = SystemClock.sleep(time::SYNC_INTERVAL);
        loop {
            tokio::select! {
                message = reader.next() => {
                    let message = message?;
                    self.apply(&message);
                    last = message.sequence;
                    self.shared.progress.send_replace(Progress::CaughtUpTo(last));
                    if last > last_sweep + TOMBSTONE_SWEEP_INTERVAL {
                        self.shared.records().drop_tombstones(last);
                        last_sweep = last;
                    }
                }
                () = &mut next_sync => {
                    read::sync_time(&self.jetstream, &self.address.name, &self.time).await?;
                    next_sync = SystemClock.sleep(time::SYNC_INTERVAL);
                }
            }
        }
    }

    /// Applies a message of the stream to the view, and wakes a waiter if this changed the view.
    fn apply(&self, message: &ReadMessage) {
        let record = match Record::from_message(&message.payload, message.sequence) {
            Ok(record) => record,
            Err(error) => {
                return tracing::error!(
                    subject = message.subject, sequence = message.sequence, %error,
                    "cannot read a record in the inbox's stream; the deliveries of its event will \
                     not run, so check whether another program or version writes to the stream"
                );
            }
        };
        if self.shared.records().put(&message.subject, message.sequence, record) {
            self.shared.wakeups.notify_one();
        }
    }
}
