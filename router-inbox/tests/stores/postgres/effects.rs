//! Writes in a handler's `Tx` are committed exactly once, together with its outcome.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::{Duration, UNIX_EPOCH},
};

use router_core::{Event, Failure, Outcome, Router, State, on_event, testing::ManualClock};
use router_inbox::{
    Inbox, PostgresStore, Store as _, Tx,
    sqlx::{Postgres, Row as _, query},
    store::DeliveryState::{Dead, Done, Ignored, Waiting},
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tower_service::Service as _;

use super::TestInbox;
use crate::support::paid;

/// The handler's action after its write.
#[derive(Clone, Copy, PartialEq)]
enum Action {
    Return,
    Ignore,
    FailPermanently,
    Panic,
    KeepTx,
    /// Violates a deferred constraint, so that the commit fails.
    FailCommit,
    /// Ignores an error after which the server has rolled back the transaction.
    IgnoreSqlError,
}

#[derive(Clone)]
struct Plan {
    action: Arc<Mutex<Option<Action>>>,
    kept_txs: mpsc::UnboundedSender<Tx<Postgres>>,
    schema: String,
}

#[on_event("invoice.paid", name = "a")]
async fn fulfill(
    event: Event,
    mut tx: Tx<Postgres>,
    plan: State<Plan>,
) -> Result<Outcome, Failure> {
    let action = plan.action.lock().expect("no holder of the lock panics").take();
    let db = tx.begin().await?;
    let path = format!("set local search_path to {}", plan.schema);
    query(sqlx::AssertSqlSafe(path)).execute(&mut *db).await?;
    query("insert into orders (event) values ($1)").bind(event.id()).execute(&mut *db).await?;
    match action {
        None | Some(Action::Return) => Ok(Outcome::Done),
        Some(Action::Ignore) => Ok(Outcome::ignored("ignored, but written")),
        Some(Action::FailPermanently) => Err(Failure::permanent("no such product")),
        Some(Action::Panic) => panic!("a bug"),
        Some(Action::KeepTx) => {
            plan.kept_txs.send(tx).map_err(|_| "the receiver is gone")?;
            Ok(Outcome::Done)
        }
        Some(Action::FailCommit) => {
            query("insert into lines (event) values ('evt_none')").execute(db).await?;
            Ok(Outcome::Done)
        }
        Some(Action::IgnoreSqlError) => {
            drop(query("select 1 / 0").execute(db).await);
            Ok(Outcome::Done)
        }
    }
}

/// Stores an event and delivers it until its delivery is in this state. Returns the number of
/// orders written and the delivery's error.
async fn deliver(
    action: Action,
    state: router_inbox::store::DeliveryState,
) -> Option<(i64, String)> {
    let inbox = TestInbox::create().await?;
    inbox
        .execute(
            "create table inbox.orders (event text primary key);
             create table inbox.lines (event text references inbox.orders deferrable initially deferred)",
        )
        .await;
    let store = PostgresStore::clone(&inbox.store);
    let (kept_txs, _receiver) = mpsc::unbounded_channel();
    let action = Arc::new(Mutex::new(Some(action)));
    let plan = Plan { action, kept_txs, schema: inbox.schema.clone() };
    let router =
        Router::builder().without_linked().add::<fulfill>().state(plan).delivered_by(&store);
    let router = router.build().expect("the router is valid");
    let mut service = Inbox::new(store, router.clone());
    service.call(paid("evt_1").event).await.expect("the event is stored");
    let (stop, stopped) = oneshot::channel::<()>();
    let reached = async {
        loop {
            let stored = service.store().deliveries("evt_1").await.expect("the store is available");
            if stored[0].state == state && stored[0].attempts == 1 {
                drop(stop);
                return stored[0].error.clone().unwrap_or_default();
            }
        }
    };
    let worker = service.worker(router).run(async { drop(stopped.await) });
    let ((), error) = tokio::join!(worker, reached);
    let orders = format!("select count(*) from {}.orders", inbox.schema);
    let orders = query(sqlx::AssertSqlSafe(orders)).fetch_one(&inbox.database).await;
    Some((orders.expect("the table exists").get(0), error))
}

#[tokio::test]
async fn tx_commits_only_if_handler_is_done() {
    let rows = [
        (Action::Return, Done, 1, ""),
        (Action::Ignore, Ignored, 1, ""),
        (Action::FailPermanently, Dead, 0, "no such product"),
        (Action::Panic, Waiting, 0, "the handler panicked: a bug"),
        (Action::KeepTx, Waiting, 0, "the handler returned but its `Tx` is still in use"),
        (Action::FailCommit, Waiting, 0, "violates foreign key constraint"),
        (Action::IgnoreSqlError, Waiting, 0, "current transaction is aborted"),
    ];
    for (action, state, orders, error) in rows {
        let Some((written, message)) = deliver(action, state).await else { return };
        assert_eq!(written, orders, "{message}");
        assert!(message.contains(error), "{message}");
    }
}

#[derive(Clone)]
struct Hold {
    begun: mpsc::UnboundedSender<()>,
    gate: Arc<Semaphore>,
}

#[on_event("invoice.paid", name = "a", timeout = "20s", retry(max_attempts = 1))]
async fn hold(_: Event, mut tx: Tx<Postgres>, hold: State<Hold>) -> Result<(), Failure> {
    tx.begin().await?;
    hold.begun.send(())?;
    hold.gate.acquire().await?.forget();
    Ok(())
}

/// Handlers that hold all transactions delay no received event, and those that wait for a
/// transaction do not time out.
#[tokio::test]
async fn held_transactions_delay_only_other_transactions() {
    let Some(inbox) = TestInbox::create().await else { return };
    let options = PostgresStore::options().transactions(NonZeroU32::new(2).unwrap());
    let store = inbox.reopen_with(options).await;
    let (begun_sender, mut begun) = mpsc::unbounded_channel();
    let state = Hold { begun: begun_sender, gate: Arc::new(Semaphore::new(0)) };
    let clock = ManualClock::at(UNIX_EPOCH);
    let router = Router::builder().without_linked().add::<hold>().state(state.clone());
    let router = router.clock(clock.clone()).delivered_by(&store).build().unwrap();
    let mut service = Inbox::new(store, router.clone());
    let ids: Vec<String> = (0..12).map(|number| format!("evt_{number}")).collect();
    for id in &ids {
        service.call(paid(id).event).await.unwrap();
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(service.worker(router).run(async { drop(stopped.await) }));
    for round in 0..6 {
        for _ in 0..2 {
            begun.recv().await.unwrap();
        }
        service.call(paid(&format!("evt_new_{round}")).event).await.unwrap();
        // The handlers that hold a transaction have 20 s, and the others wait for longer.
        clock.advance(Duration::from_secs(15));
        assert!(begun.try_recv().is_err(), "two transactions at the same time");
        state.gate.add_permits(2);
    }
    state.gate.add_permits(100);
    for id in &ids {
        let is_done = async || {
            let stored = service.store().deliveries(id).await.unwrap();
            assert_eq!(stored[0].error, None);
            stored[0].state == Done
        };
        while !is_done().await {}
    }
    drop(stop);
    worker.await.unwrap();
}
