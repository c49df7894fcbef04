//! Follows the stream, so that what is open is known here.

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
    about::Subjects,
    connect::Place,
    open::Open,
    read::{self, Read, Reader},
    record::{Record, Stage},
    time::{self, ServerTime},
};
use crate::StoreError;

/// What is open, as far as this process has heard. It is never wrong for long, and every write says what it was
/// decided by.
pub(super) struct Mirror {
    heard: Arc<Heard>,
    follower: AbortHandle,
}

#[derive(Default)]
struct Heard {
    open: Mutex<Open>,
    progress: watch::Sender<Progress>,
    /// That others have made something due.
    news: Notify,
}

/// How far the stream is followed.
#[derive(Debug, Clone, Default)]
enum Progress {
    /// What there is, is being read.
    #[default]
    Loading,
    /// All until this message is known.
    Until(u64),
    Failed(Arc<StoreError>),
}

#[derive(Debug, Clone, thiserror::Error)]
#[error("what is in the inbox's stream cannot be read; trying again")]
struct Deaf(#[source] Arc<StoreError>);

/// How long is waited for what others have written, and how long for all that is open.
const PATIENCE: Duration = Duration::from_secs(5);
const LOADING: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
#[error("what is in the inbox's stream could not be read within {0:?}")]
struct TooSlow(Duration);

/// How long after a failure it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Of how many messages those of what moved elsewhere are kept.
const FORGET: u64 = 1_000;

impl Mirror {
    pub(super) fn start(
        jetstream: Context,
        stream: Stream,
        place: Place,
        subjects: &Subjects,
        time: Arc<ServerTime>,
    ) -> Self {
        let heard = Arc::new(Heard::default());
        let follower = Follower {
            heard: heard.clone(),
            jetstream,
            place,
            stream,
            subjects: subjects.records(Stage::Open),
            time,
        };
        let follower = tokio::spawn(follower.run()).abort_handle();
        Self { heard, follower }
    }

    pub(super) fn open(&self) -> MutexGuard<'_, Open> {
        self.heard.open()
    }

    /// Waits until all until this message is known here, and with 0 until what there was is.
    pub(super) async fn heard(&self, sequence: u64) -> Result<(), StoreError> {
        let mut progress = self.heard.progress.subscribe();
        let heard = async {
            let is_known = |progress: &Progress| match progress {
                Progress::Loading => false,
                Progress::Until(last) => *last >= sequence,
                Progress::Failed(_) => true,
            };
            match progress.wait_for(is_known).await.map(|progress| progress.clone()) {
                Ok(Progress::Failed(error)) => Err(StoreError::of(Deaf(error))),
                _ => Ok(()),
            }
        };
        let patience = if sequence == 0 { LOADING } else { PATIENCE };
        tokio::select! {
            heard = heard => heard,
            () = SystemClock.sleep(patience) => Err(StoreError::of(TooSlow(patience))),
        }
    }

    pub(super) async fn news(&self) {
        self.heard.news.notified().await;
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Heard {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Follower {
    heard: Arc<Heard>,
    jetstream: Context,
    stream: Stream,
    place: Place,
    subjects: String,
    time: Arc<ServerTime>,
}

impl Follower {
    async fn run(self) {
        loop {
            let followed = self.place.unless_lost(self.follow()).await;
            let error = match followed {
                Ok(Err(error)) => error,
                Err(error) => StoreError::of(error),
            };
            tracing::debug!(%error, "reading the inbox's stream anew");
            self.heard.progress.send_replace(Progress::Failed(Arc::new(error)));
            SystemClock.sleep(PAUSE).await;
        }
    }

    /// Reads what there is, and then what comes, until that fails.
    async fn follow(&self) -> Result<std::convert::Infallible, StoreError> {
        let before = read::ask_time(&self.jetstream, &self.place.name, &self.time).await?;
        let mut reader = Reader::of(&self.stream, vec![self.subjects.clone()], false).await?;
        // Nothing is known until a message but what was read: the replica that sends it may be behind.
        let (mut there, mut last) = (BTreeSet::new(), 0);
        while let Some(read) = reader.next_there().await? {
            last = read.sequence;
            self.hear(&read);
            there.insert(read.subject);
        }
        self.heard.open().keep(&there, last.min(before));
        drop(there);
        self.heard.progress.send_replace(Progress::Until(last));
        // For what was stored while nobody listened.
        self.heard.news.notify_one();
        let mut forgotten = last;
        let mut ask = SystemClock.sleep(time::EVERY);
        loop {
            tokio::select! {
                read = reader.next() => {
                    let read = read?;
                    self.hear(&read);
                    last = read.sequence;
                    self.heard.progress.send_replace(Progress::Until(last));
                    if last > forgotten + FORGET {
                        self.heard.open().forget_moved(last);
                        forgotten = last;
                    }
                }
                () = &mut ask => {
                    read::ask_time(&self.jetstream, &self.place.name, &self.time).await?;
                    ask = SystemClock.sleep(time::EVERY);
                }
            }
        }
    }

    fn hear(&self, read: &Read) {
        let record = match Record::read(&read.payload, read.sequence) {
            Ok(record) => record,
            Err(error) => {
                return tracing::error!(
                    subject = read.subject, sequence = read.sequence, %error,
                    "a record of the inbox cannot be read, so its handlers are not run: something else has written it"
                );
            }
        };
        if self.heard.open().put(&read.subject, read.sequence, record) {
            self.heard.news.notify_one();
        }
    }
}
