//! What a handler writes in its `Tx` is there exactly once, together with its end.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use router_core::{
    DeliveryRouter, Event, Failure, Outcome, Router, State, on_event, testing::ManualClock,
};
use router_inbox::{
    ClaimRequest,
    DeliveryState::{Dead, Done, Ignored, Waiting},
    Inbox, SqliteStore, Store as _, Stored, Tx,
    conformance::MemoryStore,
    sqlx::{Row as _, Sqlite, SqlitePool, query},
};
use router_tests::now;
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tower::Service as _;

use crate::shop::{event, until};

/// What the handler does after it has written.
#[derive(Clone, Copy)]
enum Then {
    Return,
    Ignore,
    Fail,
    FailForGood,
    Panic,
    Hang,
    /// Hands its `Tx` to somebody else, who may use it later.
    Keep,
    /// The commit will fail.
    BreakThePromise,
}

#[derive(Clone)]
struct Plan {
    then: Arc<Mutex<Vec<Then>>>,
    /// Passed before anything is written.
    gate: Arc<Semaphore>,
    wrote: mpsc::UnboundedSender<()>,
    kept: mpsc::UnboundedSender<Tx<Sqlite>>,
}

#[on_event("invoice.paid", name = "shop.fulfil", attempts = 3, backoff = "10s", timeout = "10m")]
async fn fulfil(event: Event, mut tx: Tx<Sqlite>, plan: State<Plan>) -> Result<Outcome, Failure> {
    plan.gate.acquire().await?.forget();
    let then = plan.then.lock().expect("nobody panics with it").pop().unwrap_or(Then::Return);
    let db = tx.begin().await?;
    query("insert into orders (event) values (?)").bind(event.id()).execute(&mut *db).await?;
    plan.wrote.send(())?;
    match then {
        Then::Return => Ok(Outcome::Done),
        Then::Ignore => Ok(Outcome::ignored("it was written down all the same")),
        Then::Fail => Err("the warehouse is down".into()),
        Then::FailForGood => Err(Failure::permanent("no such product")),
        Then::Panic => panic!("a bug"),
        Then::Hang => std::future::pending().await,
        Then::Keep => {
            plan.kept.send(tx).map_err(|_| "nobody takes it")?;
            Ok(Outcome::Done)
        }
        Then::BreakThePromise => {
            query("insert into lines (\"order\") values (4711)").execute(db).await?;
            Ok(Outcome::Done)
        }
    }
}

struct Shop {
    inbox: Inbox<SqliteStore>,
    clock: ManualClock,
    plan: Plan,
    wrote: mpsc::UnboundedReceiver<()>,
    kept: mpsc::UnboundedReceiver<Tx<Sqlite>>,
    db: SqlitePool,
    _folder: TempDir,
}

