//! A store outside of router-inbox: it uses only the public API, and passes the test suite.
//!
//! All events and deliveries are one JSON document in a row of a SQLite database. Each call loads
//! it, changes it ([`state`]) and writes it back in one transaction, or in the handler's own.

mod state;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use router_core::{
    Event, Failure, Router, State as AppState,
    clock::{Clock, SystemClock},
    delivery::{Delivery, DeliveryService, ProvidedType},
    on_event,
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    Inbox, Store, StoreError, Tx,
    conformance::Subject,
    sqlx::{
        Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction, query,
        sqlite::SqlitePoolOptions,
    },
    store::{
        Backlog, Claim, ClaimRequest, CompleteResult, DeliveryOutcome, DeliveryState, Effects,
        Lease, NewEvent, StoreErrorKind, Stored, StoredDelivery,
    },
    tx::{self, TxPermits, TxStore},
};
use tower::Service as _;
use tracing_subscriber::filter::LevelFilter;

use self::state::{State, later};
use router_tests::logged::{log, logged};

#[derive(Clone)]
struct ToyStore {
    /// A pool with a single connection, since each connection has a database of its own.
    pool: SqlitePool,
    permits: TxPermits,
    clock: Arc<dyn Clock>,
}

impl ToyStore {
    async fn new(clock: impl Clock) -> Result<Self, StoreError> {
        let options = SqlitePoolOptions::new().max_connections(1);
        let pool = options.idle_timeout(None).max_lifetime(None).connect("sqlite::memory:").await?;
        query("create table toy (state)").execute(&pool).await?;
        let state = serde_json::to_string(&State::default()).map_err(StoreError::corrupt)?;
        query("insert into toy values (?)").bind(state).execute(&pool).await?;
        Ok(Self { pool, permits: TxPermits::new(1), clock: Arc::new(clock) })
    }

    async fn apply<T>(
        &self,
        change: impl FnOnce(&mut State, SystemTime) -> T,
    ) -> Result<T, StoreError> {
        let mut tx = self.pool.begin().await?;
        let result = self.apply_in(&mut tx, change).await?;
        tx.commit().await?;
        Ok(result)
    }

    async fn apply_in<T>(
        &self,
        tx: &mut SqliteConnection,
        change: impl FnOnce(&mut State, SystemTime) -> T,
    ) -> Result<T, StoreError> {
        let row = query("select state from toy").fetch_one(&mut *tx).await?;
        let mut state: State =
            serde_json::from_str(row.try_get(0)?).map_err(StoreError::corrupt)?;
        let result = change(&mut state, self.clock.wall());
        let state = serde_json::to_string(&state).map_err(StoreError::corrupt)?;
        query("update toy set state = ?").bind(state).execute(tx).await?;
        Ok(result)
    }
}

#[async_trait]
impl Store for ToyStore {
    async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        self.apply(|state, now| events.iter().map(|new| state.store(new, now)).collect()).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        self.apply(|state, now| state.claim(request, now)).await
    }

    async fn extend(&self, leases: &[Lease], duration: Duration) -> Result<Vec<bool>, StoreError> {
        let extend = |state: &mut State, now| {
            leases.iter().map(|lease| state.extend(lease, later(now, duration))).collect()
        };
        self.apply(extend).await
    }

    async fn complete(
        &self,
        outcomes: &[(Lease, DeliveryOutcome)],
    ) -> Result<Vec<CompleteResult>, StoreError> {
        let complete = |state: &mut State, now| {
            outcomes.iter().map(|(lease, outcome)| state.complete(lease, outcome, now)).collect()
        };
        self.apply(complete).await
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<StoredDelivery>, StoreError> {
        self.apply(|state, _| state.deliveries(event_id)).await
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        self.apply(|state, now| state.backlog(now)).await
    }

    fn max_transactions(&self) -> Option<usize> {
        Some(self.permits.transactions())
    }

    fn prepare(&self, delivery: Delivery) -> (Delivery, Option<Box<dyn Effects>>) {
        tx::provide(Arc::new(self.clone()), delivery)
    }
}

