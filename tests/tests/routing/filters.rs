//! Handlers with `endpoint` or `livemode`: each event that the filter excludes from a handler is
//! logged.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use router_core::{
    Event, Router, Secrets, State,
    build::{Problem, RouterBuilder, Warning},
    on_event, on_unhandled,
    testing::{ManualClock, SyntheticEvent, TestRouter},
};
use router_inbox::{Inbox, conformance::MemoryStore};
use router_tests::now;
use tower::{Service as _, ServiceExt as _};
use tracing_subscriber::filter::LevelFilter;

use router_tests::logged::{self, log};

#[on_event("account.updated", name = "shop.seller", endpoint = "connect")]
async fn seller(_: Event) {}

#[on_event("account.updated", "payout.paid", name = "shop.own", endpoint = "platform")]
async fn own(_: Event) {}

#[on_event("invoice.paid", "invoice.voided", name = "shop.books", livemode = true)]
async fn books(_: Event) {}

#[on_event("*", name = "shop.audit")]
async fn audit(_: Event) {}

#[on_event("charge.failed", name = "shop.alert", concurrency = 1, answer_after = "8s")]
async fn alert(_: Event) {}

#[on_unhandled(name = "shop.rest")]
async fn rest(_: Event) {}

/// Returns the lines logged since the last call, without the crate's name and the spans.
fn logged() -> String {
    let lines = logged::logged();
    let lines = lines.lines().map(|line| {
        let (level, rest) = line.split_at(6);
        let message = rest.split_once("router_core::").map_or(rest, |(_, message)| message);
        format!("{level}{message}\n")
    });
    lines.collect()
}

fn builder() -> RouterBuilder {
    log(LevelFilter::INFO);
    Router::builder().without_linked().endpoints(["platform", "connect"])
}

/// A router behind an endpoint with this name, as when a secret has another name than intended.
fn shop(builder: RouterBuilder, endpoint: &str) -> TestRouter {
    let shop = TestRouter::new(builder).expect("router is valid").named(endpoint);
    logged();
    shop
}

