//! The internal server of the metrics and the routes.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
};
use router_stripe::doctor::{Destination, Environment, ProgramRoutes, compare};

use crate::running::{Running, exchange, payment, program, refused, send};

const SECRET: &str = "whsec_of_the_tests";

fn start() -> Running {
    let mut program = program();
    Running::start(program.env("STRIPE_WEBHOOK_SECRET", SECRET))
}

fn payment_request() -> String {
    payment(&SigningSecret::new(SECRET).expect("secret is valid"))
}

#[test]
fn event_is_counted_by_outcome() {
    let server = start();
    let answer = send(server.address(), &payment_request());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    let response = exchange(server.internal_address(), "GET /metrics");
    let (head, metrics) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let handler = r#"handler="payments.succeeded""#;
    for line in [
        "# HELP stripe_webhook_events_total Answered events by outcome: done, duplicate, unhandled, retry, dead",
        "# TYPE stripe_webhook_events_total counter",
        r#"stripe_webhook_events_total{outcome="done"} 1"#,
        &format!(r#"stripe_webhook_handlers_total{{{handler},outcome="done"}} 1"#),
        // Registered at zero, so that the first increase is visible to rate().
        &format!("stripe_webhook_dead_letters_total{{{handler}}} 0"),
        &format!("stripe_webhook_unrecorded_failures_total{{{handler}}} 0"),
        "# TYPE stripe_webhook_requests_in_flight gauge",
        "stripe_webhook_requests_in_flight 0",
        // Histograms, which can be aggregated over several servers.
        "# TYPE stripe_webhook_request_duration_seconds histogram",
        r#"stripe_webhook_request_duration_seconds_bucket{status="200",le="30"} 1"#,
        r#"stripe_webhook_request_duration_seconds_count{status="200"} 1"#,
        &format!(r#"stripe_webhook_handler_duration_seconds_bucket{{{handler},le="20"}} 1"#),
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in:\n{metrics}");
    }
    // Every metric has a description, because the recorder is installed before the router is built.
    let count = |prefix| metrics.lines().filter(|line| line.starts_with(prefix)).count();
    assert_eq!(count("# HELP "), count("# TYPE "));
    // Requests to the metrics server are not counted.
    assert!(metrics.contains("\nstripe_webhook_requests_total 1\n"), "{metrics}");
}

#[test]
fn internal_server_has_its_own_address() {
    let server = start();
    let metrics = server.internal_address();
    for (address, request_line, status) in [
        (metrics, "GET /metrics", "200 OK"),
        (metrics, "HEAD /metrics", "200 OK"),
        (metrics, "POST /metrics", "404 Not Found"),
        (metrics, "GET /", "404 Not Found"),
        (metrics, "POST /webhook", "404 Not Found"),
        (metrics, "HEAD /routes", "200 OK"),
        (metrics, "POST /routes", "404 Not Found"),
        (server.address(), "GET /metrics", "404 Not Found"),
        (server.address(), "GET /routes", "404 Not Found"),
    ] {
        let response = exchange(address, request_line);
        let begin = format!("HTTP/1.1 {status}\r\n");
        assert!(response.starts_with(&begin), "{request_line} to {address}: {response}");
    }
    let response = exchange(metrics, "GET /");
    assert!(response.ends_with("metrics are at /metrics, and routes at /routes\n"), "{response}");
}

#[test]
fn doctor_compares_the_served_routes() {
    let server = start();
    let address = server.internal_address();
    let printed =
        format!("\nroutes for `event-router doctor --routes` at http://{address}/routes\n");
    assert!(server.printed.contains(&printed), "{}", server.printed);
    let response = exchange(address, "GET /routes");
    let (head, json) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
    let routes: ProgramRoutes = serde_json::from_str(json).unwrap();
    let destination = r#"{"id": "ed_1", "object": "v2.core.event_destination", "status": "enabled",
        "enabled_events": ["payment_intent.succeeded"], "event_payload": "snapshot",
        "webhook_endpoint": {"url": "https://shop.example/webhook"}}"#;
    let destinations = Destination::parse_all(destination).unwrap();
    let findings = compare(&routes, &destinations, &Environment::default());
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(
        findings[0].message,
        "The handler payments.method_attached takes payment_method.attached, which ed_1 does not send."
    );
}

/// Prometheus keeps its connection open.
#[test]
fn sigterm_exits_cleanly_with_open_scraper_connection() {
    let server = start();
    let mut scraper = TcpStream::connect(server.internal_address()).unwrap();
    scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    let mut begin = [0; 15];
    scraper.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    // Both servers log their shutdown; the span tells them apart.
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("shutting down")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains(" connections=0") && !lines[0].contains("internal:"), "{log}");
    assert!(lines[1].contains(" connections=1") && lines[1].contains("internal:"), "{log}");
    assert_eq!(log.matches("no request is in flight any more").count(), 2, "{log}");
}

#[test]
fn metrics_are_served_during_shutdown() {
    let server = start();
    let in_flight = || {
        let metrics = exchange(server.internal_address(), "GET /metrics");
        metrics.contains("\nstripe_webhook_requests_in_flight 1\n")
    };
    let request = payment_request();
    let (begin, end) = request.split_at(request.len() - 1);
    let mut stripe = TcpStream::connect(server.address()).unwrap();
    stripe.write_all(begin.as_bytes()).unwrap();
    wait_until(in_flight);
    server.send_sigterm();
    wait_until(|| TcpStream::connect(server.address()).is_err());
    assert!(in_flight());
    stripe.write_all(end.as_bytes()).unwrap();
    let mut answer = String::new();
    stripe.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (status, log) = server.finish();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Polls a condition until it is true; panics after a minute.
fn wait_until(condition: impl Fn() -> bool) {
    let start = SystemClock.wall();
    while !condition() {
        let waited = SystemClock.wall().duration_since(start).unwrap_or_default();
        assert!(waited < Duration::from_secs(60), "condition is still false after a minute");
    }
}

#[test]
fn occupied_internal_port_error_names_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, stderr) = refused(program().arg(format!("--internal-listen={address}")));
    assert_eq!(code, Some(1));
    let error = format!("error: cannot serve the shop's page and metrics on {address}: ");
    assert!(stderr.starts_with(&error), "{stderr}");
    assert!(stderr.contains("choose another address with `--internal-listen`"), "{stderr}");
}
