//! The effects of the keys of `#[on_event]`.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use std::{
    future::pending,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use http::Request;
use http_body_util::Full;
use router_core::{
    Endpoint, EventId, Object, Outcome, Router, Secrets, SigningSecret, State, event_type,
    handler::{HandlerReport, Report},
    on_event,
    signature::sign,
    testing::ManualClock,
};
use router_tests::{NOW, event, now, payload};
use tokio::sync::Notify;
use tower::ServiceExt as _;

/// Returns the names of the handlers in a report, in order.
fn handler_names(report: &Report) -> Vec<&str> {
    report.handlers().iter().map(HandlerReport::name).collect()
}

#[on_event("invoice.paid", name = "last.a", order = 1)]
async fn last_a() {}

#[on_event("invoice.paid", name = "last.b", order = 1)]
async fn last_b() {}

#[on_event("invoice.paid", name = "default")]
async fn default_order() {}

#[on_event("invoice.paid", name = "first", order = -2147483648)]
async fn first() {}

#[tokio::test]
async fn handlers_run_by_order_and_then_by_name() {
    let router =
        Router::builder().only::<last_b>().only::<first>().only::<default_order>().only::<last_a>();
    let report = router.build().unwrap().oneshot(event(payload("invoice.paid")).unwrap()).await;
    assert_eq!(handler_names(&report.unwrap()), ["first", "default", "last.a", "last.b"]);
}

#[on_event("charge.*", name = "connect", endpoint = "connect")]
async fn connect_charges() {}

#[on_event("charge.failed", name = "live", livemode = true)]
async fn live_charges() {}

#[on_event("charge.failed", name = "test", livemode = false)]
async fn test_charges() {}

