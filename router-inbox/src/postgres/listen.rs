//! Listens for notifications of events stored by other processes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use router_core::clock::{Clock as _, SystemClock};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::{sync::Notify, task::JoinSet};

/// A task that listens for notifications. It is a task of its own because callers may cancel their
/// wait at any time, which would otherwise drop the connection.
pub(super) struct Listener {
    wakeups: Arc<Notify>,
    /// Aborted when the listener is dropped.
    _task: JoinSet<()>,
}

/// Delay before reconnecting. No event is lost meanwhile, because workers poll too.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

impl Listener {
    /// Starts to listen on the channel, ignoring notifications with the payload `store`, the
    /// store's own name.
    pub(super) fn start(options: PgConnectOptions, channel: String, store: String) -> Self {
        let wakeups = Arc::new(Notify::new());
        let mut task = JoinSet::new();
        let task_wakeups = wakeups.clone();
        task.spawn(async move {
            loop {
                let Err(_) = listen(&options, &channel, &store, &task_wakeups).await;
                SystemClock.sleep(RECONNECT_DELAY).await;
            }
        });
        Self { wakeups, _task: task }
    }

    /// Waits for a notification since the last call returned. Cancel safe.
    pub(super) async fn notified(&self) {
        self.wakeups.notified().await;
    }
}

async fn listen(
    options: &PgConnectOptions,
    channel: &str,
    store: &str,
    wakeups: &Notify,
) -> sqlx::Result<Infallible> {
    // A separate pool: the listener would hold one of the store's connections forever.
    let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let pool = pool.connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(channel).await?;
    loop {
        // Also after each reconnect: events may have been stored while the connection was lost.
        wakeups.notify_one();
        while listener.try_recv().await?.is_some_and(|sent| sent.payload() == store) {}
    }
}
