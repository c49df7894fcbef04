//! The client against the stub, over real sockets.

mod support;

use std::{error::Error as _, time::Duration};

use router_core::{
    Event, Router,
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};
use router_stripe::{
    ApiKey, Client, Error, ErrorKind,
    doctor::{Code, Doctor, Ping, ProgramRoutes, Unpinged},
    testing::Fault,
};
use serde_json::{Value, json};
use support::{INVOICE, advance, client_with_clock, stub};

#[tokio::test]
async fn request_has_headers_and_response_has_id_and_date() {
    let stripe = stub().await;
    stripe.set_object_of("acct_1", INVOICE, json!({"id": "in_1", "status": "void"}));
    let client = stripe.client_builder().api_version("2026-01-28.clover").build();
    let client = client.expect("settings are valid");
    let request = client.get(INVOICE).query("expand[]", "customer").account("acct_1");
    let response = request.send().await.expect("object exists");
    assert_eq!(response.json::<Value>().expect("body is JSON")["status"], "void");
    assert_eq!(response.request_id(), Some("req_1"));
    let age = SystemClock.wall().duration_since(response.date().expect("stub sends a date"));
    assert!(age.unwrap_or_default() < Duration::from_secs(60));
    let requests = stripe.requests();
    assert_eq!(requests[0].path, "/v1/invoices/in_1?expand%5B%5D=customer");
    assert_eq!(requests[0].header("authorization"), Some("Bearer rk_test_stub"));
    assert_eq!(requests[0].header("stripe-version"), Some("2026-01-28.clover"));
    assert_eq!(requests[0].header("idempotency-key"), None);

    let other = client.get(INVOICE).context("acct_1").api_version("2025-09-30.clover");
    other.send().await.expect("object exists");
    let requests = stripe.requests();
    assert_eq!(requests[1].header("stripe-context"), Some("acct_1"));
    assert_eq!(requests[1].header("stripe-version"), Some("2025-09-30.clover"));
    assert_eq!(requests[1].header("stripe-account"), None);
}

#[tokio::test]
async fn failed_attempts_are_retried_with_one_idempotency_key() {
    let stripe = stub().await;
    let (client, clock) = client_with_clock(&stripe);
    stripe.fault(Fault::status(500));
    stripe.fault(Fault::disconnect());
    let request = client.post(INVOICE).form("metadata[order]", "a&b").form("auto_advance", "true");
    advance(&clock, request.send()).await.expect("third attempt succeeds");
    let requests = stripe.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0].body, "metadata%5Border%5D=a%26b&auto_advance=true");
    let content_type = requests[0].header("content-type");
    assert_eq!(content_type, Some("application/x-www-form-urlencoded"));
    let keys = requests.iter().map(|request| request.header("idempotency-key"));
    let keys: std::collections::BTreeSet<_> = keys.collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(keys.first().is_some_and(|key| key.is_some_and(|key| key.len() == 32)), "{keys:?}");
}

#[tokio::test]
async fn retries_end_after_the_last_attempt() {
    let stripe = stub().await;
    let (client, clock) = client_with_clock(&stripe);
    for _ in 0..4 {
        stripe.fault(Fault::status(503));
    }
    let error = advance(&clock, client.get(INVOICE).send()).await.expect_err("all attempts fail");
    assert_eq!(
        (error.kind(), error.status(), error.attempts()),
        (ErrorKind::Unavailable, Some(503), 3)
    );
    assert!(error.is_transient());
    assert_eq!(
        error.to_string(),
        "GET /v1/invoices/in_1 failed (503) after 3 attempts: a fault of the stub [req_3]"
    );
}

#[tokio::test]
async fn retry_after_is_obeyed_within_the_total_time() {
    let stripe = stub().await;
    let (client, clock) = client_with_clock(&stripe);
    stripe.fault(Fault::rate_limited(7));
    let start = clock.monotonic();
    advance(&clock, client.get(INVOICE).send()).await.expect("second attempt succeeds");
    let elapsed = clock.monotonic() - start;
    assert!(elapsed >= Duration::from_secs(7), "{elapsed:?}");

    // The wait would exceed the total time, so the caller decides when to try again.
    stripe.fault(Fault::rate_limited(3_600));
    let error = client.get(INVOICE).send().await.expect_err("the wait is too long");
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::RateLimited, 1));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3_600)));
}

