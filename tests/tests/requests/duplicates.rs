//! Duplicates: each handler finishes an event once, however often the event is delivered.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use router_core::{
    BoxError, Event, Failure, Outcome, Router, Secrets, SigningSecret,
    completions::{CompletionStore, HandlerProgress, InMemoryCompletions},
    event::{AlreadyAuthenticated, EventKey},
    handler::{HandlerReport, HandlerResult, Report},
    routing::RouterError,
    signature::{Tolerance, sign, verify},
    testing::ManualClock,
};
use router_tests::{NOW, event, now, payload, payload_with_id};
use tower::ServiceExt as _;

use router_tests::held::Held;

const PAID: &str = "invoice.paid";

async fn deliver(router: &Router, body: &str) -> Result<Report, RouterError> {
    router.clone().oneshot(event(body.to_owned()).expect("the body is an event")).await
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns a handler and the count of its calls. `result` maps the number of a call, from 1, to its
/// result.
fn counted(
    result: fn(u32) -> HandlerResult,
) -> (Arc<AtomicU32>, impl Fn(Event) -> std::future::Ready<HandlerResult>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = calls.clone();
    (calls, move |_: Event| std::future::ready(result(counter.fetch_add(1, Relaxed) + 1)))
}

fn done(_: u32) -> HandlerResult {
    Ok(Outcome::Done)
}

fn fails_once(call: u32) -> HandlerResult {
    if call == 1 { Err("not now".into()) } else { Ok(Outcome::Done) }
}

#[tokio::test]
async fn redelivery_runs_only_the_failed_handler() {
    let (good, good_handler) = counted(done);
    let (bad, bad_handler) = counted(fails_once);
    let (ignoring, ignoring_handler) = counted(|_| Ok(Outcome::ignored("not ours")));
    let (dead, dead_handler) = counted(|_| Err(Failure::permanent("never")));
    let router = Router::builder()
        .handler("a.good", [PAID], good_handler)
        .handler("b.bad", [PAID], bad_handler)
        .handler("c.ignoring", [PAID], ignoring_handler)
        .handler("d.dead", [PAID], dead_handler)
        .build()
        .unwrap();
    let calls = || [&good, &bad, &ignoring, &dead].map(|calls| calls.load(Relaxed));
    let outcomes = |report: &Report| -> Vec<_> {
        report.handlers().iter().map(|handler| (handler.outcome(), handler.attempts())).collect()
    };

    let first = deliver(&router, &payload(PAID)).await.unwrap();
    assert_eq!(first.outcome(), "retry");
    assert_eq!(outcomes(&first), [("done", 1), ("retry", 1), ("ignored", 1), ("dead", 1)]);
    assert!(first.handlers().iter().all(|handler| handler.duration().is_some()));
    assert_eq!(calls(), [1, 1, 1, 1]);

    let second = deliver(&router, &payload(PAID)).await.unwrap();
    assert_eq!(second.outcome(), "dead", "no transient failure remains");
    assert_eq!(outcomes(&second), [("duplicate", 1), ("done", 2), ("duplicate", 1), ("dead", 1)]);
    let ran: Vec<bool> =
        second.handlers().iter().map(|handler| handler.duration().is_some()).collect();
    assert_eq!(ran, [false, true, false, false]);

    // No handler needs a retry, so the dead letter starts over.
    let third = deliver(&router, &payload(PAID)).await.unwrap();
    assert_eq!(
        outcomes(&third),
        [("duplicate", 1), ("duplicate", 2), ("duplicate", 1), ("dead", 1)]
    );
    assert_eq!(calls(), [1, 2, 1, 2]);
}

/// Returns the event of `body`, signed and verified with the secret of `endpoint`.
fn signed_event(endpoint: &str, secret: &str, body: &str) -> Event {
    let secrets = Secrets::parse(&format!("{endpoint}={secret}")).expect("the secrets are valid");
    let header =
        sign(&SigningSecret::new(secret).expect("the secret is valid"), NOW, body.as_bytes());
    let body = body.to_owned().into();
    let verified = verify(Some(header.as_bytes()), body, &secrets, Tolerance::default(), now());
    Event::parse(verified.expect("the signature matches")).expect("the body is an event")
}

#[test]
fn fetched_event_without_account_has_key_of_its_webhook() {
    let thin = |context: &str| {
        format!(
            r#"{{ "id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid",{context}
            "snapshot_event": "evt_2", "created": "2026-01-31T12:00:00.000Z"}}"#
        )
    };
    let snapshot = |account: &str| payload(PAID).replace("evt_1\",", &format!("evt_1\",{account}"));
    let (account, context) = (r#""account":"acct_1","#, r#""context": "acct_1","#);
    for (listed, webhook) in [
        (snapshot(""), snapshot(account)),
        (snapshot(r#""account": null,"#), snapshot(account)),
        (snapshot(r#""account":"","#), snapshot(account)),
        (snapshot(account), snapshot(account)),
        (snapshot(r#""account":"acct_2","#), snapshot(r#""account":"acct_2","#)),
        (thin(""), thin(context)),
        (thin(r#""context":null,"#), thin(context)),
        (thin(r#""context":"org_1/acct_1","#), thin(r#""context":"org_1/acct_1","#)),
        (format!("\n {}", thin("")), thin(context)),
    ] {
        let webhook = signed_event("connect", "whsec_new", &webhook);
        let fetched = AlreadyAuthenticated::fetched_from_stripe(listed, "connect");
        let event = Event::from_stripe_api(fetched.account("acct_1")).expect("an event");
        assert_eq!(event.key(), webhook.key());
        assert_eq!((event.account(), event.context()), (webhook.account(), webhook.context()));
        let json = |event: &Event| -> serde_json::Value {
            serde_json::from_slice(event.payload()).expect("payload is JSON")
        };
        assert_eq!(json(&event), json(&webhook));
        let named = |field: &str| event.payload_text().matches(field).count();
        assert_eq!(named("\"account\"") + named("\"context\""), 1, "{}", event.payload_text());
    }
}

#[tokio::test]
async fn event_identity_is_endpoint_account_id_and_type() {
    let with_account = |account: &str| {
        payload(PAID).replace("evt_1\",", &format!("evt_1\",\"account\":\"{account}\","))
    };
    let platform = |secret: &str, body: &str| signed_event("platform", secret, body);
    let spaced = payload(PAID).replace("{", "{ ");
    let polled = |body: String| {
        let fetched = AlreadyAuthenticated::fetched_from_stripe(body, "platform");
        Event::from_stripe_api(fetched).expect("an event")
    };
    let rows = [
        (platform("whsec_new", &payload(PAID)), "platform/evt_1/invoice.paid", 1),
        (platform("whsec_old", &payload(PAID)), "platform/evt_1/invoice.paid", 1),
        (platform("whsec_new", &spaced), "platform/evt_1/invoice.paid", 1),
        (platform("whsec_new", &with_account("")), "platform/evt_1/invoice.paid", 1),
        (signed_event("connect", "whsec_new", &payload(PAID)), "connect/evt_1/invoice.paid", 2),
        (platform("whsec_new", &with_account("acct_1")), "platform/acct_1/evt_1/invoice.paid", 3),
        (platform("whsec_new", &with_account("acct_2")), "platform/acct_2/evt_1/invoice.paid", 4),
        (platform("whsec_new", &payload_with_id("evt_2", PAID)), "platform/evt_2/invoice.paid", 5),
        (platform("whsec_new", &payload("invoice.sent")), "platform/evt_1/invoice.sent", 6),
        (polled(payload(PAID)), "platform/evt_1/invoice.paid", 6),
        (polled(with_account("acct_1")), "platform/acct_1/evt_1/invoice.paid", 6),
        (polled(payload_with_id("evt_3", PAID)), "platform/evt_3/invoice.paid", 7),
        (platform("whsec_new", &payload_with_id("evt_3", PAID)), "platform/evt_3/invoice.paid", 7),
    ];
    let (calls, handler) = counted(done);
    let router = Router::builder().handler("a", ["*"], handler).build().unwrap();
    for (event, key, runs) in rows {
        assert_eq!(event.key().to_string(), key);
        router.clone().oneshot(event).await.unwrap();
        assert_eq!(calls.load(Relaxed), runs, "{key}");
    }
}

#[tokio::test]
async fn concurrent_duplicate_gets_outcome_of_the_first() {
    for fails in [false, true] {
        let (held, mut signals) = Held::new();
        let (_, then) = if fails { counted(fails_once) } else { counted(|_| done(0)) };
        let router = Router::builder()
            .handler("held", [PAID], held.clone())
            .handler("then", [PAID], then)
            .build()
            .unwrap();
        let body = payload(PAID);
        let mut first = pin!(deliver(&router, &body));
        assert!(poll(first.as_mut()).is_pending());
        let mut duplicates = [(); 3].map(|()| Box::pin(deliver(&router, &body)));
        for duplicate in &mut duplicates {
            assert!(poll(duplicate.as_mut()).is_pending(), "the duplicate does not wait");
        }
        // The client of one duplicate disconnects, which does not affect the others.
        let [disconnected, second, third] = duplicates;
        drop(disconnected);
        held.release();
        let (first, second, third) = tokio::join!(first, second, third);
        for report in [first, second, third] {
            assert_eq!(report.unwrap().outcome(), if fails { "retry" } else { "done" });
        }
        assert_eq!(signals.recv().await, Some("begun"));
        assert_eq!(signals.recv().await, Some("done"));
        assert!(signals.try_recv().is_err(), "the handler ran more than once");
    }
}

#[tokio::test]
async fn duplicate_completes_if_first_client_disconnects() {
    let (held, _signals) = Held::new();
    let router = Router::builder().handler("held", [PAID], held.clone()).build().unwrap();
    let body = payload(PAID);
    let mut first = Box::pin(deliver(&router, &body));
    assert!(poll(first.as_mut()).is_pending());
    let mut second = pin!(deliver(&router, &body));
    assert!(poll(second.as_mut()).is_pending());
    drop(first);
    held.release();
    assert_eq!(second.await.unwrap().outcome(), "done");
}

#[tokio::test]
async fn duplicate_stops_waiting_after_handler_timeout() {
    let clock = ManualClock::at(now());
    let (held, mut signals) = Held::new();
    let router = Router::builder()
        .handler("a", [PAID], held.clone())
        .handler("b", [PAID], held.clone())
        .handler_timeout(Duration::from_secs(7))
        .clock(clock.clone())
        .build()
        .unwrap();
    let body = payload(PAID);
    let (first, second, ()) =
        tokio::join!(deliver(&router, &body), deliver(&router, &body), async {
            assert_eq!(signals.recv().await, Some("begun"));
            clock.wait_for_sleepers(2).await;
            clock.advance(Duration::from_secs(7));
            // The first handler has timed out, and the second begins.
            assert_eq!(signals.recv().await, Some("begun"));
            clock.wait_for_sleeper().await;
            clock.advance(Duration::from_secs(7));
        });
    match second {
        Err(RouterError::StillRunning(wait)) => assert_eq!(wait, Duration::from_secs(7)),
        other => panic!("{other:?}"),
    }
    let report = first.unwrap();
    let outcomes: Vec<_> = report.handlers().iter().map(HandlerReport::outcome).collect();
    assert_eq!(outcomes, ["retry", "retry"]);
}

/// A completion store that stores nothing and fails as the test says.
#[derive(Default)]
struct FaultyStore {
    /// The results of the first calls of `load`, last one first; later calls succeed.
    load_results: Mutex<Vec<Result<(), &'static str>>>,
    /// `true` if `record` fails.
    record_fails: bool,
    /// `true` if `load` never returns.
    load_hangs: bool,
    /// `true` if `record` never returns.
    record_hangs: bool,
}

#[async_trait::async_trait]
impl CompletionStore for FaultyStore {
    async fn load(&self, _: &EventKey) -> Result<Vec<HandlerProgress>, BoxError> {
        if self.load_hangs {
            std::future::pending::<()>().await;
        }
        self.load_results
            .lock()
            .expect("no thread panics with the lock held")
            .pop()
            .unwrap_or(Ok(()))?;
        Ok(Vec::new())
    }

    async fn record(&self, _: &EventKey, _: HandlerProgress) -> Result<(), BoxError> {
        if self.record_hangs {
            std::future::pending::<()>().await;
        }
        if self.record_fails { Err("the disk is full".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn no_handler_runs_if_completions_fail_to_load() {
    let (calls, handler) = counted(done);
    let load_results = Mutex::new(vec![Err("connection refused")]);
    let router = Router::builder()
        .handler("a", ["*"], handler)
        .completions(FaultyStore { load_results, ..FaultyStore::default() })
        .build()
        .unwrap();
    match deliver(&router, &payload(PAID)).await {
        Err(RouterError::CompletionStore(error)) => {
            assert_eq!(error.to_string(), "connection refused");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(calls.load(Relaxed), 0);
    assert_eq!(deliver(&router, &payload(PAID)).await.unwrap().outcome(), "done");
    assert_eq!(calls.load(Relaxed), 1);
}

#[tokio::test]
async fn unresponsive_completion_store_times_out() {
    let clock = ManualClock::at(now());
    let router = Router::builder()
        .handler("a", ["*"], async |_: Event| {})
        .completions(FaultyStore { load_hangs: true, ..FaultyStore::default() })
        .clock(clock.clone())
        .build()
        .unwrap();
    let body = payload(PAID);
    let (answer, ()) = tokio::join!(deliver(&router, &body), async {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(20));
    });
    assert!(matches!(answer, Err(RouterError::CompletionStore(_))), "{answer:?}");

    let hanging = FaultyStore { record_hangs: true, ..FaultyStore::default() };
    let router = Router::builder().handler("a", ["*"], async |_: Event| {});
    let router = router.completions(hanging).clock(clock.clone()).build().unwrap();
    let (answer, ()) = tokio::join!(deliver(&router, &body), async {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(20));
    });
    assert_eq!(
        answer.unwrap().outcome(),
        "done",
        "the handler ran, although its completion is not recorded"
    );
}

#[tokio::test]
async fn handler_is_done_if_recording_its_completion_fails() {
    let (calls, handler) = counted(done);
    let router = Router::builder()
        .handler("a", ["*"], handler)
        .completions(FaultyStore { record_fails: true, ..FaultyStore::default() })
        .build()
        .unwrap();
    for run in 1..=2 {
        assert_eq!(deliver(&router, &payload(PAID)).await.unwrap().outcome(), "done");
        assert_eq!(
            calls.load(Relaxed),
            run,
            "without a recorded completion the handler runs again"
        );
    }
}

#[tokio::test]
async fn completions_are_evicted_by_age_count_and_size() {
    let clock = ManualClock::at(now());
    let completions = || InMemoryCompletions::new().clock(clock.clone());
    let key = |id: &str| event(payload_with_id(id, PAID)).unwrap().key();
    let progress = || HandlerProgress { handler: "a".into(), attempts: 1, completion: None };
    let contains = async |completions: &InMemoryCompletions, id: &str| {
        !completions.load(&key(id)).await.unwrap().is_empty()
    };

    let aged = completions();
    aged.record(&key("evt_1"), progress()).await.unwrap();
    clock.advance(Duration::from_secs(72 * 60 * 60));
    assert!(contains(&aged, "evt_1").await);
    clock.advance(Duration::from_secs(1));
    assert!(!contains(&aged, "evt_1").await);

    let few = completions().max_entries(2);
    for id in ["evt_1", "evt_2"] {
        few.record(&key(id), progress()).await.unwrap();
    }
    // Recording progress of the oldest event makes it the newest.
    few.record(&key("evt_1"), HandlerProgress { handler: "b".into(), ..progress() }).await.unwrap();
    few.record(&key("evt_3"), progress()).await.unwrap();
    assert!(contains(&few, "evt_1").await && contains(&few, "evt_3").await);
    assert!(!contains(&few, "evt_2").await);
    assert_eq!(few.len(), 2);

    let small = completions().max_entries(1000).max_bytes(100_000);
    for number in 0..1000 {
        small.record(&key(&format!("evt_{number}")), progress()).await.unwrap();
    }
    assert!((100..900).contains(&small.len()), "{small:?}");
    assert!(contains(&small, "evt_999").await && !contains(&small, "evt_0").await);
}
