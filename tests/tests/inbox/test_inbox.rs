//! `TestInbox`: reports of attempts, refusals, crashes, restarts, and the messages of failed tests.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use router_core::{
    BoxError, Event, Failure, Outcome, Router, State,
    build::RouterBuilder,
    handler::HandlerResult,
    on_event,
    testing::{ManualClock, SyntheticEvent},
};
use router_inbox::{
    Tx,
    conformance::MemoryStore,
    sqlx::{Sqlite, query},
    store::DeliveryState::{Dead, Done, Ignored, Running, Waiting},
    testing::TestInbox,
};
use router_tests::now;

const MINUTE: Duration = Duration::from_secs(60);

fn paid() -> SyntheticEvent {
    SyntheticEvent::new("invoice.paid").id("evt_1")
}

type Answer = fn() -> HandlerResult;

#[on_event("invoice.paid", name = "shop.twice", retry(max_attempts = 2))]
async fn twice(_: Event, answer: State<Answer>) -> HandlerResult {
    answer()
}

fn twice_router(answer: Answer) -> RouterBuilder {
    Router::builder().only::<twice>().state(answer)
}

#[tokio::test]
async fn attempts_have_outcome_and_error() {
    let rows: [(Answer, &[_], _, _); 4] = [
        (|| Ok(Outcome::Done), &["done"], None, Done),
        (|| Ok(Outcome::ignored("not ours")), &["ignored"], None, Ignored),
        (|| Err(Failure::permanent("no such order")), &["dead"], Some("no such order"), Dead),
        (|| Err(Failure::retry("not now")), &["retry", "dead"], Some("not now"), Dead),
    ];
    for (answer, outcomes, error, state) in rows {
        let shop = TestInbox::new(twice_router(answer)).await.unwrap();
        shop.deliver(paid()).await.receipt();
        shop.run_for(MINUTE).await;
        assert_eq!(shop.outcomes("shop.twice"), outcomes);
        let attempts = shop.attempts("shop.twice");
        for (attempt, number) in attempts.iter().zip(1..) {
            assert_eq!((&*attempt.event_id, attempt.attempt), ("evt_1", number));
            assert_eq!((&*attempt.handler, attempt.error.as_deref()), ("shop.twice", error));
        }
        assert_eq!(shop.delivery("evt_1", "shop.twice").await.state, state);
    }
}

/// Violates a constraint that the database checks when the transaction commits.
#[on_event("invoice.paid", name = "shop.orphan")]
async fn orphan(mut tx: Tx<Sqlite>) -> Result<(), BoxError> {
    query("insert into lines values ('in_1')").execute(tx.begin().await?).await?;
    Ok(())
}

#[tokio::test]
async fn failed_commit_is_in_the_delivery() {
    let shop = TestInbox::new(Router::builder().only::<orphan>()).await.unwrap();
    for table in [
        "create table orders (invoice text primary key)",
        "create table lines (invoice text references orders deferrable initially deferred)",
    ] {
        query(table).execute(shop.pool()).await.unwrap();
    }
    shop.deliver(paid()).await.receipt();
    shop.run_until_idle().await;
    assert_eq!(shop.outcomes("shop.orphan"), ["done"]);
    let delivery = shop.delivery("evt_1", "shop.orphan").await;
    assert_eq!((delivery.state, delivery.attempts), (Waiting, 1));
    assert!(delivery.error.as_ref().unwrap().contains("FOREIGN KEY"), "{delivery:?}");
}

#[on_event("invoice.paid", name = "shop.new_name", formerly = "shop.twice")]
async fn renamed(_: Event) {}

#[tokio::test]
async fn restart_with_renamed_handler_continues_its_deliveries() {
    let shop = TestInbox::new(twice_router(|| Err("not now".into()))).await.unwrap();
    shop.deliver(paid()).await.receipt();
    shop.run_until_idle().await;
    let shop = shop.restart(Router::builder().only::<renamed>()).await.unwrap();
    shop.run_for(MINUTE).await;
    for name in ["shop.new_name", "shop.twice"] {
        assert_eq!(shop.outcomes(name), ["done"], "{name}");
        assert_eq!(shop.attempts(name)[0].attempt, 2, "{name}");
    }
}

#[on_event("invoice.paid", name = "shop.platform", endpoint = "platform")]
async fn platform(_: Event) {}

