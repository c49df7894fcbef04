//! The service behind the endpoint: an inbox with a worker, or the router itself.

use std::error::Error;

use router_core::{
    BoxError, Event, Router,
    build::{RouterBuilder, Routes, StartupReport},
    endpoint::Answer,
    server::ShutdownSignal,
};
use router_inbox::{Inbox, JetStreamStore, PostgresStore, SqliteStore, Store};
use tokio::task::JoinHandle;
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use crate::options::InboxUrl;

/// The service behind the endpoint, and the task or router that runs the handlers.
pub(crate) struct Backend {
    pub(crate) service: BoxCloneSyncService<Event, Answer, BoxError>,
    pub(crate) report: StartupReport,
    pub(crate) routes: Routes,
    running: Running,
}

enum Running {
    Inline(Router),
    Worker(JoinHandle<()>),
}

impl Backend {
    /// Opens the store, if any, and starts the worker, which stops claiming at the signal.
    pub(crate) async fn start(
        router: RouterBuilder,
        url: &InboxUrl,
        shutdown: ShutdownSignal,
    ) -> Result<Self, Box<dyn Error>> {
        match url {
            InboxUrl::Off => Self::inline(router.build()?),
            InboxUrl::Sqlite(url) => Self::inbox(router, SqliteStore::open(url).await?, shutdown),
            InboxUrl::Postgres(url) => {
                Self::inbox(router, PostgresStore::connect(url).await?, shutdown)
            }
            InboxUrl::JetStream(url) => {
                Self::inbox(router, JetStreamStore::connect(url).await?, shutdown)
            }
        }
    }

    /// Runs the handlers within the request: Stripe waits for them.
    fn inline(router: Router) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            report: router.startup_report().clone(),
            routes: router.routes().clone(),
            service: BoxCloneSyncService::new(
                router.clone().map_response(Answer::from).map_err(BoxError::from),
            ),
            running: Running::Inline(router),
        })
    }

    /// Stores events within the request, and runs the handlers in a worker.
    fn inbox(
        router: RouterBuilder,
        store: impl Store,
        shutdown: ShutdownSignal,
    ) -> Result<Self, Box<dyn Error>> {
        let router = router.delivered_by(&store).build()?;
        let inbox = Inbox::new(store, router.clone());
        let worker = inbox.worker(router.clone()).run(shutdown);
        Ok(Self {
            report: router.startup_report().clone(),
            routes: router.routes().clone(),
            service: BoxCloneSyncService::new(
                inbox.map_response(Answer::from).map_err(BoxError::from),
            ),
            running: Running::Worker(tokio::spawn(worker)),
        })
    }

    /// Waits for the handlers in flight, including those of clients that disconnected.
    pub(crate) async fn stop(self) {
        match self.running {
            Running::Inline(router) => {
                router.close();
                router.drained().await;
            }
            Running::Worker(task) => {
                if let Err(error) = task.await {
                    tracing::error!(%error, "worker task failed; deliveries remain in the inbox until the next start");
                }
            }
        }
    }
}
