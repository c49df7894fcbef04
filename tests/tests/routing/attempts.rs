//! The retry policy of a router, and the `Attempt` that a handler takes, inline and with an inbox.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use router_core::{
    Event, Reply, Router, State,
    delivery::{DeliveryService, ProvidedType, RetryPolicy},
    extract::Attempt,
    on_event, on_unhandled,
    testing::{SyntheticEvent, TestRouter},
};
use router_inbox::{
    Tx,
    sqlx::{Sqlite, query, query_scalar},
    store::DeliveryState,
    testing::TestInbox,
};
use router_tests::{event, payload, payload_with_id};
use tower::ServiceExt as _;

const SECOND: Duration = Duration::from_secs(1);

/// A delivery service that provides nothing.
struct Queue;

impl DeliveryService for Queue {
    fn provides(&self) -> Vec<ProvidedType> {
        Vec::new()
    }
}

#[on_event("invoice.paid", name = "no_keys")]
async fn no_keys(_: Event) {}

#[on_event("invoice.paid", name = "attempts", retry(max_attempts = 2))]
async fn attempts(_: Event) {}

#[on_event("invoice.paid", name = "backoff", retry(backoff = "1h"))]
async fn backoff(_: Event) {}

#[on_event("invoice.paid", name = "max_backoff", retry(max_backoff = "2s"))]
async fn max_backoff(_: Event) {}

#[test]
fn keys_replace_values_of_the_routers_policy() {
    let policy = RetryPolicy::new(5).backoff(SECOND * 10).max_backoff(SECOND * 60);
    let builder = || {
        Router::builder()
            .only::<no_keys>()
            .only::<attempts>()
            .only::<backoff>()
            .only::<max_backoff>()
    };
    let router = builder().delivered_by(&Queue).retry(policy).build().unwrap();
    let retry = |name| router.handler(name).unwrap().retry;
    assert_eq!(retry("no_keys"), policy);
    assert_eq!(
        retry("attempts"),
        RetryPolicy::new(2).backoff(SECOND * 10).max_backoff(SECOND * 60)
    );
    assert_eq!(retry("backoff"), policy.backoff(SECOND * 3600).max_backoff(SECOND * 3600));
    assert_eq!(retry("max_backoff"), policy.backoff(SECOND * 2).max_backoff(SECOND * 2));
    let router = builder().delivered_by(&Queue).build().unwrap();
    assert_eq!(router.handler("no_keys").unwrap().retry, RetryPolicy::default());
}

#[test]
fn build_fails_if_the_retry_policy_is_invalid() {
    for (policy, mistake) in [
        (RetryPolicy::new(0), "its `max_attempts` is 0: allow at least 1"),
        (RetryPolicy::new(3).backoff(Duration::ZERO), "its `backoff` is zero"),
        (
            RetryPolicy::new(3).max_backoff(SECOND),
            "its `max_backoff` is shorter than its `backoff`",
        ),
    ] {
        let builder = Router::builder().only::<no_keys>().delivered_by(&Queue);
        let error = builder.retry(policy).build().unwrap_err().to_string();
        assert!(error.contains(mistake) && error.contains("attempts.rs:"), "{error}");
    }
}

/// The attempts that the handlers of a test saw, in order.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(&'static str, Attempt)>>>);

impl Seen {
    fn add(&self, handler: &'static str, attempt: Attempt) {
        self.0.lock().unwrap().push((handler, attempt));
    }

    fn take(&self) -> Vec<(&'static str, Attempt)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

type Failed<T = ()> = Result<T, &'static str>;

#[on_event("invoice.paid", name = "fails")]
async fn fails(attempt: Attempt, seen: State<Seen>) -> Failed {
    seen.add("fails", attempt);
    Err("not now")
}

#[tokio::test]
async fn inline_attempt_counts_runs_without_a_maximum() {
    let seen = Seen::default();
    let shop = TestRouter::new(Router::builder().only::<fails>().state(seen.clone())).unwrap();
    let payload = SyntheticEvent::new("invoice.paid").build().unwrap();
    for number in 1..=3 {
        assert_eq!(shop.deliver(&payload).await.status(), 500);
        let attempt = Attempt::new(number, None);
        assert_eq!(seen.take(), [("fails", attempt)]);
        assert_eq!((attempt.max(), attempt.is_last()), (None, false));
    }
}

fn decline() -> Reply<bool> {
    Reply(false)
}

#[on_event("issuing_authorization.request", name = "replies", default_reply = decline)]
async fn replies(attempt: Attempt, seen: State<Seen>) -> Failed<Reply<bool>> {
    seen.add("replies", attempt);
    Err("not now")
}

#[on_event("issuing_authorization.request", name = "runs_after_reply")]
async fn runs_after_reply(attempt: Attempt, seen: State<Seen>) -> Failed {
    seen.add("runs_after_reply", attempt);
    Err("not now")
}

#[on_unhandled(name = "unhandled")]
async fn unhandled(attempt: Attempt, seen: State<Seen>) -> Failed {
    seen.add("unhandled", attempt);
    Err("not now")
}

#[tokio::test]
async fn inline_attempt_is_last_if_failure_is_answered_with_200() {
    let seen = Seen::default();
    let builder = Router::builder().only::<replies>().only::<runs_after_reply>();
    let router = builder.only::<unhandled>().state(seen.clone()).build().unwrap();
    let request = event(payload("issuing_authorization.request")).unwrap();
    router.clone().oneshot(request).await.unwrap();
    router
        .clone()
        .oneshot(event(payload_with_id("evt_2", "charge.failed")).unwrap())
        .await
        .unwrap();
    router.close();
    router.drained().await;
    let mut seen = seen.take();
    seen.sort_by_key(|(handler, _)| *handler);
    let last = Attempt::new(1, Some(1));
    assert_eq!(seen, ["replies", "runs_after_reply", "unhandled"].map(|name| (name, last)));
    assert!(last.is_last());
}

/// Fails until the last attempt, which writes a refund.
#[on_event("invoice.paid", name = "shop.ship", retry(max_attempts = 3))]
async fn ship(
    event: Event,
    attempt: Attempt,
    seen: State<Seen>,
    mut tx: Tx<Sqlite>,
) -> Result<(), router_core::BoxError> {
    seen.add("shop.ship", attempt);
    if !attempt.is_last() {
        return Err("the warehouse is down".into());
    }
    query("insert into refunds values (?)").bind(event.id()).execute(tx.begin().await?).await?;
    Ok(())
}

#[tokio::test]
async fn last_attempt_of_a_delivery_writes_the_refund() {
    let seen = Seen::default();
    let router = Router::builder().only::<ship>().state(seen.clone());
    let shop = TestInbox::new(router).await.unwrap();
    query("create table refunds (event text)").execute(shop.pool()).await.unwrap();
    shop.deliver(SyntheticEvent::new("invoice.paid").id("evt_1")).await.receipt();
    shop.run_for(SECOND * 600).await;
    assert_eq!(seen.take(), [1, 2, 3].map(|number| ("shop.ship", Attempt::new(number, Some(3)))));
    assert_eq!(shop.outcomes("shop.ship"), ["retry", "retry", "done"]);
    let refunds: Vec<String> =
        query_scalar("select event from refunds").fetch_all(shop.pool()).await.unwrap();
    assert_eq!(refunds, ["evt_1"]);
    let delivery = shop.delivery("evt_1", "shop.ship").await;
    assert_eq!((delivery.state, delivery.attempts), (DeliveryState::Done, 3));
}