#[tokio::test]
async fn restart_drops_states_and_keeps_the_endpoint() {
    let (state, router) = (Arc::new(()), || Router::builder().only::<platform>());
    let dropped = Arc::downgrade(&state);
    let shop = TestInbox::new(router().shared_state(state)).await.unwrap().named("platform");
    shop.deliver(paid()).await.receipt();
    let shop = shop.restart(router()).await.unwrap();
    assert!(dropped.upgrade().is_none());
    assert_eq!(shop.deliver(paid()).await.outcome(), "duplicate");
    shop.run_until_idle().await;
    assert_eq!(shop.outcomes("shop.platform"), ["done"]);
}

#[tokio::test]
async fn crash_loses_all_attempts_in_flight() {
    let router = |hangs: bool| {
        let router = Router::builder().without_linked();
        let hang = move |_: Event| async move {
            if hangs {
                std::future::pending::<()>().await;
            }
        };
        let router = router.handler("shop.hangs", ["invoice.*"], hang);
        router.handler("shop.mail", ["invoice.*"], async |_: Event| {})
    };
    let shop = TestInbox::new(router(true)).await.unwrap();
    shop.deliver(paid()).await.receipt();
    shop.crash_in("shop.mail").await;
    let shop = shop.restart(router(false)).await.unwrap();
    for (time, outcomes, state) in
        [(MINUTE / 2, &["aborted"][..], Running), (MINUTE * 2, &["aborted", "done"], Done)]
    {
        shop.run_for(time).await;
        for handler in ["shop.hangs", "shop.mail"] {
            assert_eq!(shop.outcomes(handler), outcomes, "{handler}");
            assert_eq!(shop.delivery("evt_1", handler).await.state, state, "{handler}");
        }
    }
}

#[tokio::test]
async fn inbox_on_another_store_restarts_with_it() {
    let clock = ManualClock::at(now());
    let store = MemoryStore::new(clock.clone());
    let router = twice_router(|| Err("not now".into())).delivered_by(&store);
    let shop = TestInbox::with_store(router, store, clock.clone()).unwrap();
    shop.deliver(paid()).await.receipt();
    shop.run_until_idle().await;
    // This store is in memory, so the new one is empty.
    let store = MemoryStore::new(clock);
    let router = twice_router(|| Ok(Outcome::Done)).delivered_by(&store);
    let shop = shop.restart_with(router, store).unwrap();
    assert_eq!(shop.deliver(paid()).await.outcome(), "stored");
    shop.run_until_idle().await;
    assert_eq!(shop.outcomes("shop.twice"), ["retry", "done"]);
}

/// Returns the message of a panic.
async fn panic_message(future: impl Future<Output = ()> + Send + 'static) -> String {
    let panic = tokio::spawn(future).await.expect_err("task panics").into_panic();
    *panic.downcast().expect("message is formatted")
}

/// Returns a message without the location at its beginning, which is in this file.
fn without_location(message: &str) -> &str {
    let (location, rest) = message.split_once(": ").expect("message begins with a location");
    assert!(location.contains(file!()), "{location}");
    rest
}

#[tokio::test]
async fn failed_test_says_what_there_is() {
    let shop = TestInbox::new(twice_router(|| Ok(Outcome::Done))).await.unwrap();
    let unknown = catch_unwind(AssertUnwindSafe(|| shop.attempts("shop.twcie"))).unwrap_err();
    insta::assert_snapshot!(unknown.downcast_ref::<String>().unwrap(), @r#"no handler is named `shop.twcie`; handlers: ["shop.twice"]"#);
    shop.deliver(paid()).await.receipt();
    shop.run_until_idle().await;
    let crash = panic_message(shop.crash_in("shop.twice")).await;
    insta::assert_snapshot!(without_location(&crash), @"no delivery for `shop.twice` was due");
    let shop = shop.endpoint(|endpoint| endpoint.require_api_version("2020-01-01"));
    let answer = shop.deliver(paid()).await;
    assert_eq!((answer.status(), answer.outcome()), (400, "refused"));
    let refused = panic_message(async move { drop(answer.receipt().clone()) }).await;
    insta::assert_snapshot!(refused, @"the event was not stored: event evt_1 has API version 2026-10-28.endive, but this endpoint accepts only 2020-01-01; create a webhook endpoint with that version at Stripe, or correct `Endpoint::require_api_version`");
    let missing = async move { drop(shop.delivery("evt_2", "shop.twice").await) };
    let missing = panic_message(missing).await;
    insta::assert_snapshot!(without_location(&missing), @"`evt_2` has no delivery for `shop.twice`; handlers with one: []");
}