#[tokio::test]
async fn header_of_stripe_decides_about_retries() {
    let stripe = stub().await;
    let (client, clock) = client_with_clock(&stripe);
    stripe.fault(Fault::status(500).header("stripe-should-retry", "false"));
    let error = client.get(INVOICE).send().await.expect_err("Stripe forbids a retry");
    assert_eq!(error.attempts(), 1);
    stripe.fault(Fault::status(400).header("stripe-should-retry", "true"));
    advance(&clock, client.get(INVOICE).send()).await.expect("second attempt succeeds");
    stripe.fault(Fault::status(409));
    advance(&clock, client.get(INVOICE).send()).await.expect("second attempt succeeds");
    stripe.fault(Fault::status(402));
    let error = client.get(INVOICE).send().await.expect_err("402 is final");
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Rejected, 1));
}

#[tokio::test]
async fn attempt_and_request_end_in_time() {
    let stripe = stub().await;
    let (client, clock) = client_with_clock(&stripe);
    for _ in 0..3 {
        stripe.fault(Fault::delay(Duration::from_secs(600)));
    }
    let start = clock.monotonic();
    let error = advance(&clock, client.get(INVOICE).send()).await.expect_err("no answer in time");
    assert_eq!((error.kind(), error.status()), (ErrorKind::Unavailable, None));
    let elapsed = clock.monotonic() - start;
    assert!(elapsed <= Duration::from_secs(31), "{elapsed:?}");
    assert!(error.attempts() >= 2, "{error}");
}

#[tokio::test]
async fn missing_object_and_refused_key_are_final() {
    let stripe = stub().await;
    let error = stripe.client().get("/v1/invoices/in_9").send().await.expect_err("no such object");
    assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some("resource_missing")));
    assert_eq!(error.error_type(), Some("invalid_request_error"));
    assert_eq!((error.attempts(), error.request_id()), (1, Some("req_1")));
    let other = ApiKey::new("rk_test_other").expect("key is valid");
    let other = Client::builder(other).base_url(stripe.url()).build().expect("settings are valid");
    let error = other.get(INVOICE).send().await.expect_err("key is unknown");
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unauthorized, 1));
    assert!(error.to_string().contains("check the API key"), "{error}");
}

#[tokio::test]
async fn unreachable_server_is_unavailable() {
    let stripe = stub().await;
    let (client, clock) = client_with_clock(&stripe);
    drop(stripe);
    let error = advance(&clock, client.get(INVOICE).send()).await.expect_err("nothing listens");
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unavailable, 3));
    assert!(error.source().is_some());
}

#[tokio::test]
async fn key_is_sent_only_to_the_api() {
    let stripe = stub().await;
    let other = stub().await;
    let client = stripe.client();
    for path in
        ["/v3/x", "v1/x", "/", "//127.0.0.1/v1/x", "/v1/../x", &format!("{}/v1/x", other.url()), ""]
    {
        let error = client.get(path).send().await.expect_err("path is not one of the API");
        assert_eq!(error.kind(), ErrorKind::Rejected, "{path}");
    }
    let header = client.get(INVOICE).account("acct_1\r\nx: y").send().await;
    assert_eq!(header.expect_err("header is invalid").kind(), ErrorKind::Rejected);
    assert!(stripe.requests().is_empty() && other.requests().is_empty());
}

#[tokio::test]
async fn concurrent_requests_are_limited() {
    let stripe = stub().await;
    let client = stripe.client_builder().max_concurrency(2).build().expect("settings are valid");
    for _ in 0..2 {
        stripe.fault(Fault::delay(Duration::from_secs(600)));
    }
    let slow: Vec<_> = (0..2).map(|_| tokio::spawn(client.get(INVOICE).send())).collect();
    while stripe.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    let mut third = Box::pin(client.get(INVOICE).send());
    tokio::select! {
        biased;
        _ = &mut third => panic!("a third request was sent"),
        () = SystemClock.sleep(Duration::from_millis(100)) => {}
    }
    assert_eq!(stripe.requests().len(), 2);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    third.await.expect("permits are free again");
}

