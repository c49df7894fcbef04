//! Two processes export their traces to a stub of an OpenTelemetry collector.

use std::{
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, routing::post};
use http::{StatusCode, Uri};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use router_core::{SigningSecret, endpoint::FullBody, testing::SyntheticEvent};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

/// OTLP's number of the kind *consumer*.
const CONSUMER: u64 = 5;

/// A collector that keeps all spans.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Value>>>);

impl Collector {
    /// Serves in a task, and returns the collector with its URL.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let collecting = collector.clone();
        let collect = move |body: Bytes| async move { collecting.receive(&body) };
        let app = Router::new().route("/v1/traces", post(collect));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback is available");
        let url = format!("http://{}", listener.local_addr().expect("socket is bound"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (collector, url)
    }

    fn receive(&self, body: &[u8]) -> &'static str {
        let request: Value = serde_json::from_slice(body).expect("exporter sends JSON");
        let resources = request["resourceSpans"].as_array().into_iter().flatten();
        let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array()).flatten();
        let spans = scopes.flat_map(|scope| scope["spans"].as_array()).flatten().cloned();
        self.0.lock().expect("lock is not poisoned").extend(spans);
        "{}"
    }

    fn spans(&self, name: &str) -> Vec<Value> {
        let spans = self.0.lock().expect("lock is not poisoned");
        spans.iter().filter(|span| span["name"] == name).cloned().collect()
    }
}

/// Returns an attribute of a span.
fn attribute<'s>(span: &'s Value, key: &str) -> &'s Value {
    let mut attributes = span["attributes"].as_array().into_iter().flatten();
    attributes
        .find(|attribute| attribute["key"] == key)
        .map_or(&Value::Null, |found| &found["value"])
}

fn start(role: &str, inbox: &str, collector: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_traced-shop"))
        .args([role, inbox])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("program exists")
}

/// Sends a signed event to a process that receives events, and stops the process.
async fn send_event(mut process: Child, event: SyntheticEvent) -> ExitStatus {
    let output = process.stdout.take().expect("output is piped");
    let address = BufReader::new(output).lines().next_line().await.expect("output is text");
    let payload = event.build().expect("event is valid");
    let secret = SigningSecret::new("whsec_of_the_traces").expect("secret is valid");
    let mut request = payload.request(&secret);
    let url = format!("http://{}/webhook", address.expect("process serves"));
    *request.uri_mut() = url.parse::<Uri>().expect("URL is valid");
    let client: Client<HttpConnector, FullBody> =
        Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.expect("process answers");
    assert_eq!(response.status(), StatusCode::OK);
    let pid = process.id().expect("process is alive").to_string();
    Command::new("kill").args(["-TERM", &pid]).status().await.expect("`kill` is installed");
    process.wait().await.expect("process exists")
}

#[tokio::test]
async fn deliveries_link_to_the_request_that_stored_the_event() {
    let (collector, url) = Collector::start().await;
    let folder = tempfile::tempdir().expect("folder is writable");
    let inbox = format!("sqlite:{}/inbox.db", folder.path().display());

    let event = SyntheticEvent::new("invoice.paid").id("evt_traced");
    assert!(send_event(start("receive", &inbox, &url), event).await.success());
    let [request] = &collector.spans("endpoint")[..] else { panic!("expected one request") };
    assert_eq!(attribute(request, "http.response.status_code")["intValue"], "200");
    assert!(collector.spans("event").is_empty(), "nothing is delivered yet");

    assert!(start("work", &inbox, &url).wait().await.expect("process exists").success());
    let deliveries = collector.spans("event");
    assert_eq!(deliveries.len(), 2, "a failed attempt and its retry");
    for delivery in &deliveries {
        let links = delivery["links"].as_array().expect("delivery has links");
        assert_eq!(links.len(), 1, "{delivery}");
        assert_eq!(links[0]["traceId"], request["traceId"]);
        assert_eq!(links[0]["spanId"], request["spanId"]);
        assert_ne!(delivery["traceId"], request["traceId"], "a delivery is a trace of its own");
        assert_eq!(delivery["kind"], CONSUMER);
        for (key, value) in [
            ("messaging.system", "stripe"),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.message.id", "evt_traced"),
            ("messaging.destination.name", "default"),
        ] {
            assert_eq!(attribute(delivery, key)["stringValue"], value, "{key}");
        }
    }
    let mut attempts = Vec::new();
    for handler in collector.spans("handler") {
        let delivery = deliveries.iter().find(|event| event["spanId"] == handler["parentSpanId"]);
        assert!(delivery.is_some(), "the handler's span belongs to a delivery");
        let number = attribute(&handler, "stripe.attempt")["intValue"].clone();
        attempts.push((number, attribute(&handler, "stripe.outcome")["stringValue"].clone()));
    }
    assert_eq!(attempts, [("1".into(), "retry".into()), ("2".into(), "done".into())]);
}
