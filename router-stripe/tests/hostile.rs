//! The client against a server that answers unlike Stripe.

use std::time::Duration;

use router_core::{
    Router, StripeObject,
    clock::{Clock as _, SystemClock},
    testing::{SyntheticEvent, TestRouter},
};
use router_stripe::{
    ApiKey, Client, ErrorKind, Fetched,
    doctor::{Doctor, ProgramRoutes},
    testing::{Fault, STUB_KEY, StubStripe},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const INVOICE: &str = "/v1/invoices/in_1";

async fn stub() -> StubStripe {
    let stripe = StubStripe::start().await.expect("a port is free");
    stripe.set_object(INVOICE, json!({"id": "in_1"}));
    stripe
}

/// Starts a server that answers each request with these bytes, and returns a client of the server.
async fn client_of(answer: String) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("listener has an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                // The client has closed the connection if a write fails.
                drop(stream.read(&mut [0; 4096]).await);
                drop(stream.write_all(answer.as_bytes()).await);
            });
        }
    });
    let key = ApiKey::new(STUB_KEY).expect("key is valid");
    let client = Client::builder(key).base_url(url).max_attempts(1);
    client.build().expect("settings are valid")
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn largest_durations_do_not_overflow() {
    let stripe = stub().await;
    let client = stripe.client_builder();
    let client = client.attempt_timeout(Duration::MAX).total_timeout(Duration::MAX).build();
    let client = client.expect("settings are valid");
    client.get(INVOICE).send().await.expect("object exists");
    for wait in [u64::MAX, 1_000_000_000_000_000_000] {
        stripe.fault(Fault::rate_limited(wait));
        let error = stripe.client().get(INVOICE).send().await.expect_err("the wait is too long");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3_600)), "{wait}");
    }
}

#[tokio::test]
async fn zero_timeout_is_an_error() {
    let client = stub().await.client_builder().total_timeout(Duration::ZERO).build();
    let error = client.expect("settings are valid").get(INVOICE).send().await;
    assert_eq!(error.expect_err("no time").kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn date_of_a_retry_is_compared_with_the_clock_of_the_server() {
    let yesterday = SystemClock.wall() - Duration::from_secs(86_400);
    let date = |time| httpdate::fmt_http_date(time);
    let headers = format!(
        "date: {}\r\nretry-after: {}\r\n",
        date(yesterday),
        date(yesterday + Duration::from_secs(20))
    );
    let client = client_of(answer("503 Unavailable", &headers, "")).await;
    let error = client.get(INVOICE).send().await.expect_err("status is 503");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(20)));
}

#[derive(serde::Deserialize, StripeObject)]
#[stripe(object = "invoice")]
struct Invoice {}

#[tokio::test]
async fn missing_page_of_a_proxy_is_not_a_deleted_object() {
    for (status, body) in [
        ("404 Not Found", "<html>nginx</html>".to_owned()),
        ("200 OK", "<html>log in</html>".to_owned()),
        (
            "404 Not Found",
            json!({"error": {"type": "invalid_request_error",
            "message": "Unrecognized request URL (GET: /v1/x)."}})
            .to_string(),
        ),
    ] {
        let client = client_of(answer(status, "", &body)).await;
        let handler = async |_: Option<Fetched<Invoice>>| {};
        let router = Router::builder().handler("a", ["v1.invoice.paid"], handler).state(client);
        let router = TestRouter::new(router).expect("router is valid");
        let event = SyntheticEvent::new("v1.invoice.paid").build().expect("event is valid");
        let answer = router.deliver(event).await;
        let failure = answer.handler("a").result().expect_err("there is no object");
        assert_eq!(failure.is_permanent(), !body.starts_with('<'), "{failure}");
    }
}

#[tokio::test]
async fn error_of_a_proxy_says_so() {
    for status in ["302 Found", "401 Unauthorized", "403 Forbidden", "404 Not Found", "502 Bad"] {
        let client = client_of(answer(status, "location: https://login\r\n", "<html>")).await;
        let error = client.get(INVOICE).send().await.expect_err("status is an error");
        let (error, is_transient) = (error.to_string(), error.is_transient());
        assert!(error.contains("not in Stripe's form; check the proxy"), "{error}");
        assert!(!error.contains("restricted key"), "{error}");
        assert!(is_transient, "a proxy is mended, and the event must not be lost: {error}");
    }
}

#[tokio::test]
async fn texts_of_an_error_are_short_and_without_key() {
    let key = format!("{STUB_KEY} ");
    let body = json!({"error": {"message": key.repeat(10_000), "code": key, "type": key}});
    let headers = format!("request-id: {STUB_KEY}\r\n");
    let client = client_of(answer("400 Bad Request", &headers, &body.to_string())).await;
    let error = client.get(INVOICE).send().await.expect_err("status is 400");
    let text = format!("{error} {error:?}");
    assert!(!text.contains(STUB_KEY), "{error}");
    assert!(text.len() < 5_000, "{}", text.len());
}

#[tokio::test]
async fn endless_lists_are_an_error() {
    for (path, page) in [
        ("/v1/events", json!({"data": [{"id": "evt_1"}], "has_more": true})),
        ("/v1/events", json!({"data": [], "has_more": true})),
        ("/v2/core/events", json!({"data": [], "next_page_url": "/v2/core/events?page=1"})),
        ("/v2/core/events", json!({"data": [], "next_page_url": "https://other.example/v2/x"})),
    ] {
        let client = client_of(answer("200 OK", "", &page.to_string())).await;
        let mut pages = client.get(path).pages();
        let mut read = 0;
        let error = loop {
            match pages.next().await {
                Ok(Some(_)) if read < 5 => read += 1,
                Ok(_) => panic!("no error: {page}"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error.kind(), ErrorKind::Unreadable | ErrorKind::Rejected), "{error}");
    }
}

#[tokio::test]
async fn doctor_fails_if_a_list_has_unreadable_items() {
    let deep = format!("{{\"id\":\"we_1\",\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
    for item in [&deep, r#"{"id":"we_1","x":1e999}"#, r#"{"id":"we_1","x":"\ud800"}"#] {
        let page = format!(r#"{{"data":[{item}],"has_more":false}}"#);
        let client = client_of(answer("200 OK", "", &page)).await;
        let routes: ProgramRoutes = serde_json::from_str("[]").expect("routes are valid");
        let error = Doctor::new(&client).check(routes).await.expect_err("item is unreadable");
        assert_eq!(error.kind(), ErrorKind::Unreadable, "{error}");
    }
}