#[tokio::test]
async fn request_that_waits_for_others_says_so() {
    let stripe = stub().await;
    let clock = ManualClock::at(SystemClock.wall());
    let client = stripe.client_builder().clock(clock.clone()).max_concurrency(1).max_attempts(1);
    let client = client.attempt_timeout(Duration::from_secs(60)).build();
    let client = client.expect("settings are valid");
    stripe.fault(Fault::delay(Duration::from_secs(600)));
    let slow = tokio::spawn(client.get(INVOICE).send());
    while stripe.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let error = advance(&clock, client.get(INVOICE).send()).await.expect_err("no permit is free");
    assert!(error.to_string().contains("`max_concurrency` requests are in flight"), "{error}");
    slow.abort();
    assert_eq!(stripe.requests().len(), 1);
}

async fn ids(request: router_stripe::Request) -> Result<Vec<Vec<String>>, Error> {
    let (mut pages, mut ids) = (request.pages(), Vec::new());
    while let Some(page) = pages.next().await? {
        let id = |item: Box<serde_json::value::RawValue>| {
            let item: Value = serde_json::from_str(item.get()).expect("item is JSON");
            item["id"].as_str().unwrap_or_default().to_owned()
        };
        ids.push(page.into_iter().map(id).collect());
    }
    Ok(ids)
}

#[tokio::test]
async fn lists_are_read_page_by_page_in_both_directions() {
    let stripe = stub().await;
    for number in 1..=5 {
        let event = json!({"id": format!("evt_{number}"), "type": "a", "created": number});
        stripe.add_item("/v1/events", event.clone());
        stripe.add_item("/v2/core/events", event);
    }
    let list = || stripe.client().get("/v1/events").query("limit", "2");
    let pages = ids(list()).await.expect("stub answers");
    assert_eq!(pages, [vec!["evt_5", "evt_4"], vec!["evt_3", "evt_2"], vec!["evt_1"]]);
    let pages = ids(list().query("ending_before", "evt_1")).await.expect("stub answers");
    assert_eq!(pages, [["evt_2", "evt_3"], ["evt_4", "evt_5"]]);
    let path = "/v1/events?limit=2&ending_before=evt_1";
    assert_eq!(ids(stripe.client().get(path)).await.expect("stub answers"), pages);
    let filtered = list().query("created[gte]", "2").query("created[lt]", "4");
    assert_eq!(ids(filtered).await.expect("stub answers"), [["evt_3", "evt_2"]]);
    // The stub refuses requests to the API v2 without an API version, like Stripe.
    let v2 = stripe.client().get("/v2/core/events");
    let pages = ids(v2.query("limit", "3")).await.expect("stub answers");
    assert_eq!(pages, [vec!["evt_5", "evt_4", "evt_3"], vec!["evt_2", "evt_1"]]);
    assert_eq!(stripe.requests()[0].path, "/v1/events?limit=2");
}

