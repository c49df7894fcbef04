//! Handlers behind an inbox that ask to run later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use router_core::{
    BoxError, Event, Outcome, Router, State, build::RouterBuilder, handler::Later, on_event,
    testing::SyntheticEvent,
};
use router_inbox::{
    Tx,
    sqlx::{self, Sqlite, query},
    store::{
        DeliveryState::{Dead, Done, Waiting},
        Operations as _,
    },
    testing::TestInbox,
};
use router_tests::logged::{log, logged};
use tracing_subscriber::filter::LevelFilter;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The number of runs in which a handler asks to run later.
type Laters = AtomicU32;

/// Returns the outcome of a handler that asks to run later until the number has reached zero.
fn later(remaining: &Laters, later: Later) -> Outcome {
    let decrement = |laters: u32| laters.checked_sub(1);
    match remaining.fetch_update(Ordering::SeqCst, Ordering::SeqCst, decrement) {
        Ok(_) => later.into(),
        Err(_) => Outcome::Done,
    }
}

#[on_event("invoice.*", name = "shop.ship", retry(max_attempts = 1))]
async fn ship(_: Event, remaining: State<Laters>) -> Outcome {
    later(&remaining, Later::after(HOUR).because("no stock yet"))
}

#[on_event("invoice.*", name = "shop.ordered", ordered)]
async fn in_order(_: Event, remaining: State<Laters>) -> Outcome {
    later(&remaining, Later::after(HOUR))
}

#[on_event("invoice.*", name = "shop.overtaken", ordered)]
async fn out_of_order(_: Event, remaining: State<Laters>) -> Outcome {
    later(&remaining, Later::after(HOUR).out_of_order())
}

#[on_event("invoice.*", name = "shop.writes")]
async fn writes(
    event: Event,
    mut tx: Tx<Sqlite>,
    remaining: State<Laters>,
) -> Result<Outcome, BoxError> {
    query("insert into written values (?)").bind(event.id()).execute(tx.begin().await?).await?;
    Ok(later(&remaining, Later::after(HOUR)))
}

async fn shop(router: RouterBuilder, laters: u32) -> TestInbox {
    TestInbox::new(router.shared_state(Arc::new(Laters::new(laters))))
        .await
        .expect("router is valid")
}

/// Delivers events of one object, the oldest first.
async fn deliver(shop: &TestInbox, ids: &[&str]) {
    for id in ids {
        shop.deliver(SyntheticEvent::new("invoice.paid").id(*id)).await.receipt();
    }
}

/// Returns the ids of a handler's events, in the order in which the handler was done with them.
fn done(shop: &TestInbox, handler: &str) -> Vec<String> {
    let attempts = shop.attempts(handler).into_iter();
    attempts.filter(|attempt| attempt.outcome == "done").map(|attempt| attempt.event_id).collect()
}

#[tokio::test]
async fn later_fifty_times_is_one_attempt() {
    let shop = shop(Router::builder().only::<ship>(), 50).await;
    deliver(&shop, &["evt_1"]).await;
    shop.run_for(HOUR * 49).await;
    assert_eq!(shop.outcomes("shop.ship"), ["later"; 50]);
    let delivery = shop.delivery("evt_1", "shop.ship").await;
    assert_eq!((delivery.state, delivery.attempts), (Waiting, 0));
    assert_eq!(delivery.error.as_deref(), Some("no stock yet"));
    shop.run_for(HOUR).await;
    let delivery = shop.delivery("evt_1", "shop.ship").await;
    assert_eq!((delivery.state, delivery.attempts), (Done, 1));
    assert!(shop.attempts("shop.ship").iter().all(|attempt| attempt.attempt == 1));
}

