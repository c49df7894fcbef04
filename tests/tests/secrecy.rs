//! No secret in any text that leaves the process, and no internal error in any that the sender
//! gets.

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
    Answer, BoxError, Endpoint, Event, Failure, Refusal, Report, Router, Secrets, SigningSecret,
    server::Server,
    signature::{SecretError, sign, verify},
    testing::ManualClock,
};
use router_tests::{NOW, now};
use tokio::{net::TcpListener, sync::oneshot};
use tower::{ServiceExt as _, service_fn};
use tracing_subscriber::filter::LevelFilter;

/// Every text that must not be seen, good secrets and bad ones.
const SECRETS: [&str; 4] = [
    "whsec_Zq8RkVw3NdT5yLx7PbJ2mCf9",
    "whsec_HgT4sWc6XvB1nKq9RzD3jUe8",
    "whsec_QmF7yPa2LtS5xJb8GhN4wVk6",
    "sk_live_EuY3iOd9ScX6vMz1KrT7bHp5",
];

/// What a good event says about a person.
const PERSON: [&str; 2] = ["jenny.rosen@example.com", "27 Fredrick Ave"];

/// What handlers say of us.
const INTERNAL: &str = "database password wrong";

fn secrets() -> Secrets {
    let [new, old, connect, _] = SECRETS;
    let list = format!("platform={new}|{old},connect={connect}");
    Secrets::parse(&list).expect("they are secrets")
}

fn payload(event_type: &str) -> String {
    let [email, street] = PERSON;
    format!(
        r#"{{"id":"evt_1","object":"event","type":"{event_type}","data":{{"object":{{"id":"in_1","email":"{email}","street":"{street}"}}}}}}"#
    )
}

/// Panics if `text` shows a secret, or as much of one as would help to guess it.
fn assert_no_secret(text: &str, what: &str) {
    for secret in SECRETS {
        let (_, random) = secret.rsplit_once('_').expect("each has a prefix");
        for piece in random.as_bytes().windows(8) {
            let piece = str::from_utf8(piece).expect("they are ASCII");
            assert!(!text.contains(piece), "{what} shows {piece}, of a secret:\n{text}");
        }
    }
}

fn assert_no_person(text: &str, what: &str) {
    for detail in PERSON {
        assert!(!text.contains(detail), "{what} shows {detail}:\n{text}");
    }
}

fn debug<T: Debug>(value: &T) -> String {
    format!("{value:?}\n{value:#?}")
}

fn all<T: Debug + Display>(value: &T) -> String {
    format!("{value}\n{value:#}\n{}", debug(value))
}

fn router() -> Router {
    let router = Router::builder()
        .handler("good", ["*"], async |_: Event| {})
        .handler("later", ["invoice.voided"], async |_: Event| Err::<(), _>(INTERNAL))
        .handler("never", ["invoice.sent"], async |_: Event| {
            Err::<(), _>(Failure::permanent(INTERNAL))
        })
        .handler("panics", ["invoice.created"], panics);
    router.build().expect("it is correct")
}

async fn panics(_: Event) {
    panic!("{INTERNAL}")
}

fn endpoint() -> Endpoint<Router> {
    Endpoint::new(secrets(), router()).clock(ManualClock::at(now()))
}

#[test]
fn no_type_shows_a_secret() {
    let [secret, ..] = SECRETS;
    let signing = SigningSecret::new(secret).unwrap();
    let shown = [
        ("SigningSecret", debug(&signing)),
        ("Secrets", debug(&secrets())),
        ("Endpoint", debug(&endpoint())),
        ("Router", debug(&router())),
        ("BuildError", all(&Router::builder().build().unwrap_err())),
    ];
    for (what, text) in shown {
        assert_no_secret(&text, what);
    }
}

#[test]
fn what_is_no_secret_is_not_shown_either() {
    let [good, other, _, api_key] = SECRETS;
    let lists = [
        api_key.to_owned(),
        format!("platform={api_key}"),
        format!("{good},{api_key}"),
        format!("{good}\n"),
        format!(" {good}"),
        format!("platform= {good}"),
        format!("{good}|{other} "),
        format!("={good}"),
        format!("{good},"),
        format!("{good}|"),
    ];
    for list in lists {
        let error: SecretError = Secrets::parse(&list).unwrap_err();
        assert_no_secret(&all(&error), "SecretError");
        let error: BoxError = error.into();
        assert_no_secret(&all(&error), "a boxed SecretError");
    }
}

