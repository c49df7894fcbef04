//! What a handler writes in its `Tx` is there exactly once, together with its end.

use std::sync::{Arc, Mutex};

use router_core::{Event, Failure, Outcome, Router, State, on_event};
use router_inbox::{
    DeliveryState::{Dead, Done, Ignored, Waiting},
    Inbox, PostgresStore, Store as _, Tx,
    sqlx::{Postgres, Row as _, query},
};
use tokio::sync::{mpsc, oneshot};
use tower_service::Service as _;

use crate::{InPostgres, support::paid};

/// What the handler does after it has written.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Return,
    Ignore,
    FailForGood,
    Panic,
    Keep,
    /// The commit will fail.
    BreakThePromise,
    /// The server has undone all, and the handler does not mind.
    PassOverAnError,
}

#[derive(Clone)]
struct Plan {
    then: Arc<Mutex<Option<Then>>>,
    kept: mpsc::UnboundedSender<Tx<Postgres>>,
    schema: String,
}

#[on_event("invoice.paid", name = "a")]
async fn fulfil(event: Event, mut tx: Tx<Postgres>, plan: State<Plan>) -> Result<Outcome, Failure> {
    let then = plan.then.lock().expect("nobody panics with it").take();
    let db = tx.begin().await?;
    let path = format!("set local search_path to {}", plan.schema);
    query(sqlx::AssertSqlSafe(path)).execute(&mut *db).await?;
    query("insert into orders (event) values ($1)").bind(event.id()).execute(&mut *db).await?;
    match then {
        None | Some(Then::Return) => Ok(Outcome::Done),
        Some(Then::Ignore) => Ok(Outcome::ignored("it was written down all the same")),
        Some(Then::FailForGood) => Err(Failure::permanent("no such product")),
        Some(Then::Panic) => panic!("a bug"),
        Some(Then::Keep) => {
            plan.kept.send(tx).map_err(|_| "nobody takes it")?;
            Ok(Outcome::Done)
        }
        Some(Then::BreakThePromise) => {
            query("insert into lines (event) values ('evt_none')").execute(db).await?;
            Ok(Outcome::Done)
        }
        Some(Then::PassOverAnError) => {
            drop(query("select 1 / 0").execute(db).await);
            Ok(Outcome::Done)
        }
    }
}

/// Stores an event and delivers it until it is so; how many orders there are then.
async fn deliver(then: Then, state: router_inbox::DeliveryState) -> Option<(i64, String)> {
    let subject = InPostgres::made().await?;
    subject
        .run(
            "create table inbox.orders (event text primary key);
             create table inbox.lines (event text references inbox.orders deferrable initially deferred)",
        )
        .await;
    let store = PostgresStore::clone(&subject.store);
    let (kept, _keeps) = mpsc::unbounded_channel();
    let then = Arc::new(Mutex::new(Some(then)));
    let plan = Plan { then, kept, schema: subject.schema.clone() };
    let router =
        Router::builder().without_linked().add::<fulfil>().state(plan).delivered_by(&store);
    let router = router.build().expect("it is correct");
    let mut inbox = Inbox::new(store, router.clone());
    inbox.call(paid("evt_1").event).await.expect("it is stored");
    let (stop, stopped) = oneshot::channel::<()>();
    let is_so = async {
        loop {
            let kept = inbox.store().deliveries("evt_1").await.expect("it can be read");
            if kept[0].state == state && kept[0].attempts == 1 {
                drop(stop);
                return kept[0].error.clone().unwrap_or_default();
            }
        }
    };
    let worker = inbox.worker(router).run(async { drop(stopped.await) });
    let ((), error) = tokio::join!(worker, is_so);
    let orders = format!("select count(*) from {}.orders", subject.schema);
    let orders = query(sqlx::AssertSqlSafe(orders)).fetch_one(&subject.database).await;
    Some((orders.expect("it is there").get(0), error))
}

#[tokio::test]
async fn what_a_handler_wrote_is_there_once_it_is_done_and_else_it_is_not() {
    let rows = [
        (Then::Return, Done, 1, ""),
        (Then::Ignore, Ignored, 1, ""),
        (Then::FailForGood, Dead, 0, "no such product"),
        (Then::Panic, Waiting, 0, "the handler panicked: a bug"),
        (Then::Keep, Waiting, 0, "the handler returned but its `Tx` is still in use"),
        (Then::BreakThePromise, Waiting, 0, "violates foreign key constraint"),
        (Then::PassOverAnError, Waiting, 0, "current transaction is aborted"),
    ];
    for (then, state, orders, error) in rows {
        let Some((there, told)) = deliver(then, state).await else { return };
        assert_eq!(there, orders, "{told}");
        assert!(told.contains(error), "{told}");
    }
}
