//! What the keys of `#[on_event]` do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    future::pending,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use http::Request;
use http_body_util::Full;
use router_core::{
    Endpoint, EventId, HandlerReport, Object, Outcome, Report, Router, Secrets, SigningSecret,
    State, event_type, on_event, signature::sign, testing::ManualClock,
};
use router_tests::{NOW, event, now, payload};
use tokio::sync::Notify;
use tower::ServiceExt as _;

/// The names of the handlers that ran, in order.
fn ran(report: &Report) -> Vec<&str> {
    report.handlers().iter().map(HandlerReport::name).collect()
}

#[on_event("invoice.paid", name = "last.a", order = 1)]
async fn last_a() {}

#[on_event("invoice.paid", name = "last.b", order = 1)]
async fn last_b() {}

#[on_event("invoice.paid", name = "usual")]
async fn usual() {}

#[on_event("invoice.paid", name = "first", order = -2147483648)]
async fn first() {}

#[tokio::test]
async fn handlers_run_by_order_and_then_by_name() {
    let router =
        Router::builder().only::<last_b>().only::<first>().only::<usual>().only::<last_a>();
    let report = router.build().unwrap().oneshot(event(payload("invoice.paid")).unwrap()).await;
    assert_eq!(ran(&report.unwrap()), ["first", "usual", "last.a", "last.b"]);
}

#[on_event("charge.*", name = "connect", endpoint = "connect")]
async fn of_connect() {}

#[on_event("charge.failed", name = "live", livemode = true)]
async fn of_live() {}

#[on_event("charge.failed", name = "test", livemode = false)]
async fn of_test() {}

