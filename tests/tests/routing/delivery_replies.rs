//! Handlers that reply, in a `DeliveryRouter`. They run before the event is stored. Other handlers of
//! the event are delivered.

use std::pin::pin;

use router_core::{
    Event, Reply, Router, State,
    delivery::Delivery,
    extract::PerDelivery,
    handler::{Handler as _, HandlerResult},
    on_event,
    routing::RouterError,
};
use router_tests::{
    event,
    held::Held,
    logged::{log, logged},
    payload,
};
use tower::ServiceExt as _;
use tracing_subscriber::filter::LevelFilter;

use super::delivery_router::{CallLog, Queue, Transaction, poll, unnamed};

#[on_event("invoice.paid", name = "replies")]
async fn replies(_: Event, _: PerDelivery<Transaction>) -> Reply<()> {
    Reply(())
}

#[on_event("invoice.paid", name = "exclusive", exclusive)]
async fn exclusive(event: Event, held: State<Held>) -> HandlerResult {
    held.call(event).await
}

#[on_event("invoice.paid", name = "quote", ordered, concurrency = 2)]
async fn quote(_: Event, log: State<CallLog>) -> Reply<()> {
    log.push("quote");
    Reply(())
}

#[tokio::test]
async fn handler_that_replies_is_not_delivered() {
    let router = Router::builder().only::<quote>().add::<unnamed>().state(CallLog::default());
    let router = router.delivered_by(&Queue).build().unwrap();
    let paid = event(payload("invoice.paid")).unwrap();
    let planned: Vec<_> = router.plan(&paid).map(|handler| &*handler.name).collect();
    assert_eq!(planned, ["routing::delivery_router::unnamed"]);
    assert_eq!(router.handlers().len(), 1);
    assert!(router.handler("quote").is_none());
    let report = router.reply(&paid).unwrap().await.unwrap();
    assert_eq!(report.reply().unwrap(), "null");
    assert!(router.reply(&event(payload("charge.failed")).unwrap()).is_none());

    let routes = router.routes().to_string();
    assert!(
        routes.lines().any(|line| line.contains(" reply ") && line.contains("quote")),
        "{routes}"
    );
    assert!(router.explain("invoice.paid").to_string().contains("quote"));
    let warnings: Vec<_> =
        router.startup_report().warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|line| line.contains("`ordered` needs an inbox")), "{warnings:?}");
    assert!(
        warnings.iter().any(|line| line.contains("`concurrency` has no effect")),
        "{warnings:?}"
    );

    router.close();
    let error = router.reply(&paid).unwrap().await.unwrap_err();
    assert!(matches!(error, RouterError::Closed), "{error:?}");
}

#[test]
fn event_with_a_reply_is_not_unhandled() {
    log(LevelFilter::INFO);
    let router = Router::builder().only::<quote>().state(CallLog::default());
    let router = router.delivered_by(&Queue).build().unwrap();
    logged();
    router.log_unmatched(&event(payload("invoice.paid")).unwrap());
    assert_eq!(logged(), "");
    router.log_unmatched(&event(payload("charge.failed")).unwrap());
    assert!(logged().contains("no handler for this event type"));
}

/// The key `ordered` makes a handler that replies exclusive, also in a router with delivered handlers.
#[tokio::test]
async fn reply_waits_for_an_exclusive_delivery_of_its_object() {
    let (held, mut progress) = Held::new();
    let router = Router::builder().only::<quote>().add::<exclusive>().state(CallLog::default());
    let router = router.state(held.clone()).delivered_by(&Queue).build().unwrap();
    let updated = event(payload("invoice.paid")).unwrap();
    let delivery = Delivery::new(updated.clone(), "exclusive", 1).provide(Transaction(1));
    let delivered = tokio::spawn(router.clone().oneshot(delivery));
    assert_eq!(progress.recv().await, Some("begun"));
    let mut reply = pin!(router.reply(&updated).unwrap());
    assert!(poll(reply.as_mut()).is_pending());
    held.release();
    assert!(delivered.await.unwrap().unwrap().is_done());
    assert!(reply.await.unwrap().reply().is_some());
}

#[test]
fn build_fails_if_replying_handler_takes_a_delivery_value() {
    let error = Router::builder().only::<replies>().delivered_by(&Queue).build().unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the router cannot be built: 1 problem
      1. these handlers reply to Stripe, so they run before the event is stored, but take a `routing::delivery_router::Transaction`, which only a delivery of the stored event provides
           tests/tests/routing/delivery_replies.rs:25  `replies`  on invoice.paid
         help: let them take only what the reply needs, such as a pool in a `State`, and do the rest in another handler of the same event, which is stored and delivered
    "#);
}
