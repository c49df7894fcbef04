//! No text that leaves the process shows a secret, and no answer to the sender shows an internal
//! error. A program of its own, because it captures the log of all threads.

use std::{
    fmt::{Debug, Display},
    io,
    sync::Mutex,
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use router_core::{
    BoxError, Endpoint, Event, Failure, Router, Secrets, SigningSecret,
    endpoint::{Answer, Refusal},
    handler::Report,
    server::Server,
    signature::{SecretError, sign, verify},
    testing::ManualClock,
};
use router_tests::{NOW, now};
use tokio::{net::TcpListener, sync::oneshot};
use tower::{ServiceExt as _, service_fn};
use tracing_subscriber::filter::LevelFilter;

/// The texts that must never appear: valid signing secrets, and an API key as an invalid one.
const SECRETS: [&str; 4] = [
    "whsec_Zq8RkVw3NdT5yLx7PbJ2mCf9",
    "whsec_HgT4sWc6XvB1nKq9RzD3jUe8",
    "whsec_QmF7yPa2LtS5xJb8GhN4wVk6",
    "sk_live_EuY3iOd9ScX6vMz1KrT7bHp5",
];

/// The personal data in the events.
const PERSONAL_DATA: [&str; 2] = ["jenny.rosen@example.com", "27 Fredrick Ave"];

/// The internal error that handlers return or panic with.
const INTERNAL_ERROR: &str = "database password wrong";

fn secrets() -> Secrets {
    let [new, old, connect, _] = SECRETS;
    let list = format!("platform={new}|{old},connect={connect}");
    Secrets::parse(&list).expect("the secrets are valid")
}

fn payload(event_type: &str) -> String {
    let [email, street] = PERSONAL_DATA;
    format!(
        r#"{{"id":"evt_1","object":"event","type":"{event_type}","data":{{"object":{{"id":"in_1","email":"{email}","street":"{street}"}}}}}}"#
    )
}

/// Panics if `text` contains eight consecutive characters of a secret.
fn assert_no_secret(text: &str, source: &str) {
    for secret in SECRETS {
        let (_, random) = secret.rsplit_once('_').expect("each secret has a prefix");
        for piece in random.as_bytes().windows(8) {
            let piece = str::from_utf8(piece).expect("the secrets are ASCII");
            assert!(!text.contains(piece), "{source} shows {piece}, a part of a secret:\n{text}");
        }
    }
}

fn assert_no_personal_data(text: &str, source: &str) {
    for detail in PERSONAL_DATA {
        assert!(!text.contains(detail), "{source} shows {detail}:\n{text}");
    }
}

fn debug_text<T: Debug>(value: &T) -> String {
    format!("{value:?}\n{value:#?}")
}

fn debug_and_display<T: Debug + Display>(value: &T) -> String {
    format!("{value}\n{value:#}\n{}", debug_text(value))
}

fn router() -> Router {
    let router = Router::builder()
        .handler("good", ["*"], async |_: Event| {})
        .handler("later", ["invoice.voided"], async |_: Event| Err::<(), _>(INTERNAL_ERROR))
        .handler("never", ["invoice.sent"], async |_: Event| {
            Err::<(), _>(Failure::permanent(INTERNAL_ERROR))
        })
        .handler("panics", ["invoice.created"], panics);
    router.build().expect("the handlers are valid")
}

async fn panics(_: Event) {
    panic!("{INTERNAL_ERROR}")
}

fn endpoint() -> Endpoint<Router> {
    Endpoint::new(secrets(), router()).clock(ManualClock::at(now()))
}

#[test]
fn debug_output_shows_no_secret() {
    let [secret, ..] = SECRETS;
    let signing = SigningSecret::new(secret).unwrap();
    let texts = [
        ("SigningSecret", debug_text(&signing)),
        ("Secrets", debug_text(&secrets())),
        ("Endpoint", debug_text(&endpoint())),
        ("Router", debug_text(&router())),
        ("BuildError", debug_and_display(&Router::builder().build().unwrap_err())),
    ];
    for (source, text) in texts {
        assert_no_secret(&text, source);
    }
}

#[test]
fn error_of_an_invalid_secret_does_not_show_it() {
    let [valid, other, _, api_key] = SECRETS;
    let lists = [
        api_key.to_owned(),
        format!("platform={api_key}"),
        format!("{valid},{api_key}"),
        format!("{valid}\n"),
        format!(" {valid}"),
        format!("platform= {valid}"),
        format!("{valid}|{other} "),
        format!("={valid}"),
        format!("{valid},"),
        format!("{valid}|"),
        format!("\"{valid}\""),
        format!("{valid};{other}"),
        format!("{valid} # {other}"),
        format!("{valid}={other}"),
        format!("whsec_{valid}"),
        format!("{valid}\u{200b}"),
        format!("we_{}", &valid[6..]),
        format!("${{{valid}}}"),
    ];
    for list in lists {
        let error: SecretError = Secrets::parse(&list).unwrap_err();
        assert_no_secret(&debug_and_display(&error), "SecretError");
        assert_eq!(format!("{error:?}"), error.to_string(), "`main` prints the `Debug` form");
        let error: BoxError = error.into();
        assert_no_secret(&debug_and_display(&error), "a boxed SecretError");
    }
}

#[test]
fn event_debug_output_shows_no_personal_data() {
    let [secret, ..] = SECRETS;
    let body = Bytes::from(payload("invoice.paid"));
    let header = sign(&SigningSecret::new(secret).unwrap(), NOW, &body);
    let verified =
        verify(Some(header.as_bytes()), body, &secrets(), Default::default(), now()).unwrap();
    assert_no_personal_data(&debug_text(&verified), "VerifiedPayload");
    let event = Event::parse(verified).unwrap();
    assert!(event.object_json().unwrap().contains(PERSONAL_DATA[0]));
    let text = debug_text(&event);
    assert_no_personal_data(&text, "Event");
    assert_no_secret(&text, "Event");
    assert!(text.contains("evt_1") && text.contains("platform"), "{text}");
}

/// A request and the status of its answer.
struct Row {
    name: &'static str,
    request: Request<Full<Bytes>>,
    status: u16,
}

/// Returns requests to this URL: valid, invalid and forged ones, and ones whose handlers fail or
/// panic.
fn rows(url: &str) -> Vec<Row> {
    let [new, old, connect, _] = SECRETS;
    let signed = |secret: &str, body: &str, timestamp| {
        let secret = SigningSecret::new(secret).expect("the secret is valid");
        let header = sign(&secret, timestamp, body.as_bytes());
        let request = Request::post(url).header("stripe-signature", header);
        request.body(Full::from(body.to_owned())).expect("method, URL and header are valid")
    };
    let paid = payload("invoice.paid");
    let unsigned = Request::post(url)
        .body(Full::from(paid.clone()))
        .expect("method, URL and header are valid");
    let get = Request::get(url).body(Full::default()).expect("method, URL and header are valid");
    let row = |name, status, request| Row { name, request, status };
    vec![
        row("new", 200, signed(new, &paid, NOW)),
        row("old", 200, signed(old, &paid, NOW)),
        row("connect", 200, signed(connect, &paid, NOW)),
        row("ahead", 200, signed(new, &paid, NOW + 3600)),
        row("too old", 400, signed(new, &paid, NOW - 3600)),
        row("forged", 400, signed("whsec_another", &paid, NOW)),
        row("unsigned", 400, unsigned),
        row("no event", 400, signed(new, r#"{"id":1}"#, NOW)),
        row("not a post", 405, get),
        row("too large", 413, signed(new, &" ".repeat(2 << 20), NOW)),
        row("later", 500, signed(new, &payload("invoice.voided"), NOW)),
        row("never", 200, signed(new, &payload("invoice.sent"), NOW)),
        row("panics", 500, signed(new, &payload("invoice.created"), NOW)),
    ]
}

#[tokio::test]
async fn no_response_shows_a_secret_or_an_internal_error() {
    let down = service_fn(async |_: Event| Err::<Answer, BoxError>(INTERNAL_ERROR.into()));
    let down = Endpoint::new(secrets(), down).clock(ManualClock::at(now()));
    let first = rows("/webhook").swap_remove(0).request;
    let mut responses = vec![("down", down.oneshot(first).await.unwrap())];
    assert_eq!(responses[0].1.status(), 503);
    for Row { name, request, status } in rows("/webhook") {
        let response = endpoint().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{name}");
        responses.push((name, response));
    }
    for (name, response) in responses {
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        let sent = format!("{} {:?} {body}", parts.status, parts.headers);
        assert_no_secret(&sent, name);
        assert_no_personal_data(&sent, name);
        assert!(!sent.contains(INTERNAL_ERROR), "{name}: {sent}");

        // The response extension is for the operator: it may have the internal error, but no secret
        // and no personal data.
        let reason = match (parts.extensions.get(), parts.extensions.get()) {
            (Some(report), None) => debug_text::<Report>(report),
            (None, Some(refusal)) => debug_and_display::<Refusal>(refusal),
            other => panic!("{name}: {other:?}"),
        };
        assert_no_secret(&reason, name);
        assert_no_personal_data(&reason, name);
        let is_internal = ["down", "later", "never", "panics"].contains(&name);
        assert_eq!(reason.contains(INTERNAL_ERROR), is_internal, "{name}: {reason}");
    }
}

/// The log of the whole process.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A writer that appends to [`LOG`].
struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn log_of_all_crates_shows_no_secret() {
    // Other tests of this file may log at the same time; they may not show a secret either.
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE);
    subscriber.with_ansi(false).with_writer(|| LogWriter).init();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving =
        tokio::spawn(Server::new(endpoint()).serve(listener, async { drop(stopped.await) }));
    for http2 in [false, true] {
        let mut builder = Client::builder(TokioExecutor::new());
        let client = builder.http2_only(http2).build_http();
        for Row { name, request, status } in rows(&url) {
            // Over TCP the answer can be lost if the client is still sending the body.
            if name != "too large" {
                let response = client.request(request).await.unwrap();
                assert_eq!(response.status(), status, "{name}");
                response.into_body().collect().await.unwrap();
            }
        }
    }
    stop.send(()).unwrap();
    serving.await.unwrap();

    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    assert_no_secret(&log, "the log");
    assert_no_personal_data(&log, "the log");
    // The log is complete: it has all crates and levels, and the causes of failures.
    for expected in ["TRACE", "hyper_util::", "h2::", "router_core::endpoint", "evt_1"] {
        assert!(log.contains(expected), "the log does not contain {expected}");
    }
    for handler in ["later", "never", "panics"] {
        let has_cause = |line: &str| line.contains(handler) && line.contains(INTERNAL_ERROR);
        assert!(log.lines().any(has_cause), "the log has no cause of the failure of `{handler}`");
    }
}
