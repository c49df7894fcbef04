//! The service behind the endpoint: an inbox with a worker, or the router itself.

use std::{error::Error, future::Future};

use router_core::{
    BoxError, Event, Router,
    build::{RouterBuilder, Routes, StartupReport},
    endpoint::Answer,
    health::HealthEndpoint,
    server::ShutdownSignal,
};
use router_inbox::{
    Inbox, JetStreamStore, PostgresStore, SqliteStore, Store, health::WorkerHealth,
};
use tokio::task::{JoinError, JoinHandle};
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use crate::{
    options::{InboxUrl, MailOptions},
    shop_setup::{Shop, without_shop},
};

/// The service behind the endpoint.
pub(crate) type Service = BoxCloneSyncService<Event, Answer, BoxError>;

/// The service behind the endpoint, and the task or router that runs the handlers.
pub(crate) struct Backend {
    pub(crate) service: Service,
    pub(crate) report: StartupReport,
    pub(crate) routes: Routes,
    /// Answers `/healthz` and `/readyz`.
    pub(crate) health: HealthEndpoint,
    /// The shop, if the inbox is in SQLite or PostgreSQL.
    pub(crate) shop: Option<Shop>,
    shutdown: ShutdownSignal,
    running: Running,
}

enum Running {
    Inline(Router),
    Worker { task: JoinHandle<()>, health: WorkerHealth },
}

impl Backend {
    /// Opens the store, if any, and starts the worker, which stops claiming at the signal. If the
    /// store is SQLite or PostgreSQL, creates the shop's tables, and adds its handlers.
    pub(crate) async fn start(
        router: RouterBuilder,
        url: &InboxUrl,
        mail: &MailOptions,
        shutdown: ShutdownSignal,
    ) -> Result<Self, Box<dyn Error>> {
        match url {
            InboxUrl::Off => Ok(Self::inline(without_shop(router).build()?, shutdown)),
            InboxUrl::Sqlite(url) => {
                let store = SqliteStore::open(url).await?;
                let shop = Shop::in_sqlite(url, mail.mailer()?).await?;
                let backend = Self::inbox(shop.add_handlers(router), store, shutdown)?;
                Ok(Self { shop: Some(shop), ..backend })
            }
            InboxUrl::Postgres(url) => {
                let store = PostgresStore::connect(url).await?;
                let shop = Shop::in_postgres(url, mail.mailer()?).await?;
                let backend = Self::inbox(shop.add_handlers(router), store, shutdown)?;
                Ok(Self { shop: Some(shop), ..backend })
            }
            InboxUrl::JetStream(url) => {
                let store = JetStreamStore::connect(url).await?;
                Self::inbox(without_shop(router), store, shutdown)
            }
        }
    }

    /// Runs the handlers within the request: Stripe waits for them.
    fn inline(router: Router, shutdown: ShutdownSignal) -> Self {
        Self {
            report: router.startup_report().clone(),
            routes: router.routes().clone(),
            service: BoxCloneSyncService::new(
                router.clone().map_response(Answer::from).map_err(BoxError::from),
            ),
            health: HealthEndpoint::new().shutdown(shutdown.clone()),
            shop: None,
            shutdown,
            running: Running::Inline(router),
        }
    }

    /// Stores events within the request, and runs the handlers in a worker.
    fn inbox(
        router: RouterBuilder,
        store: impl Store,
        shutdown: ShutdownSignal,
    ) -> Result<Self, Box<dyn Error>> {
        let router = router.delivered_by(&store).build()?;
        let inbox = Inbox::new(store, router.clone());
        let worker = inbox.worker(router.clone());
        let worker_health = worker.health();
        Ok(Self {
            report: router.startup_report().clone(),
            routes: router.routes().clone(),
            health: HealthEndpoint::new().check(inbox.health()).check(worker.health()),
            service: BoxCloneSyncService::new(
                inbox.map_response(Answer::from).map_err(BoxError::from),
            ),
            shop: None,
            running: Running::Worker {
                task: tokio::spawn(worker.run(shutdown.clone())),
                health: worker_health,
            },
            shutdown,
        })
    }

    /// Returns a future that completes at the signal to shut down, or if the worker ends without
    /// the signal: the server must not go on to accept events that no worker handles.
    pub(crate) fn must_stop(&self) -> impl Future<Output = ()> + Send + use<> {
        let signal = self.shutdown.clone();
        let worker = match &self.running {
            Running::Inline(_) => None,
            Running::Worker { health, .. } => Some(health.lost()),
        };
        async {
            match worker {
                None => signal.await,
                Some(lost) => tokio::select! {
                    () = signal => {}
                    () = lost => {}
                },
            }
        }
    }

    /// Waits for the handlers in flight, including those of clients that disconnected.
    ///
    /// # Errors
    ///
    /// Fails if the worker's task panicked or was aborted. The worker has logged an error.
    pub(crate) async fn stop(self) -> Result<(), JoinError> {
        match self.running {
            Running::Inline(router) => {
                router.close();
                router.drained().await;
                Ok(())
            }
            Running::Worker { task, .. } => task.await,
        }
    }

    #[cfg(test)]
    pub(crate) fn abort_worker(&self) {
        let Running::Worker { task, .. } = &self.running else { panic!("the backend is inline") };
        task.abort();
    }
}