#[tokio::test]
async fn list_that_moves_while_it_is_read_returns_each_item_once() {
    let stripe = stub().await;
    for number in 1..=4 {
        stripe.add_item("/v1/events", json!({"id": format!("evt_{number}")}));
    }
    let mut pages = stripe.client().get("/v1/events").query("limit", "2").pages();
    assert_eq!(pages.next().await.expect("stub answers").map(|page| page.len()), Some(2));
    stripe.add_item("/v1/events", json!({"id": "evt_5"}));
    stripe.fault(Fault::status(400));
    pages.next().await.expect_err("the stub fails once");
    let page = pages.next().await.expect("stub answers").expect("there is a second page");
    let items: Vec<_> = page.iter().map(|item| item.get()).collect();
    assert_eq!(items, [r#"{"id":"evt_2"}"#, r#"{"id":"evt_1"}"#]);
    assert!(pages.next().await.expect("list is complete").is_none());
}

#[test]
fn key_from_environment_is_checked() {
    let error = ApiKey::from_env("ROUTER_STRIPE_UNSET_VARIABLE").expect_err("variable is not set");
    assert!(error.to_string().contains("ROUTER_STRIPE_UNSET_VARIABLE"), "{error}");
}

#[tokio::test]
async fn doctor_compares_router_with_account() {
    let stripe = stub().await;
    let router = Router::builder()
        .handler("shop.fulfil", ["invoice.paid"], async |_: Event| {})
        .build()
        .expect("router is valid");
    let client = stripe.client();
    let doctor = Doctor::new(&client);
    stripe.add_item("/v1/webhook_endpoints", json!({"id": "we_1", "object": "webhook_endpoint",
        "status": "enabled", "enabled_events": ["customer.created"], "url": "https://shop.example"}));
    stripe.add_item(
        "/v2/core/event_destinations",
        json!({"id": "we_1",
        "object": "v2.core.event_destination", "status": "enabled", "event_payload": "snapshot",
        "enabled_events": ["customer.created"], "events_from": ["@self"]}),
    );
    let findings = doctor.check(router.routes()).await.expect("lists are read");
    assert_eq!(findings.len(), 2);
    assert_eq!(findings[0].code, Code::NotEnabled);
    let fix = findings[0].fix.as_ref().expect("finding has a fix");
    // Another program's event types are added in the meantime.
    let other = json!({"enabled_events": ["customer.created", "charge.failed"]});
    let change = client.post("/v2/core/event_destinations/we_1").json(other);
    change.send().await.expect("destination exists");
    fix.send(&client).await.expect("destination exists");
    let body = stripe.requests().pop().expect("stub received it").body;
    let body: Value = serde_json::from_slice(&body).expect("body is JSON");
    let events = ["customer.created", "charge.failed", "invoice.paid"];
    assert_eq!(body, json!({ "enabled_events": events }));
    let findings = doctor.check(router.routes()).await.expect("lists are read");
    assert_eq!((findings.len(), findings[0].code), (1, Code::Unhandled));
    let json = serde_json::to_string(router.routes()).expect("routes are JSON");
    let routes: ProgramRoutes = serde_json::from_str(&json).expect("JSON is of routes");
    assert_eq!(routes, ProgramRoutes::from(router.routes()));
}

#[tokio::test]
async fn doctor_pings_enabled_webhook_endpoints() {
    let stripe = stub().await;
    let list = "/v2/core/event_destinations";
    for (id, status, url) in [
        ("ed_bus", "enabled", None),
        ("ed_off", "disabled", Some("https://shop.example/off")),
        ("ed_main", "enabled", Some("https://shop.example")),
    ] {
        let endpoint = url.map(|url| json!({ "url": url }));
        stripe.add_item(
            list,
            json!({"id": id, "object": "v2.core.event_destination", "status": status,
                "event_payload": "snapshot", "enabled_events": ["*"], "events_from": ["@self"],
                "webhook_endpoint": endpoint}),
        );
    }
    stripe.add_item(
        "/v1/webhook_endpoints",
        json!({"id": "we_1", "object": "webhook_endpoint",
        "status": "enabled", "enabled_events": ["*"], "url": "https://shop.example/v1"}),
    );
    let client = stripe.client();
    let pings = Doctor::new(&client).ping().await.expect("destinations are pinged");
    let event = stripe.next_ping().await;
    let results: Vec<_> = pings
        .iter()
        .map(|ping| (&*ping.destination.id, ping.event.as_deref().map_err(|reason| *reason)))
        .collect();
    let expected = [
        ("ed_main", Ok(event.id())),
        ("ed_off", Err(Unpinged::Disabled)),
        ("ed_bus", Err(Unpinged::CloudPlatform)),
        ("we_1", Err(Unpinged::ApiV1)),
    ];
    assert_eq!(results, expected);
    assert_eq!(event.event().event_type(), "v2.core.event_destination.ping");
    let related = event.event().related_object().expect("a ping names its destination");
    assert_eq!(related.id(), Some("ed_main"));
    let posts = stripe.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posts, 1);
    assert!(pings[0].missing(Duration::from_secs(60)).is_some());
    assert_eq!((pings[1].missing(Duration::ZERO), Ping::none_sent(&pings)), (None, None));
    let other = Doctor::new(&client).url("https://shop.example/off").ping().await;
    let other = other.expect("lists are read");
    assert_eq!(other.len(), 1);
    assert_eq!(Ping::none_sent(&other).expect("nothing was pinged").code, Code::Ping);
}
