//! What other processes have stored is heard of, as long as there is a connection.

use std::{convert::Infallible, sync::Arc, time::Duration};

use router_core::clock::{Clock as _, SystemClock};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::{sync::Notify, task::JoinSet};

/// Listens in a task of its own: who waits may cease to at any time, and would otherwise have to connect anew.
pub(super) struct Listener {
    heard: Arc<Notify>,
    /// Ends with this.
    _task: JoinSet<()>,
}

/// How long until it is tried again to connect. Nothing is lost meanwhile: what is stored is found without this.
const PAUSE: Duration = Duration::from_secs(1);

impl Listener {
    /// Listens for what any other store than this one, by its name, has stored.
    pub(super) fn start(options: PgConnectOptions, channel: String, store: String) -> Self {
        let heard = Arc::new(Notify::new());
        let mut task = JoinSet::new();
        let tell = heard.clone();
        task.spawn(async move {
            loop {
                let Err(_) = listen(&options, &channel, &store, &tell).await;
                SystemClock.sleep(PAUSE).await;
            }
        });
        Self { heard, _task: task }
    }

    /// Waits until something was heard since this was last told.
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }
}

async fn listen(
    options: &PgConnectOptions,
    channel: &str,
    store: &str,
    heard: &Notify,
) -> sqlx::Result<Infallible> {
    // Of its own: it would keep one of the others for ever.
    let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let pool = pool.connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(channel).await?;
    loop {
        // Also whenever it listens anew: nobody knows what was stored before.
        heard.notify_one();
        while listener.try_recv().await?.is_some_and(|told| told.payload() == store) {}
    }
}
