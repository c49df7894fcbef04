//! A handler's writes in its `Tx` are committed together with its outcome, exactly once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use router_core::{
    Event, Failure, Outcome, Router, State,
    build::RouterBuilder,
    on_event,
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    SqliteStore, Store as _, Tx,
    conformance::MemoryStore,
    sqlx::{Sqlite, query, query_scalar},
    store::{
        ClaimRequest,
        DeliveryState::{self, Dead, Done, Ignored, Running, Waiting},
        HandlerSlots, Stored,
    },
    testing::TestInbox,
};
use router_tests::{
    logged::{log, logged},
    now,
};
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tower::Service as _;
use tracing_subscriber::filter::LevelFilter;

use crate::shop::{INBOX_SLEEPERS, event, settle, wait_for_disk};

/// The handler's next step after its write.
#[derive(Clone, Copy)]
enum Step {
    Return,
    Ignore,
    Fail,
    FailPermanently,
    Panic,
    Hang,
    /// Sends its `Tx` to another task, which may use it later.
    LeakTx,
    /// Fails with an error of its own if it cannot begin its transaction.
    HideUnavailable,
    /// Violates a deferred constraint, so the commit fails.
    ViolateConstraint,
}

#[derive(Clone)]
struct Plan {
    /// The steps of the first attempts, the first one last; later attempts return.
    steps: Arc<Mutex<Vec<Step>>>,
    /// Each attempt takes a permit before its write.
    gate: Arc<Semaphore>,
    wrote: mpsc::UnboundedSender<()>,
    leaked: mpsc::UnboundedSender<Tx<Sqlite>>,
}

#[on_event(
    "invoice.paid",
    name = "shop.fulfil",
    retry(max_attempts = 3, backoff = "10s"),
    timeout = "10m"
)]
async fn fulfil(event: Event, mut tx: Tx<Sqlite>, plan: State<Plan>) -> Result<Outcome, Failure> {
    plan.gate.acquire().await?.forget();
    let step = plan.steps.lock().expect("mutex is not poisoned").pop().unwrap_or(Step::Return);
    let db = match step {
        Step::HideUnavailable => tx.begin().await.map_err(|_| "the warehouse is down")?,
        _ => tx.begin().await?,
    };
    query("insert into orders (event) values (?)").bind(event.id()).execute(&mut *db).await?;
    plan.wrote.send(())?;
    match step {
        Step::Return | Step::HideUnavailable => Ok(Outcome::Done),
        Step::Ignore => Ok(Outcome::ignored("the order is written nevertheless")),
        Step::Fail => Err("the warehouse is down".into()),
        Step::FailPermanently => Err(Failure::permanent("no such product")),
        Step::Panic => panic!("a bug"),
        Step::Hang => std::future::pending().await,
        Step::LeakTx => {
            plan.leaked.send(tx).map_err(|_| "the receiver is closed")?;
            Ok(Outcome::Done)
        }
        Step::ViolateConstraint => {
            query("insert into lines (\"order\") values (4711)").execute(db).await?;
            Ok(Outcome::Done)
        }
    }
}

struct Shop {
    inbox: TestInbox,
    plan: Plan,
    wrote: mpsc::UnboundedReceiver<()>,
    leaked: mpsc::UnboundedReceiver<Tx<Sqlite>>,
    _folder: TempDir,
}

impl Shop {
    /// Creates an inbox whose handler takes these steps in its first attempts.
    async fn new<const N: usize>(steps: [Step; N]) -> Self {
        let router = |plan| Router::builder().only::<fulfil>().state(plan);
        Self::with_limit(steps, Duration::from_secs(5), router).await
    }

    /// Creates the inbox with a time limit for transactions.
    async fn with_limit<const N: usize>(
        mut steps: [Step; N],
        transaction_limit: Duration,
        router: impl FnOnce(Plan) -> RouterBuilder,
    ) -> Self {
        steps.reverse();
        let folder = tempfile::tempdir().expect("temporary folder is writable");
        let url = format!("sqlite:{}/inbox.db", folder.path().display());
        let clock = ManualClock::at(now());
        let store =
            SqliteStore::options().clock(clock.clone()).transaction_limit(transaction_limit);
        let store = store.open(&url).await.expect("temporary folder is writable");
        let (wrote_sender, wrote) = mpsc::unbounded_channel();
        let (leaked_sender, leaked) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let plan = Plan {
            steps: Arc::new(Mutex::new(steps.into())),
            gate,
            wrote: wrote_sender,
            leaked: leaked_sender,
        };
        let router = router(plan.clone()).delivered_by(&store);
        let inbox = TestInbox::with_store(router, store, clock).expect("router is valid");
        for table in [
            "create table orders (event text primary key)",
            "create table lines (\"order\" text references orders deferrable initially deferred)",
        ] {
            query(table).execute(inbox.pool()).await.expect("table is new");
        }
        Self { inbox, plan, wrote, leaked, _folder: folder }
    }