#[tokio::test]
async fn a_filtered_handler_is_only_called_for_its_endpoint_and_mode() {
    let router = Router::builder().only::<of_connect>().only::<of_live>().only::<of_test>();
    let secrets = Secrets::parse("platform=whsec_p,connect=whsec_c").unwrap();
    let endpoint = Endpoint::new(secrets, router.build().unwrap()).clock(ManualClock::at(now()));
    let send = async |secret: &str, body: String| {
        let header = sign(&SigningSecret::new(secret).unwrap(), NOW, body.as_bytes());
        let request = Request::post("/").header("stripe-signature", header);
        let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
        let response = endpoint.clone().oneshot(request).await.unwrap();
        let report: &Report = response.extensions().get().unwrap();
        (ran(report).join(" "), report.is_unhandled())
    };
    let test = payload("charge.failed");
    let live = test.replace(r#""livemode":false"#, r#""livemode":true"#);
    let neither = test.replace(r#""livemode":false,"#, "");
    assert_eq!(send("whsec_p", test.clone()).await, ("test".to_owned(), false));
    assert_eq!(send("whsec_p", live.clone()).await, ("live".to_owned(), false));
    assert_eq!(send("whsec_c", test).await, ("connect test".to_owned(), false));
    assert_eq!(send("whsec_c", live).await, ("connect live".to_owned(), false));
    // One that says neither is for neither, and nobody overlooks it: it is unhandled.
    assert_eq!(send("whsec_p", neither).await, (String::new(), true));
}

#[on_event("charge.captured", name = "five", timeout = "5s")]
async fn stuck_for_five_seconds() {
    pending::<()>().await;
}

#[on_event("charge.captured", name = "usual.time")]
async fn stuck_for_the_usual_time() {
    pending::<()>().await;
}

#[tokio::test]
async fn a_handler_that_takes_too_long_is_a_failure_to_be_tried_again() {
    let clock = ManualClock::at(now());
    let router = Router::builder()
        .only::<stuck_for_five_seconds>()
        .only::<stuck_for_the_usual_time>()
        .handler_timeout(Duration::from_secs(7))
        .clock(clock.clone())
        .build()
        .unwrap();
    let call = tokio::spawn(router.oneshot(event(payload("charge.captured")).unwrap()));
    for step in [5, 7] {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(step) - Duration::from_millis(1));
        tokio::task::yield_now().await;
        assert!(!call.is_finished(), "it was given up too early");
        clock.advance(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    assert!(call.is_finished(), "it still waits");
    let report = call.await.unwrap().unwrap();
    let texts = ["five", "usual.time"].map(|name| {
        let failure = report.handler(name).unwrap().result().unwrap_err();
        assert!(!failure.is_permanent());
        failure.to_string()
    });
    assert_eq!(
        texts,
        ["the handler did not finish within 5s", "the handler did not finish within 7s"]
    );
}

/// A gate that blocks the thread of who waits at it, and says that somebody does.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar, Notify);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        self.2.notify_one();
        let (closed, long) = (self.0.lock().unwrap(), Duration::from_secs(60));
        let waited = self.1.wait_timeout_while(closed, long, |open| !*open).unwrap().1;
        assert!(!waited.timed_out(), "nobody could open the gate");
    }
}

#[on_event("charge.updated", blocking)]
fn blocks(gate: State<Gate>, id: EventId) -> Outcome {
    gate.wait();
    Outcome::ignored(format!("waited with {id}"))
}

#[on_event("charge.updated", blocking, name = "panics")]
fn blocks_and_panics(_: Object<serde::de::IgnoredAny>) {
    panic!("a bug");
}

/// On one thread: were the handler to block it, nobody would open the gate.
#[tokio::test(flavor = "current_thread")]
async fn a_blocking_handler_blocks_no_other_event() {
    let gate = Arc::new(Gate::default());
    let router = Router::builder().only::<blocks>().only::<blocks_and_panics>();
    let router = router.shared_state(gate.clone()).build().unwrap();
    let event = event(payload("charge.updated")).unwrap();
    let (report, ()) = tokio::join!(router.oneshot(event), async {
        gate.2.notified().await;
        gate.open();
    });
    let report = report.unwrap();
    let [first, second] = report.handlers() else { panic!("{report:?}") };
    assert_eq!(first.result().unwrap(), &Outcome::ignored("waited with evt_1"));
    let failure = second.result().unwrap_err();
    assert_eq!(failure.to_string(), "the handler panicked: a bug");
    assert!(!failure.is_permanent());
}

#[on_event(event_type::charge::dispute::CREATED, "charge.dispute.closed", name = "by.constant")]
async fn by_constant() {}

#[tokio::test]
async fn a_constant_of_the_catalogue_is_an_event_type() {
    let router = Router::builder().only::<by_constant>().build().unwrap();
    assert_eq!(router.event_types(), ["charge.dispute.closed", "charge.dispute.created"]);
    for event_type in [event_type::charge::dispute::CREATED, event_type::charge::dispute::CLOSED] {
        let report = router.clone().oneshot(event(payload(event_type)).unwrap()).await.unwrap();
        assert_eq!(ran(&report), ["by.constant"]);
    }
}

/// Every type that Stripe is known to send reaches the one handler that is for it alone.
#[tokio::test]
async fn all_known_event_types_are_routed() {
    let mut router = Router::builder().without_linked();
    for event_type in event_type::ALL {
        router = router.handler(*event_type, [*event_type], async |_: router_core::Event| {});
    }
    let router = router.build().unwrap();
    let (mut snapshots, mut thin) = (0, 0);
    for known in router_catalog::all() {
        let body = match known.kind {
            router_catalog::Kind::Snapshot => payload(known.name),
            router_catalog::Kind::Thin => {
                format!(r#"{{"id":"evt_1","object":"v2.core.event","type":"{}"}}"#, known.name)
            }
        };
        let event = event(body).unwrap();
        *(if event.is_thin() { &mut thin } else { &mut snapshots }) += 1;
        assert_eq!(ran(&router.clone().oneshot(event).await.unwrap()), [known.name]);
    }
    assert_eq!((snapshots, thin), (275, 326));
}