#[tokio::test]
async fn later_is_logged_as_info_with_its_reason() {
    log(LevelFilter::INFO);
    let shop = shop(Router::builder().only::<ship>(), 1).await;
    deliver(&shop, &["evt_1"]).await;
    logged();
    shop.run_until_idle().await;
    let log = logged();
    let line = log.lines().find(|line| line.contains("worker::outcome")).unwrap_or(&log);
    insta::assert_snapshot!(line, @r#" INFO router_inbox::worker::outcome: handler cannot handle the event yet; it runs again in 1h handler="shop.ship" event.id="evt_1" event.type="invoice.paid" reason="no stock yet""#);
}

#[tokio::test]
async fn delivery_delayed_for_too_long_is_dead() {
    let shop = shop(Router::builder().only::<ship>(), u32::MAX).await;
    deliver(&shop, &["evt_1"]).await;
    shop.run_for(HOUR * 24 * 7 - HOUR / 2).await;
    assert_eq!(shop.delivery("evt_1", "shop.ship").await.state, Waiting);
    shop.run_for(HOUR / 2).await;
    let delivery = shop.delivery("evt_1", "shop.ship").await;
    assert_eq!((delivery.state, delivery.attempts), (Dead, 1));
    insta::assert_snapshot!(delivery.error.unwrap_or_default(), @"the handler asked to run later for more than `max_delay` (7days): no stock yet");
    assert_eq!(shop.attempts("shop.ship").len(), 24 * 7 + 1);
    // A dead letter that starts over may be delayed for as long again.
    shop.store().retry("evt_1", None).await.unwrap();
    shop.run_for(HOUR * 2).await;
    assert_eq!(shop.delivery("evt_1", "shop.ship").await.state, Waiting);
}

/// The time in which the handler is paused does not count.
#[tokio::test]
async fn pause_does_not_use_up_the_limit() {
    let shop = shop(Router::builder().only::<ship>(), 2).await;
    deliver(&shop, &["evt_1"]).await;
    shop.run_until_idle().await;
    shop.store().pause("shop.ship", None).await.unwrap();
    shop.run_for(HOUR * 24 * 8).await;
    shop.store().resume("shop.ship").await.unwrap();
    shop.run_for(HOUR * 2).await;
    assert_eq!(shop.outcomes("shop.ship"), ["later", "later", "done"]);
}

#[tokio::test]
async fn limit_is_a_setting_of_the_handler_and_the_router() {
    #[on_event("invoice.*", name = "shop.brief", retry(max_delay = "90m"))]
    async fn brief(_: Event, remaining: State<Laters>) -> Outcome {
        later(&remaining, Later::after(HOUR))
    }
    let shop = shop(Router::builder().only::<brief>(), u32::MAX).await;
    deliver(&shop, &["evt_1"]).await;
    shop.run_for(HOUR + HOUR / 2).await;
    // The second wait ends at the limit.
    assert_eq!(shop.outcomes("shop.brief"), ["later"; 3]);
    assert_eq!(shop.delivery("evt_1", "shop.brief").await.state, Dead);
}

#[tokio::test]
async fn ordered_events_wait_for_the_one_that_runs_later() {
    let shop = shop(Router::builder().only::<in_order>(), 1).await;
    deliver(&shop, &["evt_1", "evt_2"]).await;
    shop.run_until_idle().await;
    assert_eq!(shop.outcomes("shop.ordered"), ["later"]);
    shop.run_for(HOUR).await;
    assert_eq!(done(&shop, "shop.ordered"), ["evt_1", "evt_2"]);
}

#[tokio::test]
async fn ordered_events_overtake_if_out_of_order() {
    let shop = shop(Router::builder().only::<out_of_order>(), 1).await;
    deliver(&shop, &["evt_1", "evt_2"]).await;
    shop.run_until_idle().await;
    assert_eq!(done(&shop, "shop.overtaken"), ["evt_2"]);
    deliver(&shop, &["evt_3"]).await;
    shop.run_for(HOUR).await;
    assert_eq!(done(&shop, "shop.overtaken"), ["evt_2", "evt_3", "evt_1"]);
}

#[tokio::test]
async fn writes_of_a_handler_that_runs_later_are_rolled_back() {
    let shop = shop(Router::builder().only::<writes>(), 1).await;
    query("create table written (event text)").execute(shop.pool()).await.unwrap();
    deliver(&shop, &["evt_1"]).await;
    let written = async || -> Vec<String> {
        sqlx::query_scalar("select event from written").fetch_all(shop.pool()).await.unwrap()
    };
    shop.run_until_idle().await;
    assert_eq!((shop.outcomes("shop.writes"), written().await), (vec!["later"], vec![]));
    shop.run_for(HOUR).await;
    assert_eq!(shop.outcomes("shop.writes"), ["later", "done"]);
    assert_eq!(written().await, ["evt_1"]);
}

/// A handler that asks to run later at once does not keep a worker busy.
#[tokio::test]
async fn shortest_wait_is_a_second() {
    #[on_event("invoice.*", name = "shop.eager")]
    async fn eager(_: Event) -> Outcome {
        Outcome::later(Duration::ZERO)
    }
    let shop = TestInbox::new(Router::builder().only::<eager>()).await.unwrap();
    deliver(&shop, &["evt_1"]).await;
    shop.run_for(Duration::from_secs(5)).await;
    assert_eq!(shop.outcomes("shop.eager"), ["later"; 6]);
}