    async fn receive(&self, id: &str) {
        let answer = self.inbox.deliver(SyntheticEvent::new("invoice.paid").id(id)).await;
        assert_eq!(answer.receipt().stored(), Some(&Stored::New));
    }

    fn start_worker(&self) -> JoinHandle<()> {
        tokio::spawn(self.inbox.run_until_idle())
    }

    /// Waits until the only delivery of an event has this state and number of attempts.
    async fn wait_for(&self, id: &str, state: DeliveryState, attempts: u32) {
        wait_for_disk(async || self.state(id).await == (state, attempts)).await;
    }

    async fn state(&self, id: &str) -> (DeliveryState, u32) {
        let delivery = self.inbox.delivery(id, "shop.fulfil").await;
        (delivery.state, delivery.attempts)
    }

    async fn error(&self, id: &str) -> String {
        self.inbox.delivery(id, "shop.fulfil").await.error.unwrap_or_default()
    }

    /// Returns the number of orders that another connection sees.
    async fn orders(&self) -> i64 {
        let count = query_scalar("select count(*) from orders").fetch_one(self.inbox.pool()).await;
        count.expect("database is readable")
    }
}

/// Longer than the first backoff, which is 10 s with a jitter of ±25 %.
const BACKOFF: Duration = Duration::from_secs(13);

#[tokio::test]
async fn writes_are_committed_only_if_handler_finishes() {
    let rows = [
        (Step::Return, Done, 1),
        (Step::Ignore, Ignored, 1),
        (Step::Fail, Waiting, 0),
        (Step::FailPermanently, Dead, 0),
        (Step::Panic, Waiting, 0),
    ];
    for (step, state, orders) in rows {
        let shop = Shop::new([step]).await;
        shop.receive("evt_1").await;
        shop.inbox.run_until_idle().await;
        assert_eq!(shop.state("evt_1").await, (state, 1));
        assert_eq!(shop.orders().await, orders, "{state:?}");
    }
}

#[tokio::test]
async fn writes_exist_once_after_failed_attempts() {
    let shop = Shop::new([Step::Fail, Step::Panic]).await;
    shop.receive("evt_1").await;
    shop.inbox.run_for(BACKOFF * 5).await;
    assert_eq!(shop.inbox.outcomes("shop.fulfil"), ["retry", "retry", "done"]);
    assert_eq!(shop.orders().await, 1);
}

#[tokio::test]
async fn long_transaction_is_stopped_to_free_the_writer() {
    let mut shop = Shop::new([Step::Hang]).await;
    shop.receive("evt_1").await;
    let inbox = shop.inbox.inbox().clone().store_timeout(Duration::from_secs(3));
    let worker = shop.start_worker();
    shop.wrote.recv().await.unwrap();
    // Until the transaction ends, no event can be stored. Four more timers run on the clock: the
    // worker's poll, the handler's timeout, the transaction's limit and the timeout of storing an
    // event.
    let sleepers = INBOX_SLEEPERS + 4;
    let early = tokio::spawn(inbox.clone().call(event("evt_2")));
    shop.inbox.clock().wait_for_sleepers(sleepers).await;
    shop.inbox.clock().advance(Duration::from_secs(3));
    let error = Failure::retry(early.await.unwrap().unwrap_err()).to_string();
    assert!(error.contains("not store the event within 3s"), "{error}");
    let late = tokio::spawn(inbox.clone().call(event("evt_3")));
    shop.inbox.clock().wait_for_sleepers(sleepers).await;
    shop.inbox.clock().advance(Duration::from_secs(2));
    assert_eq!(late.await.unwrap().unwrap().stored(), Some(&Stored::New));
    worker.await.unwrap();
    assert_eq!(shop.state("evt_1").await, (Waiting, 1));
    insta::assert_snapshot!(shop.error("evt_1").await, @"the handler's transaction was open for 5s, which is the limit; the handler was stopped and its writes were rolled back, because an open transaction blocks all other writes");
    shop.inbox.run_until_idle().await;
    assert_eq!(shop.state("evt_3").await, (Done, 1));
    let orders = query_scalar("select event from orders").fetch_all(shop.inbox.pool()).await;
    assert!(!orders.unwrap().contains(&"evt_1".to_owned()), "the write is rolled back");
}