#[test]
fn an_event_does_not_show_whom_it_is_about() {
    let [secret, ..] = SECRETS;
    let body = Bytes::from(payload("invoice.paid"));
    let header = sign(&SigningSecret::new(secret).unwrap(), NOW, &body);
    let verified =
        verify(Some(header.as_bytes()), body, &secrets(), Default::default(), now()).unwrap();
    let event = Event::parse(verified).unwrap();
    assert!(event.object_json().unwrap().contains(PERSON[0]));
    let text = debug(&event);
    assert_no_person(&text, "Event");
    assert_no_secret(&text, "Event");
    assert!(text.contains("evt_1") && text.contains("platform"), "{text}");
}

/// A request and what is so of its answer.
struct Row {
    what: &'static str,
    request: Request<Full<Bytes>>,
    status: u16,
}

/// Good, bad, forged, failing and panicking requests, to this address.
fn rows(url: &str) -> Vec<Row> {
    let [new, old, connect, _] = SECRETS;
    let signed = |secret: &str, body: &str, at| {
        let header = sign(&SigningSecret::new(secret).expect("it is one"), at, body.as_bytes());
        let request = Request::post(url).header("stripe-signature", header);
        request.body(Full::from(body.to_owned())).expect("it is a request")
    };
    let paid = payload("invoice.paid");
    let unsigned = Request::post(url).body(Full::from(paid.clone())).expect("it is a request");
    let get = Request::get(url).body(Full::default()).expect("it is a request");
    let row = |what, status, request| Row { what, request, status };
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
    let down = service_fn(async |_: Event| Err::<Answer, BoxError>(INTERNAL.into()));
    let down = Endpoint::new(secrets(), down).clock(ManualClock::at(now()));
    let first = rows("/webhook").swap_remove(0).request;
    let mut responses = vec![("down", down.oneshot(first).await.unwrap())];
    assert_eq!(responses[0].1.status(), 503);
    for Row { what, request, status } in rows("/webhook") {
        let response = endpoint().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{what}");
        responses.push((what, response));
    }
    for (what, response) in responses {
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        let sent = format!("{} {:?} {body}", parts.status, parts.headers);
        assert_no_secret(&sent, what);
        assert_no_person(&sent, what);
        assert!(!sent.contains(INTERNAL), "{what}: {sent}");

        // The typed reason is for the operator: it may hold the internal error, and no more.
        let reason = match (parts.extensions.get(), parts.extensions.get()) {
            (Some(report), None) => debug::<Report>(report),
            (None, Some(refusal)) => all::<Refusal>(refusal),
            other => panic!("{what}: {other:?}"),
        };
        assert_no_secret(&reason, what);
        assert_no_person(&reason, what);
        let internal = ["down", "later", "never", "panics"].contains(&what);
        assert_eq!(reason.contains(INTERNAL), internal, "{what}: {reason}");
    }
}

/// What was logged.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct ToLog;

impl io::Write for ToLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().expect("nobody panics while writing").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_of_ours_or_of_our_libraries_shows_a_secret() {
    // The other tests of this file may write to it too: they are to be as discreet.
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE);
    subscriber.with_ansi(false).with_writer(|| ToLog).init();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/webhook", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let served =
        tokio::spawn(Server::new(endpoint()).serve(listener, async { drop(stopped.await) }));
    for http2 in [false, true] {
        let mut builder = Client::builder(TokioExecutor::new());
        let client = builder.http2_only(http2).build_http();
        for Row { what, request, status } in rows(&url) {
            // Over a connection, an answer to a body that is still being sent can be lost.
            if what != "too large" {
                let response = client.request(request).await.unwrap();
                assert_eq!(response.status(), status, "{what}");
                response.into_body().collect().await.unwrap();
            }
        }
    }
    stop.send(()).unwrap();
    served.await.unwrap();

    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    assert_no_secret(&log, "the log");
    assert_no_person(&log, "the log");
    // It was all listened to, and the operator does read what went wrong.
    for expected in ["TRACE", "hyper_util::", "h2::", "router_core::endpoint", "evt_1"] {
        assert!(log.contains(expected), "no {expected} in the log");
    }
    for handler in ["later", "never", "panics"] {
        let told = |line: &str| line.contains(handler) && line.contains(INTERNAL);
        assert!(log.lines().any(told), "the log does not say why `{handler}` failed");
    }
}