#[tokio::test]
async fn handlers_are_filtered_by_endpoint_and_livemode() {
    let router =
        Router::builder().only::<connect_charges>().only::<live_charges>().only::<test_charges>();
    let secrets = Secrets::parse("platform=whsec_p,connect=whsec_c").unwrap();
    let endpoint = Endpoint::new(secrets, router.build().unwrap()).clock(ManualClock::at(now()));
    let send = async |secret: &str, body: String| {
        let header = sign(&SigningSecret::new(secret).unwrap(), NOW, body.as_bytes());
        let request = Request::post("/").header("stripe-signature", header);
        let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
        let response = endpoint.clone().oneshot(request).await.unwrap();
        let report: &Report = response.extensions().get().unwrap();
        (handler_names(report).join(" "), report.is_unhandled())
    };
    let test = payload("charge.failed");
    let live = test.replace(r#""livemode":false"#, r#""livemode":true"#);
    let no_livemode = test.replace(r#""livemode":false,"#, "");
    assert_eq!(send("whsec_p", test.clone()).await, ("test".to_owned(), false));
    assert_eq!(send("whsec_p", live.clone()).await, ("live".to_owned(), false));
    assert_eq!(send("whsec_c", test).await, ("connect test".to_owned(), false));
    assert_eq!(send("whsec_c", live).await, ("connect live".to_owned(), false));
    // An event without `livemode` matches neither filter and is reported as unhandled.
    assert_eq!(send("whsec_p", no_livemode).await, (String::new(), true));
}

#[on_event("charge.*", name = "platform", endpoint = "platform")]
async fn platform_charges() {}

#[on_event("v2.core.account[configuration.merchant].updated", name = "thin", endpoint = "connect")]
async fn connect_thin() {}

#[tokio::test]
async fn one_secret_of_two_endpoints_tells_events_apart_by_account() {
    let router = Router::builder()
        .only::<connect_charges>()
        .only::<platform_charges>()
        .only::<connect_thin>();
    let secrets = Secrets::parse("platform+connect=whsec_listen").unwrap();
    let endpoint = Endpoint::new(secrets, router.build().unwrap()).clock(ManualClock::at(now()));
    let secret = SigningSecret::new("whsec_listen").unwrap();
    let own = payload("charge.failed");
    let with = |field: &str| own.replacen('{', &format!("{{{field},"), 1);
    let thin = |context: &str| {
        format!(
            r#"{{"id":"evt_1","object":"v2.core.event","type":"v2.core.account[configuration.merchant].updated","context":{context}}}"#
        )
    };
    for (body, handler, received_by) in [
        (own.clone(), "platform", "platform"),
        (with(r#""account":null"#), "platform", "platform"),
        (with(r#""account":"""#), "platform", "platform"),
        (with(r#""account":"acct_1""#), "connect", "connect"),
        (thin(r#""org_1/acct_1""#), "thin", "connect"),
        (thin("null"), "", "platform"),
    ] {
        let header = sign(&secret, NOW, body.as_bytes());
        let request = Request::post("/").header("stripe-signature", header);
        let request = request.body(Full::new(bytes::Bytes::from(body.clone()))).unwrap();
        let response = endpoint.clone().oneshot(request).await.unwrap();
        let report: &Report = response.extensions().get().unwrap();
        assert_eq!(handler_names(report).join(" "), handler, "{body}");
        assert_eq!(report.event().endpoint().as_str(), received_by, "{body}");
        assert_eq!(report.event().key().endpoint(), received_by, "{body}");
    }
}

#[on_event("charge.captured", name = "five", timeout = "5s")]
async fn stuck_for_five_seconds() {
    pending::<()>().await;
}

#[on_event("charge.captured", name = "router.timeout")]
async fn stuck_for_default_timeout() {
    pending::<()>().await;
}

#[tokio::test]
async fn handler_timeout_is_a_transient_failure() {
    let clock = ManualClock::at(now());
    let router = Router::builder()
        .only::<stuck_for_five_seconds>()
        .only::<stuck_for_default_timeout>()
        .handler_timeout(Duration::from_secs(7))
        .clock(clock.clone())
        .build()
        .unwrap();
    let call = tokio::spawn(router.oneshot(event(payload("charge.captured")).unwrap()));
    for step in [5, 7] {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(step) - Duration::from_millis(1));
        tokio::task::yield_now().await;
        assert!(!call.is_finished(), "the handler timed out too early");
        clock.advance(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    assert!(call.is_finished(), "the handler did not time out");
    let report = call.await.unwrap().unwrap();
    let texts = ["five", "router.timeout"].map(|name| {
        let failure = report.handler(name).unwrap().result().unwrap_err();
        assert!(!failure.is_permanent());
        failure.to_string()
    });
    assert_eq!(
        texts,
        ["the handler did not finish within 5s", "the handler did not finish within 7s"]
    );
}

/// A gate that blocks the waiting thread until it is opened.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
    /// Notified when a thread begins to wait.
    waiting: Notify,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        self.waiting.notify_one();
        let is_open = self.is_open.lock().unwrap();
        let timeout = Duration::from_secs(60);
        let waited = self.opened.wait_timeout_while(is_open, timeout, |open| !*open).unwrap().1;
        assert!(!waited.timed_out(), "the gate was not opened within {timeout:?}");
    }
}

#[on_event("charge.updated", blocking, name = "blocks")]
fn blocks(gate: State<Gate>, id: EventId) -> Outcome {
    gate.wait();
    Outcome::ignored(format!("waited with {id}"))
}

#[on_event("charge.updated", blocking, name = "panics")]
fn blocks_and_panics(_: Object<serde::de::IgnoredAny>) {
    panic!("a bug");
}

/// The runtime has one thread, so if the handler blocked that thread, the gate would never open.
#[tokio::test(flavor = "current_thread")]
async fn blocking_handler_does_not_block_the_runtime() {
    let gate = Arc::new(Gate::default());
    let router = Router::builder().only::<blocks>().only::<blocks_and_panics>();
    let router = router.shared_state(gate.clone()).build().unwrap();
    let event = event(payload("charge.updated")).unwrap();
    let (report, ()) = tokio::join!(router.oneshot(event), async {
        gate.waiting.notified().await;
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
async fn catalog_constant_is_an_event_type() {
    let router = Router::builder().only::<by_constant>().build().unwrap();
    assert_eq!(router.event_types(), ["charge.dispute.closed", "charge.dispute.created"]);
    for event_type in [event_type::charge::dispute::CREATED, event_type::charge::dispute::CLOSED] {
        let report = router.clone().oneshot(event(payload(event_type)).unwrap()).await.unwrap();
        assert_eq!(handler_names(&report), ["by.constant"]);
    }
}

/// Each event type in the catalog reaches exactly the one handler of this type.
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
        assert_eq!(handler_names(&router.clone().oneshot(event).await.unwrap()), [known.name]);
    }
    assert_eq!((snapshots, thin), (275, 326));
}