#[tokio::test]
async fn leaked_transaction_fails_the_attempt() {
    let mut shop = Shop::new([Step::LeakTx]).await;
    shop.receive("evt_1").await;
    let worker = shop.start_worker();
    let mut leaked = shop.leaked.recv().await.unwrap();
    // The leaked `Tx` can still write, but its writes are never committed.
    query("insert into orders (event) values ('evt_2')")
        .execute(leaked.begin().await.unwrap())
        .await
        .unwrap();
    drop(leaked);
    worker.await.unwrap();
    assert_eq!(shop.state("evt_1").await, (Waiting, 1));
    insta::assert_snapshot!(shop.error("evt_1").await, @"the handler returned but its `Tx` is still in use, so its writes cannot be committed with the delivery; is the `Tx` in a task that the handler does not await?");
    assert_eq!(shop.orders().await, 0);
}

#[tokio::test]
async fn lost_lease_rolls_back_writes() {
    let shop = Shop::new([]).await;
    shop.plan.gate.forget_permits(usize::MAX);
    shop.receive("evt_1").await;
    let inbox = shop.inbox.inbox().clone().clock(ManualClock::at(now()));
    let worker = tokio::spawn(inbox.worker(inbox.router().clone()).run_until_idle());
    shop.wait_for("evt_1", Running, 1).await;
    shop.inbox.clock().advance(Duration::from_secs(60));
    let request =
        ClaimRequest::new(vec![HandlerSlots::new("shop.fulfil", 1)], 1, Duration::from_secs(60));
    let claims = shop.inbox.store().claim(&request).await.unwrap();
    assert!(claims[0].lease_expired);
    shop.plan.gate.add_permits(9);
    worker.await.unwrap();
    assert_eq!(shop.orders().await, 0);
    assert_eq!(shop.state("evt_1").await, (Running, 1));
}

#[tokio::test]
async fn failed_commit_rolls_back_and_is_retried() {
    let shop = Shop::new([Step::ViolateConstraint]).await;
    shop.receive("evt_1").await;
    shop.inbox.run_until_idle().await;
    assert_eq!(shop.state("evt_1").await, (Waiting, 1));
    assert!(shop.error("evt_1").await.contains("FOREIGN KEY"), "{}", shop.error("evt_1").await);
    assert_eq!(shop.orders().await, 0);
    shop.inbox.run_for(BACKOFF).await;
    assert_eq!(shop.state("evt_1").await, (Done, 2));
    assert_eq!(shop.orders().await, 1);
}

#[tokio::test]
async fn concurrent_transactions_take_turns() {
    let shop = Shop::new([]).await;
    for id in 0..20 {
        shop.receive(&format!("evt_{id}")).await;
    }
    shop.inbox.run_until_idle().await;
    assert_eq!(shop.inbox.outcomes("shop.fulfil"), ["done"; 20]);
    assert_eq!(shop.orders().await, 20);
}

/// Writes, and then waits for a permit.
#[on_event("invoice.paid", name = "shop.slow", timeout = "10h")]
async fn slow(_: Event, mut tx: Tx<Sqlite>, plan: State<Plan>) -> Result<(), Failure> {
    tx.begin().await?;
    plan.wrote.send(())?;
    plan.gate.acquire().await?.forget();
    Ok(())
}

/// Begins its transaction once `shop.slow` has one.
#[on_event("invoice.paid", name = "shop.quick", timeout = "20s", retry(max_attempts = 1))]
async fn quick(
    _: Event,
    mut tx: Tx<Sqlite>,
    quick_gate: State<Arc<Semaphore>>,
) -> Result<(), Failure> {
    quick_gate.acquire().await?.forget();
    tx.begin().await?;
    Ok(())
}

#[tokio::test]
async fn wait_for_another_transaction_does_not_count_against_the_timeout() {
    let quick_gate = Arc::new(Semaphore::new(0));
    let router = |plan| {
        let router = Router::builder().only::<slow>().only::<quick>();
        router.state(plan).state(quick_gate.clone())
    };
    let mut shop = Shop::with_limit([], Duration::from_secs(36_000), router).await;
    shop.plan.gate.forget_permits(usize::MAX);
    shop.receive("evt_1").await;
    let worker = shop.start_worker();
    shop.wrote.recv().await.unwrap();
    quick_gate.add_permits(1);
    settle().await;
    shop.inbox.clock().advance(Duration::from_secs(3_600));
    settle().await;
    shop.plan.gate.add_permits(1);
    worker.await.unwrap();
    for handler in ["shop.slow", "shop.quick"] {
        assert_eq!(shop.inbox.outcomes(handler), ["done"], "{handler}");
    }
}