impl DeliveryService for ToyStore {
    fn provides(&self) -> Vec<ProvidedType> {
        vec![ProvidedType::of::<Tx<Sqlite>>()]
    }
}

#[async_trait]
impl TxStore<Sqlite> for ToyStore {
    fn permits(&self) -> &TxPermits {
        &self.permits
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.pool.begin().await?)
    }

    async fn complete_in(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        lease: &Lease,
        outcome: &DeliveryOutcome,
    ) -> Result<CompleteResult, StoreError> {
        self.apply_in(tx, |state, now| state.complete(lease, outcome, now)).await
    }
}

struct Toy(ToyStore, ManualClock);

#[async_trait]
impl Subject for Toy {
    type Store = ToyStore;

    async fn fresh() -> Self {
        let clock = ManualClock::at(SystemClock.wall());
        Self(ToyStore::new(clock.clone()).await.expect("SQLite works"), clock)
    }

    fn store(&self) -> &ToyStore {
        &self.0
    }

    async fn reopen(&self) -> ToyStore {
        self.0.clone()
    }

    async fn pass(&self, time: Duration) {
        self.1.advance(time);
    }
}

router_inbox::store_conformance!(Toy);

/// `true` if the handler fails after its write.
#[derive(Clone)]
struct Fails(bool);

#[on_event("invoice.paid", name = "toy.order")]
async fn order(event: Event, mut tx: Tx<Sqlite>, fails: AppState<Fails>) -> Result<(), Failure> {
    let insert = query("insert into orders values (?)").bind(event.id());
    insert.execute(tx.begin().await?).await?;
    if fails.0.0 { Err(Failure::permanent("no such product")) } else { Ok(()) }
}

#[tokio::test]
async fn handlers_writes_are_committed_only_with_success() {
    for (fails, state, orders) in [(false, DeliveryState::Done, 1), (true, DeliveryState::Dead, 0)]
    {
        let store = ToyStore::new(SystemClock).await.unwrap();
        query("create table orders (event)").execute(&store.pool).await.unwrap();
        let router = Router::builder().only::<order>().state(Fails(fails));
        let router = router.delivered_by(&store).build().unwrap();
        let mut inbox = Inbox::new(store.clone(), router.clone());
        let event = SyntheticEvent::new("invoice.paid").id("evt_1").build().unwrap();
        inbox.call(event.event().clone()).await.unwrap();
        inbox.worker(router).run_until_idle().await;
        assert_eq!(store.deliveries("evt_1").await.unwrap()[0].state, state);
        let count = query("select count(*) from orders").fetch_one(&store.pool).await.unwrap();
        assert_eq!(count.get::<i64, _>(0), orders, "{state}");
    }
}

#[tokio::test]
async fn worker_warns_if_it_needs_more_transactions() {
    log(LevelFilter::WARN);
    for (concurrency, warns) in [(1, false), (4, true)] {
        let store = ToyStore::new(SystemClock).await.unwrap();
        let router = Router::builder().only::<order>().state(Fails(false));
        let router = router.delivered_by(&store).build().unwrap();
        let worker = Inbox::new(store, router.clone()).worker(router).concurrency(concurrency);
        worker.run(std::future::ready(())).await;
        let (logged, numbers) = (logged(), format!("in_flight={concurrency} transactions=1"));
        assert_eq!(logged.contains(&numbers), warns, "{logged}");
    }
}

#[tokio::test]
async fn errors_of_sqlx_have_kinds() {
    let store = ToyStore::new(SystemClock).await.unwrap();
    query("update toy set state = '{'").execute(&store.pool).await.unwrap();
    assert_eq!(store.backlog().await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    store.pool.close().await;
    assert_eq!(store.backlog().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
}
