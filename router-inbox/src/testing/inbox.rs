//! [`TestInbox`], an inbox behind an endpoint, with a worker that a test runs.

use std::{
    fmt::{self, Display},
    future::Future,
    panic::Location,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use router_core::{
    Endpoint,
    build::{BuildError, DeliveryRouterBuilder},
    clock::Clock as _,
    testing::{ManualClock, Payload, TestRouter},
};
use tokio::sync::mpsc;

#[cfg(feature = "sqlite")]
use super::sqlite::TestFile;
use super::{
    AttemptReport, InboxResponse,
    attempts::{AttemptLog, Crash, ReportingRouter},
};
#[cfg(feature = "sqlite")]
use crate::SqliteStore;
use crate::{
    Inbox, Store,
    operations::ListFilter,
    store::{DeliveryState, StoredDelivery},
};

/// An [`Inbox`] behind an [`Endpoint`], as in production, with a clock that the test moves and a
/// worker that the test runs.
///
/// Events are signed, sent as requests, verified, stored and delivered. Only the socket is missing.
/// The [module](super) has an example of each kind of test.
pub struct TestInbox<#[cfg(feature = "sqlite")] S = SqliteStore, #[cfg(not(feature = "sqlite"))] S>
{
    sender: TestRouter<Inbox<S>>,
    inbox: Inbox<S>,
    attempts: AttemptLog,
    #[cfg(feature = "sqlite")]
    pub(super) file: TestFile,
}

impl<S: Store> TestInbox<S> {
    /// Creates an inbox on any store, for the router `router.delivered_by(&store)`. The router, the
    /// endpoint, the inbox and its workers use this clock.
    ///
    /// The store must use the same clock for [`run_for`](Self::run_for), and for leases to expire:
    /// `SqliteStore::options().clock(clock.clone())`, and likewise for a `JetStreamStore`. A test
    /// cannot move the clock of a PostgreSQL server.
    ///
    /// # Errors
    ///
    /// Fails if the router cannot be built. [`BuildError`] lists every problem.
    pub fn with_store(
        router: DeliveryRouterBuilder,
        store: S,
        clock: ManualClock,
    ) -> Result<Self, BuildError> {
        let inbox = inbox(router, store, &clock)?;
        let sender = TestRouter::with_service(inbox.clone(), clock);
        Ok(Self::from_parts(sender, inbox, AttemptLog::default()))
    }

    /// Restarts the process on a store that the caller has opened again, like
    /// [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// Fails if the router cannot be built. [`BuildError`] lists every problem.
    pub fn restart_with(self, router: DeliveryRouterBuilder, store: S) -> Result<Self, BuildError> {
        let inbox = inbox(router, store, self.clock())?;
        let sender = self.sender.map_service(|_| inbox.clone());
        let restarted = Self::from_parts(sender, inbox, self.attempts);
        #[cfg(feature = "sqlite")]
        let restarted = Self { file: self.file.reopened(), ..restarted };
        Ok(restarted)
    }

    fn from_parts(sender: TestRouter<Inbox<S>>, inbox: Inbox<S>, attempts: AttemptLog) -> Self {
        Self {
            sender,
            inbox,
            attempts,
            #[cfg(feature = "sqlite")]
            file: TestFile::default(),
        }
    }

    /// Sets the name of the endpoint that events are delivered to, for handlers with
    /// `endpoint = "…"`.
    #[must_use]
    pub fn named(self, endpoint: &str) -> Self {
        Self { sender: self.sender.named(endpoint), ..self }
    }

    /// Configures the endpoint, as in production: `|endpoint| endpoint.require_api_version(…)`.
    #[must_use]
    pub fn endpoint(
        self,
        configure: impl FnOnce(Endpoint<Inbox<S>>) -> Endpoint<Inbox<S>>,
    ) -> Self {
        Self { sender: self.sender.endpoint(configure), ..self }
    }

    /// Returns the clock, to advance it: `shop.clock().advance(Duration::from_secs(30))`.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        self.sender.clock()
    }

    /// Returns the store, to inspect or to operate on it: `shop.store().retry("evt_1", None)`.
    #[must_use]
    pub fn store(&self) -> &Arc<S> {
        self.inbox.store()
    }

    /// Returns the inbox, for example to run a worker with other settings.
    #[must_use]
    pub fn inbox(&self) -> &Inbox<S> {
        &self.inbox
    }

    /// Signs an event, sends it, and waits for the answer. The event's handlers run later.
    ///
    /// While the answer waits for a handler with `answer_after`, a worker runs until it is idle.
    /// Then the answer stops waiting, even if a retry is due later.
    ///
    /// Takes a [`SyntheticEvent`](router_core::testing::SyntheticEvent) or a [`Payload`], or a
    /// `&Payload` to deliver the same event again.
    ///
    /// # Panics
    ///
    /// Panics if the synthetic event cannot be built, because its type or a field does not exist.
    #[track_caller]
    pub fn deliver<E>(&self, event: E) -> impl Future<Output = InboxResponse> + Send + use<E, S>
    where
        E: TryInto<Payload, Error: Display>,
    {
        let response = self.sender.deliver(event);
        let (inbox, log) = (self.inbox.clone(), self.attempts.clone());
        async move {
            // Held until the worker has ended, because the answer waits only while there is one.
            let claiming = inbox.answers().add_worker();
            let mut response = pin!(response);
            tokio::select! {
                biased;
                response = &mut response => return InboxResponse(response),
                () = inbox.answers().any_waits() => {}
            }
            // In a task, so that the worker goes on if `answer_after` is over first.
            let worker = run_until_idle(&inbox, log, None);
            tokio::spawn(async move {
                worker.await;
                drop(claiming);
            });
            InboxResponse(response.await)
        }
    }

    /// Runs a worker until no delivery is due or in flight. Does not wait for scheduled retries.
    ///
    /// Not cancel safe: if the future is dropped, the handlers in flight are aborted as in a crash.
    pub fn run_until_idle(&self) -> impl Future<Output = ()> + Send + use<S> {
        run_until_idle(&self.inbox, self.attempts.clone(), None)
    }

    /// Simulates a crash of the process in the next attempt of this handler: drops a worker after
    /// the handler has returned and before its outcome is committed.
    ///
    /// Other attempts in flight are lost too. Each lost attempt counts as failed when its lease
    /// expires. Until then, no worker runs these deliveries.
    ///
    /// # Panics
    ///
    /// Panics if there is no such handler, or if none of its deliveries is due.
    #[track_caller]
    pub fn crash_in(&self, handler: &str) -> impl Future<Output = ()> + Send + use<S> {
        let (caller, handler) = (Location::caller(), self.current_name(handler));
        let (sender, mut reached) = mpsc::channel(1);
        let crash = Crash { handler: handler.clone(), reached: sender };
        let worker = run_until_idle(&self.inbox, self.attempts.clone(), Some(crash));
        async move {
            tokio::select! {
                biased;
                Some(()) = reached.recv() => {}
                () = worker => panic!("{caller}: no delivery for `{handler}` was due"),
            }
            // The attempts are dropped by their own tasks.
            while reached.recv().await.is_some() {}
        }
    }

    /// Advances the clock by this duration, in steps: to each time at which a retry becomes due or
    /// a lease expires. Runs a worker until it is idle before each step, and at the end.
    ///
    /// # Panics
    ///
    /// Panics if the store does not answer or has no [`Operations`](crate::store::Operations).
    pub async fn run_for(&self, duration: Duration) {
        let end = self.clock().wall() + duration;
        loop {
            self.run_until_idle().await;
            let now = self.clock().wall();
            let next = self.next_due(now).await.unwrap_or(end).min(end);
            match next.duration_since(now) {
                Ok(wait) if !wait.is_zero() => self.clock().advance(wait),
                _ => return,
            }
        }
    }

    /// Returns the first time after `now` at which a delivery becomes due or a lease expires.
    async fn next_due(&self, now: SystemTime) -> Option<SystemTime> {
        let states = vec![DeliveryState::Waiting, DeliveryState::Running];
        let filter = ListFilter { states, limit: usize::MAX, ..ListFilter::default() };
        let store = self.store().operations().expect("store has operations");
        let entries = store.list(&filter).await.expect("store is available");
        let due = entries.iter().filter_map(|entry| entry.delivery.as_ref()?.due);
        due.filter(|due| *due > now).min()
    }

    /// Returns the attempts of the handler with this stable or former name, in the order in which
    /// they ended. They survive a [restart](Self::restart).
    ///
    /// # Panics
    ///
    /// Panics if there is no such handler. The message has the names of all handlers.
    #[track_caller]
    #[must_use]
    pub fn attempts(&self, handler: &str) -> Vec<AttemptReport> {
        self.attempts.of_handler(&self.current_name(handler))
    }

    /// Returns the stable name of the handler with this stable or former name. After a restart, a
    /// handler of an earlier router that has attempts exists as well.
    #[track_caller]
    fn current_name(&self, name: &str) -> Arc<str> {
        let router = self.inbox.router();
        if let Some(handler) = router.handler(name) {
            return handler.name.clone();
        }
        if self.attempts.of_handler(name).is_empty() {
            let names: Vec<_> = router.handlers().iter().map(|handler| &*handler.name).collect();
            panic!("no handler is named `{name}`; handlers: {names:?}");
        }
        name.into()
    }

    /// Returns the [outcomes](AttemptReport::outcome) of the handler's [attempts](Self::attempts).
    ///
    /// # Panics
    ///
    /// Panics if there is no such handler.
    #[track_caller]
    #[must_use]
    pub fn outcomes(&self, handler: &str) -> Vec<&'static str> {
        self.attempts(handler).iter().map(|attempt| attempt.outcome).collect()
    }

    /// Returns the stored delivery of an event to the handler with this stable or former name. If
    /// the event has been replayed, it is the latest one.
    ///
    /// # Panics
    ///
    /// Panics if there is no such handler or delivery, or if the store does not answer. The message
    /// has the event's deliveries.
    #[track_caller]
    pub fn delivery(
        &self,
        event_id: &str,
        handler: &str,
    ) -> impl Future<Output = StoredDelivery> + Send {
        let (caller, handler) = (Location::caller(), self.current_name(handler));
        async move {
            let deliveries = self.store().deliveries(event_id).await.expect("store is available");
            // A delivery may be stored under the former name.
            let has_name = |delivery: &&StoredDelivery| {
                let spec = self.inbox.router().handler(&delivery.handler);
                spec.map_or(&delivery.handler, |spec| &spec.name) == &handler
            };
            let of_handler = deliveries.iter().filter(has_name);
            of_handler.max_by_key(|delivery| delivery.generation).cloned().unwrap_or_else(|| {
                let found: Vec<_> = deliveries.iter().map(|delivery| &*delivery.handler).collect();
                panic!(
                    "{caller}: `{event_id}` has no delivery for `{handler}`; handlers with one: \
                     {found:?}"
                )
            })
        }
    }
}

fn inbox<S: Store>(
    router: DeliveryRouterBuilder,
    store: S,
    clock: &ManualClock,
) -> Result<Inbox<S>, BuildError> {
    let router = router.clock(clock.clone()).build()?;
    Ok(Inbox::new(store, router).clock(clock.clone()))
}

/// Runs a worker until no delivery is due or in flight.
fn run_until_idle<S: Store>(
    inbox: &Inbox<S>,
    log: AttemptLog,
    crash: Option<Crash>,
) -> impl Future<Output = ()> + Send + use<S> {
    let router = inbox.router().clone();
    inbox.worker(ReportingRouter { router, log, crash }).run_until_idle()
}

impl<S> fmt::Debug for TestInbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestInbox").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}