impl Shop {
    /// The plan is for the first attempts.
    async fn new<const N: usize>(mut then: [Then; N]) -> Self {
        then.reverse();
        let folder = tempfile::tempdir().expect("there is room");
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let clock = ManualClock::at(now());
        let store = SqliteStore::open(&url).await.expect("it can be made").clock(clock.clone());
        let db = SqlitePool::connect(&url).await.expect("it is there");
        for table in [
            "create table orders (event text primary key)",
            "create table lines (\"order\" text references orders deferrable initially deferred)",
        ] {
            query(table).execute(&db).await.expect("it can be made");
        }
        let ((wrote, has_written), (kept, keeps)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let plan = Plan { then: Arc::new(Mutex::new(then.into())), gate, wrote, kept };
        let router = Router::builder().without_linked().add::<fulfil>().state(plan.clone());
        let router = router.clock(clock.clone()).delivered_by(&store).build();
        let inbox = Inbox::new(store, router.expect("it is correct")).clock(clock.clone());
        Self { inbox, clock, plan, wrote: has_written, kept: keeps, db, _folder: folder }
    }

    async fn receive(&self, id: &str) {
        let stored = self.inbox.clone().call(event(id)).await;
        assert_eq!(stored.expect("it is there").stored(), Stored::New);
    }

    fn router(&self) -> DeliveryRouter {
        self.inbox.router().clone()
    }

    /// Delivers until it is so.
    async fn work_until(&self, id: &str, state: router_inbox::DeliveryState, attempts: u32) {
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = self.inbox.worker(self.router()).run(async { drop(stopped.await) });
        let is_so = async {
            self.is(id, state, attempts).await;
            drop(stop);
        };
        tokio::join!(worker, is_so);
    }

    async fn is(&self, id: &str, state: router_inbox::DeliveryState, attempts: u32) {
        until(async || {
            let kept = self.inbox.store().deliveries(id).await.expect("it can be read");
            (kept[0].state, kept[0].attempts) == (state, attempts)
        })
        .await;
    }

    async fn error(&self, id: &str) -> String {
        let kept = self.inbox.store().deliveries(id).await.expect("it can be read");
        kept[0].error.clone().unwrap_or_default()
    }

    /// What another connection sees.
    async fn orders(&self) -> i64 {
        let row = query("select count(*) from orders").fetch_one(&self.db).await;
        row.expect("it can be read").get(0)
    }
}

const BACKOFF: Duration = Duration::from_secs(13);

#[tokio::test]
async fn what_a_handler_wrote_is_there_once_it_is_done_and_else_it_is_not() {
    let rows = [
        (Then::Return, Done, 1),
        (Then::Ignore, Ignored, 1),
        (Then::Fail, Waiting, 0),
        (Then::FailForGood, Dead, 0),
        (Then::Panic, Waiting, 0),
    ];
    for (then, state, orders) in rows {
        let shop = Shop::new([then]).await;
        shop.receive("evt_1").await;
        shop.work_until("evt_1", state, 1).await;
        assert_eq!(shop.orders().await, orders, "{state:?}");
    }
}

#[tokio::test]
async fn however_often_it_fails_what_it_wrote_is_there_exactly_once() {
    let shop = Shop::new([Then::Fail, Then::Panic]).await;
    shop.receive("evt_1").await;
    for attempt in 1..=2 {
        shop.work_until("evt_1", Waiting, attempt).await;
        shop.clock.advance(BACKOFF * 4);
    }
    shop.work_until("evt_1", Done, 3).await;
    assert_eq!(shop.orders().await, 1);
}

#[tokio::test]
async fn a_handler_that_holds_the_only_writer_for_too_long_is_stopped_and_events_are_stored_again()
{
    let mut shop = Shop::new([Then::Hang]).await;
    shop.receive("evt_1").await;
    let inbox = shop.inbox.clone().store_timeout(Duration::from_secs(3));
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(shop.inbox.worker(shop.router()).run(async { drop(stopped.await) }));
    shop.wrote.recv().await.unwrap();
    // Meanwhile nothing can be stored, and Stripe is told so.
    let sleepers = 5; // The worker, its purge, the handler's time and its transaction's, and who is to be stored.
    let early = tokio::spawn(inbox.clone().call(event("evt_2")));
    shop.clock.wait_for_sleepers(sleepers).await;
    shop.clock.advance(Duration::from_secs(3));
    let error = Failure::retry(early.await.unwrap().unwrap_err()).to_string();
    assert!(error.contains("not store the event within 3s"), "{error}");
    let late = tokio::spawn(inbox.clone().call(event("evt_3")));
    shop.clock.wait_for_sleepers(sleepers).await;
    shop.clock.advance(Duration::from_secs(2));
    assert_eq!(late.await.unwrap().unwrap().stored(), Stored::New);
    shop.is("evt_1", Waiting, 1).await;
    insta::assert_snapshot!(shop.error("evt_1").await, @"the handler's transaction was open for 5s, which is the limit; the handler was stopped and its writes were rolled back, because an open transaction blocks all other writes");
    shop.is("evt_3", Done, 1).await;
    drop(stop);
    worker.await.unwrap();
    let undone = query("select 1 from orders where event = 'evt_1'").fetch_optional(&shop.db).await;
    assert!(undone.unwrap().is_none());
}

#[tokio::test]
async fn a_handler_that_keeps_its_transaction_is_not_done() {
    let mut shop = Shop::new([Then::Keep]).await;
    shop.receive("evt_1").await;
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(shop.inbox.worker(shop.router()).run(async { drop(stopped.await) }));
    let mut kept = shop.kept.recv().await.unwrap();
    // Whoever has it can still write, and nobody will ever read it.
    query("insert into orders (event) values ('evt_2')")
        .execute(kept.begin().await.unwrap())
        .await
        .unwrap();
    drop(kept);
    shop.is("evt_1", Waiting, 1).await;
    insta::assert_snapshot!(shop.error("evt_1").await, @"the handler returned but its `Tx` is still in use, so its writes cannot be committed with the delivery; is the `Tx` in a task that the handler does not await?");
    assert_eq!(shop.orders().await, 0);
    drop(stop);
    worker.await.unwrap();
}

#[tokio::test]
async fn who_has_lost_its_lease_writes_nothing() {
    let shop = Shop::new([]).await;
    shop.plan.gate.forget_permits(usize::MAX);
    shop.receive("evt_1").await;
    let (stop, stopped) = oneshot::channel::<()>();
    let inbox = shop.inbox.clone().clock(ManualClock::at(now()));
    let worker = tokio::spawn(inbox.worker(shop.router()).run(async { drop(stopped.await) }));
    shop.is("evt_1", router_inbox::DeliveryState::Running, 1).await;
    shop.clock.advance(Duration::from_secs(60));
    let wanted = ClaimRequest {
        handlers: vec![("shop.fulfil".into(), 1)],
        limit: 1,
        lease: Duration::from_secs(60),
    };
    let taken_over = shop.inbox.store().claim(&wanted).await.unwrap();
    assert!(taken_over[0].lease_expired);
    shop.plan.gate.add_permits(9);
    drop(stop);
    worker.await.unwrap();
    assert_eq!(shop.orders().await, 0);
    shop.is("evt_1", router_inbox::DeliveryState::Running, 1).await;
}

#[tokio::test]
async fn a_commit_that_fails_is_a_failure_and_nothing_is_there() {
    let shop = Shop::new([Then::BreakThePromise]).await;
    shop.receive("evt_1").await;
    shop.work_until("evt_1", Waiting, 1).await;
    assert!(shop.error("evt_1").await.contains("FOREIGN KEY"), "{}", shop.error("evt_1").await);
    assert_eq!(shop.orders().await, 0);
    shop.clock.advance(BACKOFF);
    shop.work_until("evt_1", Done, 2).await;
    assert_eq!(shop.orders().await, 1);
}

#[tokio::test]
async fn several_that_want_to_write_wait_for_each_other() {
    let shop = Shop::new([]).await;
    for id in 0..20 {
        shop.receive(&format!("evt_{id}")).await;
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(shop.inbox.worker(shop.router()).run(async { drop(stopped.await) }));
    for id in 0..20 {
        shop.is(&format!("evt_{id}"), Done, 1).await;
    }
    drop(stop);
    worker.await.unwrap();
    assert_eq!(shop.orders().await, 20);
}

#[test]
fn a_transaction_is_only_for_handlers_of_an_inbox_that_has_such() {
    let plan = || {
        let (wrote, kept) = (mpsc::unbounded_channel().0, mpsc::unbounded_channel().0);
        Plan { then: Arc::default(), gate: Arc::new(Semaphore::new(0)), wrote, kept }
    };
    let router = || Router::builder().without_linked().add::<fulfil>().state(plan());
    let in_memory = MemoryStore::new(ManualClock::at(now()));
    let inline = router().build().unwrap_err().to_string();
    let elsewhere = router().delivered_by(&in_memory).build().unwrap_err().to_string();
    insta::assert_snapshot!(inline, @r"
    the router cannot be built: 1 problem
      1. these handlers take a `router_inbox::tx::Tx<sqlx_sqlite::database::Sqlite>`, which this router does not provide
           tests/tests/inbox/effects.rs:49  `shop.fulfil`  on invoice.paid
         help: a service such as an inbox provides it with each delivery: call `.delivered_by(&store)` before `.build()`
    ");
    insta::assert_snapshot!(elsewhere, @r"
    the router cannot be built: 1 problem
      1. these handlers take a `router_inbox::tx::Tx<sqlx_sqlite::database::Sqlite>`, which this router does not provide
           tests/tests/inbox/effects.rs:49  `shop.fulfil`  on invoice.paid
         help: the service passed to `.delivered_by(...)` provides nothing: pass one that provides it, or take another type
    ");
}
