//! What Prometheus fetches.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
};

use crate::running::{Running, exchange, payment, program, refused, send};

const SECRET: &str = "whsec_of_the_tests";

fn counted() -> Running {
    let mut program = program();
    Running::start(program.env("STRIPE_WEBHOOK_SECRET", SECRET).arg("--metrics-listen=127.0.0.1:0"))
}

/// The address of the metrics.
fn metrics_address(server: &Running) -> &str {
    let (_, rest) = server.printed.split_once("\nmetrics at http://").expect("it says where");
    rest.split_once("/metrics\n").expect("it says which path").0
}

fn paid() -> String {
    payment(&SigningSecret::new(SECRET).expect("it is a secret"))
}

#[test]
fn an_event_is_counted_with_what_became_of_it() {
    let server = counted();
    let answer = send(server.address(), &paid());
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    let response = exchange(metrics_address(&server), "GET /metrics");
    let (head, metrics) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    let handler = r#"handler="payments.succeeded""#;
    for line in [
        "# HELP stripe_webhook_events_total Events that were answered: done, unhandled, retry, dead",
        "# TYPE stripe_webhook_events_total counter",
        r#"stripe_webhook_events_total{outcome="done"} 1"#,
        &format!(r#"stripe_webhook_handlers_total{{{handler},outcome="done"}} 1"#),
        // There before the first one, so that its increase is seen.
        &format!("stripe_webhook_dead_letters_total{{{handler}}} 0"),
        &format!("stripe_webhook_unrecorded_failures_total{{{handler}}} 0"),
        "# TYPE stripe_webhook_requests_in_flight gauge",
        "stripe_webhook_requests_in_flight 0",
        // Buckets, which can be added up over several servers.
        "# TYPE stripe_webhook_request_duration_seconds histogram",
        r#"stripe_webhook_request_duration_seconds_bucket{status="200",le="30"} 1"#,
        r#"stripe_webhook_request_duration_seconds_count{status="200"} 1"#,
        &format!(r#"stripe_webhook_handler_duration_seconds_bucket{{{handler},le="20"}} 1"#),
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in:\n{metrics}");
    }
    // Each has a description: they are installed before the router is built.
    let count = |prefix| metrics.lines().filter(|line| line.starts_with(prefix)).count();
    assert_eq!(count("# HELP "), count("# TYPE "));
    // What the metrics' own server does is no webhook.
    assert!(metrics.contains("\nstripe_webhook_requests_total 1\n"), "{metrics}");
}

#[test]
fn the_metrics_are_at_an_address_of_their_own() {
    let server = counted();
    let metrics = metrics_address(&server);
    for (address, request_line, status) in [
        (metrics, "GET /metrics", "200 OK"),
        (metrics, "HEAD /metrics", "200 OK"),
        (metrics, "POST /metrics", "404 Not Found"),
        (metrics, "GET /", "404 Not Found"),
        (metrics, "POST /webhook", "404 Not Found"),
        (server.address(), "GET /metrics", "404 Not Found"),
    ] {
        let response = exchange(address, request_line);
        let begin = format!("HTTP/1.1 {status}\r\n");
        assert!(response.starts_with(&begin), "{request_line} to {address}: {response}");
    }
    let elsewhere = exchange(metrics, "GET /");
    assert!(elsewhere.ends_with("not found; the metrics are at /metrics\n"), "{elsewhere}");
}

#[test]
fn there_are_none_unless_an_address_is_given_also_by_the_environment() {
    let silent = Running::start(&mut program());
    assert!(!silent.printed.contains("metrics"), "{}", silent.printed);
    let told = Running::start(program().env("METRICS_LISTEN", "127.0.0.1:0"));
    let response = exchange(metrics_address(&told), "GET /metrics");
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
}

/// As Prometheus does, which keeps its connection.
#[test]
fn a_sigterm_ends_it_in_order_while_somebody_is_connected() {
    let server = counted();
    let mut scraper = TcpStream::connect(metrics_address(&server)).unwrap();
    scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    let mut begin = [0; 15];
    scraper.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    // Each server says so, and which it is.
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("shutting down")).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains(" connections=0") && !lines[0].contains("metrics:"), "{log}");
    assert!(lines[1].contains(" connections=1") && lines[1].contains("metrics:"), "{log}");
    assert_eq!(log.matches("all requests in flight were answered").count(), 2, "{log}");
}

#[test]
fn what_is_still_in_flight_at_a_shutdown_can_be_seen() {
    let server = counted();
    let in_flight = || {
        let metrics = exchange(metrics_address(&server), "GET /metrics");
        metrics.contains("\nstripe_webhook_requests_in_flight 1\n")
    };
    let request = paid();
    let (begin, end) = request.split_at(request.len() - 1);
    let mut stripe = TcpStream::connect(server.address()).unwrap();
    stripe.write_all(begin.as_bytes()).unwrap();
    until(in_flight);
    server.ask_to_stop();
    until(|| TcpStream::connect(server.address()).is_err());
    assert!(in_flight());
    stripe.write_all(end.as_bytes()).unwrap();
    let mut answer = String::new();
    stripe.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (status, log) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Asks again until it is so, and gives up after a minute.
fn until(is_so: impl Fn() -> bool) {
    let begun = SystemClock.wall();
    while !is_so() {
        let waited = SystemClock.wall().duration_since(begun).unwrap_or_default();
        assert!(waited < Duration::from_secs(60), "it is never so");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, said) = refused(program().arg(format!("--metrics-listen={address}")));
    assert_eq!(code, Some(1));
    let error = format!("error: cannot serve metrics on {address}: ");
    assert!(said.starts_with(&error), "{said}");
    assert!(said.contains("`--metrics-listen` takes another address"), "{said}");
}