/// Runs the handler while another process holds the file's write lock for longer than SQLite waits
/// for it. Returns what the worker has logged about the attempt.
async fn run_without_transaction(shop: &Shop) -> String {
    log(LevelFilter::WARN);
    shop.plan.gate.forget_permits(usize::MAX);
    shop.receive("evt_1").await;
    let worker = shop.start_worker();
    shop.wait_for("evt_1", Running, 1).await;
    let lock =
        shop.inbox.pool().begin_with("BEGIN IMMEDIATE").await.expect("no other process writes");
    logged();
    shop.plan.gate.add_permits(9);
    let logged = loop {
        let logged = logged();
        if !logged.is_empty() {
            break logged;
        }
        tokio::task::yield_now().await;
    };
    lock.rollback().await.expect("the database is open");
    worker.await.expect("worker does not panic");
    logged
}

#[tokio::test]
async fn attempt_without_transaction_is_not_counted() {
    let shop = Shop::new([]).await;
    let logged = run_without_transaction(&shop).await;
    let (before, rest) = logged.split_once("retrying in ").unwrap();
    insta::assert_snapshot!(before, @" WARN router_inbox::worker::outcome: the store could not begin the handler's transaction; ");
    let (_, rest) = rest.split_once(' ').unwrap();
    insta::assert_snapshot!(rest, @r#"without counting an attempt handler="shop.fulfil" event.id="evt_1" event.type="invoice.paid" error=the store is not available to the handler: another connection, of this or of another process, has been writing to the file for 5s; check whether a transaction outside the inbox is open too long"#);
    assert_eq!(shop.state("evt_1").await, (Waiting, 0));
    shop.inbox.run_for(Duration::from_secs(7)).await;
    assert_eq!(shop.state("evt_1").await, (Done, 1));
    assert_eq!(shop.inbox.outcomes("shop.fulfil"), ["released", "done"]);
}

/// Otherwise a handler that fails for reasons of its own could be released forever.
#[tokio::test]
async fn attempt_without_transaction_is_counted_if_handler_fails_for_another_reason() {
    let shop = Shop::new([Step::HideUnavailable]).await;
    let logged = run_without_transaction(&shop).await;
    assert!(logged.contains("handler failed on attempt 1 of 3"), "{logged}");
    assert_eq!(shop.state("evt_1").await, (Waiting, 1));
    assert_eq!(shop.error("evt_1").await, "the warehouse is down");
}

#[test]
fn build_fails_without_a_transaction_provider() {
    let plan = || {
        let (wrote, _) = mpsc::unbounded_channel();
        let (leaked, _) = mpsc::unbounded_channel();
        Plan { steps: Arc::default(), gate: Arc::new(Semaphore::new(0)), wrote, leaked }
    };
    let router = || Router::builder().without_linked().add::<fulfil>().state(plan());
    let in_memory = MemoryStore::new(ManualClock::at(now()));
    let without_store = router().build().unwrap_err().to_string();
    let on_memory_store = router().delivered_by(&in_memory).build().unwrap_err().to_string();
    insta::assert_snapshot!(without_store, @r"
    the router cannot be built: 1 problem
      1. these handlers take a `router_inbox::tx::Tx<sqlx_sqlite::database::Sqlite>`, which this router does not provide
           tests/tests/inbox/transactions.rs:66  `shop.fulfil`  on invoice.paid
         help: a service such as an inbox provides it with each delivery: call `.delivered_by(&store)` before `.build()`; in a test, replace `TestRouter` by `router_inbox::testing::TestInbox` (feature `testing`)
    ");
    insta::assert_snapshot!(on_memory_store, @r"
    the router cannot be built: 1 problem
      1. these handlers take a `router_inbox::tx::Tx<sqlx_sqlite::database::Sqlite>`, which this router does not provide
           tests/tests/inbox/transactions.rs:66  `shop.fulfil`  on invoice.paid
         help: the service passed to `.delivered_by(...)` provides nothing: pass one that provides it, or take another type
    ");
}