/// Delivers an event, and returns the lines that were logged about it before it was handled.
async fn deliver(shop: &TestRouter, event: SyntheticEvent) -> String {
    assert_eq!(shop.deliver(event).await.status(), 200);
    let logged = logged();
    let lines = logged.lines().filter(|line| !line.contains("event handled"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn event(event_type: &str) -> SyntheticEvent {
    SyntheticEvent::new(event_type)
}

/// Replaces the random ids of events.
fn without_ids(log: &str) -> String {
    let mut parts = log.split("evt_");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        text + "evt_…" + rest
    })
}

#[tokio::test]
async fn handler_of_another_endpoint_is_named_once() {
    let shop = shop(builder().add::<seller>(), "conect");
    let log = deliver(&shop, event("account.updated")).await;
    insta::assert_snapshot!(without_ids(&log), @r#"
    WARN routing::unmatched: handler not called: its `endpoint = "connect"` excludes the event, which came to the endpoint `conect`; an endpoint's name is that of its signing secret: `connect=whsec_…`; logged once per handler and filter handler="shop.seller" event.id="evt_…" event.type="account.updated"
    INFO routing::unmatched: the filters of all handlers of this event type exclude the event; logged once per type event.type="account.updated" known=true
    "#);
    assert_eq!(deliver(&shop, event("account.updated")).await, "");
}

#[tokio::test]
async fn handler_of_the_other_mode_is_named_once() {
    let shop = shop(builder().add::<books>(), "platform");
    let log = deliver(&shop, event("invoice.paid")).await;
    insta::assert_snapshot!(without_ids(&log), @r#"
    WARN routing::unmatched: handler not called: its `livemode = true` excludes the event, which is a test event; logged once per handler and filter handler="shop.books" event.id="evt_…" event.type="invoice.paid"
    INFO routing::unmatched: the filters of all handlers of this event type exclude the event; logged once per type event.type="invoice.paid" known=true
    "#);
    // For an event of another type, only the type is new.
    let log = deliver(&shop, event("invoice.voided")).await;
    insta::assert_snapshot!(without_ids(&log), @r#"
     INFO routing::unmatched: the filters of all handlers of this event type exclude the event; logged once per type event.type="invoice.voided" known=true
    "#);
    assert_eq!(deliver(&shop, event("invoice.voided").livemode(true)).await, "");
}

/// The usual case: a handler for each endpoint.
#[tokio::test]
async fn exclusion_is_no_warning_if_another_handler_takes_the_event() {
    let shop = shop(builder().add::<seller>().add::<own>(), "platform");
    let log = deliver(&shop, event("account.updated")).await;
    assert!(log.starts_with(" INFO") && log.contains("shop.seller"), "{log}");
}

/// An event of another type, which only the excluded handler takes.
#[tokio::test]
async fn warning_follows_an_exclusion_without_one() {
    let shop = shop(builder().add::<seller>().add::<own>(), "connect");
    let log = deliver(&shop, event("account.updated")).await;
    assert!(log.starts_with(" INFO") && log.contains("shop.own"), "{log}");
    let log = deliver(&shop, event("payout.paid")).await;
    assert!(log.starts_with(" WARN") && log.contains("shop.own"), "{log}");
    assert_eq!(deliver(&shop, event("payout.paid")).await, "");
}

#[on_event("*", name = "shop.platform_audit", endpoint = "platform")]
async fn platform_audit(_: Event) {}

#[on_event("*", name = "shop.connect_audit", endpoint = "connect")]
async fn connect_audit(_: Event) {}

#[tokio::test]
async fn catch_all_handler_of_each_endpoint_is_no_warning() {
    let shop = shop(builder().add::<platform_audit>().add::<connect_audit>(), "connect");
    let log = deliver(&shop, event("account.updated")).await;
    assert!(log.starts_with(" INFO") && log.contains("shop.platform_audit"), "{log}");
}

/// An audit log does not do the other handler's work.
#[tokio::test]
async fn catch_all_handler_does_not_hide_an_exclusion() {
    let shop = shop(builder().add::<seller>().add::<audit>(), "platform");
    let log = deliver(&shop, event("account.updated")).await;
    assert!(log.starts_with(" WARN") && log.contains("shop.seller"), "{log}");
}

#[on_event("*", name = "shop.mirror", observer)]
async fn mirror(_: Event) {}

#[on_unhandled(name = "shop.count")]
async fn count(count: State<AtomicU32>) {
    count.fetch_add(1, Ordering::Relaxed);
}

#[tokio::test]
async fn event_with_only_an_observer_is_unhandled() {
    let unhandled = Arc::new(AtomicU32::new(0));
    let router = builder().add::<alert>().add::<mirror>().add::<count>();
    let shop = shop(router.shared_state(unhandled.clone()), "platform");
    for (event_type, expected) in [("account.updated", 1), ("charge.failed", 0)] {
        let answer = shop.deliver(event(event_type)).await;
        assert!(answer.handler("shop.mirror").is_done());
        let log = logged();
        assert_eq!(log.matches("no handler for this event type").count(), expected, "{log}");
        assert_eq!(unhandled.load(Ordering::Relaxed), 1, "{event_type}");
    }
}

#[test]
fn observer_meets_no_requirement_and_is_no_catch_all() {
    let router = || builder().add::<mirror>().add::<rest>();
    let router_of_observer = router().build().unwrap();
    let report = router_of_observer.startup_report();
    assert!(report.catch_all.is_empty() && report.warnings.is_empty(), "{report}");
    let named = builder().handler("books", ["invoice.paid"], async |_: Event| {});
    assert!(named.require(["invoice.paid"]).build().is_ok());
    let error = router().add::<books_mirror>().require(["invoice.paid"]).build().unwrap_err();
    assert!(matches!(error.problems(), [Problem::MissingHandler { .. }]), "{error}");
}

#[on_event("invoice.paid", name = "shop.books_mirror", observer)]
async fn books_mirror(_: Event) {}

#[tokio::test]
async fn inbox_logs_exclusions() {
    log(LevelFilter::INFO);
    let store = MemoryStore::new(ManualClock::at(now()));
    let router = builder().add::<seller>().delivered_by(&store).build().unwrap();
    let mut inbox = Inbox::new(store, router);
    logged();
    for expected in [1, 0] {
        let event = event("account.updated").build().unwrap().event().clone();
        inbox.ready().await.unwrap().call(event).await.unwrap();
        let log = logged();
        assert_eq!(
            log.matches("WARN routing::unmatched: handler not called").count(),
            expected,
            "{log}"
        );
    }
}

#[tokio::test]
async fn router_of_one_mode_handles_no_event_of_the_other() {
    let live = || builder().add::<seller>().add::<audit>().add::<rest>().livemode(true);
    let shop = shop(live(), "connect");
    let answer = shop.deliver(event("account.updated")).await;
    assert!(answer.report().unwrap().is_unhandled(), "{answer:?}");
    insta::assert_snapshot!(without_ids(&logged()), @r#"
     INFO routing::unmatched: test event not handled, because the router has `.livemode(true)`; logged once event.id="evt_…" event.type="account.updated"
    "#);
    assert_eq!(deliver(&shop, event("account.updated")).await, "", "logged once");
    let answer = shop.deliver(event("account.updated").livemode(true)).await;
    assert!(answer.handler("shop.seller").is_done(), "{answer:?}");
    let routes = live().build().unwrap().routes().to_string();
    assert!(routes.lines().skip(1).all(|route| route.contains("live")), "{routes}");
}

#[test]
fn build_fails_if_a_filter_excludes_every_event() {
    let error = builder().add::<seller>().endpoints(["conect"]).build();
    assert!(error.is_ok(), "the endpoint `connect` is known");
    let builder = Router::builder().without_linked().add::<seller>().add::<own>().add::<books>();
    let secrets = Secrets::parse("platform=whsec_a,conect=whsec_b").unwrap();
    let error = builder.endpoints(secrets.endpoints()).livemode(false).build().unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the router cannot be built: 2 problems
      1. no endpoint is named `connect`, so these handlers would never be called
           tests/tests/routing/filters.rs:22  `shop.seller`  on account.updated
         endpoints: `conect`, `platform`
         help: give the endpoint's signing secret this name: `connect=whsec_…` in the list of secrets; or correct `endpoint = "connect"`
      2. the router has `.livemode(false)`, so these handlers with `livemode = true` would never be called
           tests/tests/routing/filters.rs:28  `shop.books`  on invoice.paid, invoice.voided
         help: remove `.livemode(false)` or `livemode = true`, or leave the handlers out: `.without::<the_handler>()`
    "#);
    let [Problem::UnknownEndpoint { .. }, Problem::OtherMode { .. }] = error.problems() else {
        panic!("{error}");
    };
}

#[test]
fn startup_report_names_what_is_never_called_or_has_no_effect() {
    let linked = Router::builder().without_linked();
    let linked = linked.add::<seller>().add::<audit>().add::<alert>().add::<rest>();
    let router = linked.build().unwrap();
    let report = router.startup_report();
    // It lists the handlers of the whole program as left out.
    let is_of_this_file = |line: &&str| !line.starts_with("left out") || line.contains(file!());
    let text = report.to_string();
    let lines: Vec<_> = text.lines().filter(is_of_this_file).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    handlers: 4 from router-tests 0.0.0
    left out: tests/tests/routing/filters.rs:25  `shop.own`  on account.updated, payout.paid
    left out: tests/tests/routing/filters.rs:28  `shop.books`  on invoice.paid, invoice.voided
    left out: tests/tests/routing/filters.rs:131  `shop.platform_audit`  on *
    left out: tests/tests/routing/filters.rs:134  `shop.connect_audit`  on *
    left out: tests/tests/routing/filters.rs:152  `shop.mirror`  on *
    left out: tests/tests/routing/filters.rs:155  `shop.count`  on (unhandled)
    left out: tests/tests/routing/filters.rs:186  `shop.books_mirror`  on invoice.paid
    left out: tests/tests/routing/filters.rs:281  `shop.both`  on account.updated
    this handler takes every event type, so no event is logged or counted as unhandled: tests/tests/routing/filters.rs:31  `shop.audit`  on *
    warning: tests/tests/routing/filters.rs:34  `shop.alert`  on charge.failed: `concurrency`, `answer_after` have no effect without an inbox (`.delivered_by(...)`), nor for a handler that replies: Stripe is answered after the handler, and redelivers a failed event on a schedule of its own
    warning: tests/tests/routing/filters.rs:22  `shop.seller`  on account.updated: `endpoint = "connect"` is not checked, so a misspelled name would keep the handler from being called; call `.endpoints(secrets.endpoints())` before `.build()`
    warning: tests/tests/routing/filters.rs:37  `shop.rest`  on (unhandled): never called, because this handler handles every event: tests/tests/routing/filters.rs:31  `shop.audit`  on *; remove one of them
    "#);
    assert!(report.warnings.iter().any(|warning| matches!(warning, Warning::NotDelivered { .. })));
    // With an inbox, the keys have an effect.
    let store = MemoryStore::new(ManualClock::at(now()));
    let delivered = builder().add::<alert>().delivered_by(&store).build().unwrap();
    assert_eq!(delivered.startup_report().warnings, []);
}

/// With the secret of `stripe listen`, each event belongs to one of the two endpoints.
#[test]
fn two_names_are_not_the_name_of_an_endpoint() {
    #[on_event("account.updated", name = "shop.both", endpoint = "platform+connect")]
    async fn both(_: Event) {}

    let secrets = Secrets::parse("platform+connect=whsec_a").unwrap();
    let builder = Router::builder().without_linked().add::<both>();
    let error = builder.endpoints(secrets.endpoints()).build().unwrap_err().to_string();
    assert!(
        error.contains("help: an event belongs to one endpoint: name one of the two"),
        "{error}"
    );
}
