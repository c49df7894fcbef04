//! What an event that is delivered more than once does: each handler finishes it once.

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
    BoxError, CompletionStore, Event, EventKey, Failure, HandlerProgress, HandlerReport,
    HandlerResult, InMemoryCompletions, Outcome, Report, Router, RouterError, Secrets,
    SigningSecret, Tolerance,
    signature::{sign, verify},
    testing::ManualClock,
};
use router_tests::{NOW, event, now, payload, payload_with_id};
use tower::ServiceExt as _;

use crate::held::Held;

mod held;

const PAID: &str = "invoice.paid";

async fn deliver(router: &Router, body: &str) -> Result<Report, RouterError> {
    router.clone().oneshot(event(body.to_owned()).expect("it is an event")).await
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A handler that counts its calls, and does at each what this says.
fn counted(
    says: fn(u32) -> HandlerResult,
) -> (Arc<AtomicU32>, impl Fn(Event) -> std::future::Ready<HandlerResult>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    (calls, move |_: Event| std::future::ready(says(counted.fetch_add(1, Relaxed) + 1)))
}

fn done(_: u32) -> HandlerResult {
    Ok(Outcome::Done)
}

fn fails_once(call: u32) -> HandlerResult {
    if call == 1 { Err("not now".into()) } else { Ok(Outcome::Done) }
}

#[tokio::test]
async fn on_redelivery_only_the_handler_that_failed_runs() {
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
        report.handlers().iter().map(|one| (one.outcome(), one.attempts())).collect()
    };

    let first = deliver(&router, &payload(PAID)).await.unwrap();
    assert_eq!(first.outcome(), "retry");
    assert_eq!(outcomes(&first), [("done", 1), ("retry", 1), ("ignored", 1), ("dead", 1)]);
    assert!(first.handlers().iter().all(|handler| handler.duration().is_some()));
    assert_eq!(calls(), [1, 1, 1, 1]);

    let second = deliver(&router, &payload(PAID)).await.unwrap();
    assert_eq!(second.outcome(), "dead", "nothing is left to try again");
    assert_eq!(outcomes(&second), [("done", 1), ("done", 2), ("ignored", 1), ("dead", 1)]);
    let ran: Vec<bool> = second.handlers().iter().map(|one| one.duration().is_some()).collect();
    assert_eq!(ran, [false, true, false, false]);

    let third = deliver(&router, &payload(PAID)).await.unwrap();
    assert_eq!(outcomes(&third), outcomes(&second));
    assert_eq!(calls(), [1, 2, 1, 1]);
}

/// The event of this body, as it came through this endpoint.
fn event_of(endpoint: &str, secret: &str, body: &str) -> Event {
    let secrets = Secrets::parse(&format!("{endpoint}={secret}")).expect("they are secrets");
    let header = sign(&SigningSecret::new(secret).expect("it is one"), NOW, body.as_bytes());
    let body = body.to_owned().into();
    let verified = verify(Some(header.as_bytes()), body, &secrets, Tolerance::default(), now());
    Event::parse(verified.expect("it was signed just now")).expect("it is an event")
}

#[tokio::test]
async fn an_event_is_the_same_by_endpoint_account_and_id_whatever_the_secret_and_the_body() {
    let of_account = |account: &str| {
        payload(PAID).replace("evt_1\",", &format!("evt_1\",\"account\":\"{account}\","))
    };
    let rows = [
        (event_of("platform", "whsec_new", &payload(PAID)), "platform/evt_1", 1),
        (event_of("platform", "whsec_old", &payload(PAID)), "platform/evt_1", 1),
        (event_of("platform", "whsec_new", &payload(PAID).replace("{", "{ ")), "platform/evt_1", 1),
        (event_of("connect", "whsec_new", &payload(PAID)), "connect/evt_1", 2),
        (event_of("platform", "whsec_new", &of_account("acct_1")), "platform/acct_1/evt_1", 3),
        (event_of("platform", "whsec_new", &of_account("acct_2")), "platform/acct_2/evt_1", 4),
        (event_of("platform", "whsec_new", &payload_with_id("evt_2", PAID)), "platform/evt_2", 5),
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
async fn a_duplicate_waits_for_the_first_and_gets_its_answer_a_failing_one_too() {
    for fails in [false, true] {
        let (held, mut heard) = Held::new();
        let (_, verdict) = if fails { counted(fails_once) } else { counted(|_| done(0)) };
        let router = Router::builder()
            .handler("held", [PAID], held.clone())
            .handler("then", [PAID], verdict)
            .build()
            .unwrap();
        let body = payload(PAID);
        let mut first = pin!(deliver(&router, &body));
        assert!(poll(first.as_mut()).is_pending());
        let mut duplicates = [(); 3].map(|()| Box::pin(deliver(&router, &body)));
        for duplicate in &mut duplicates {
            assert!(poll(duplicate.as_mut()).is_pending(), "it does not wait");
        }
        // One of them hangs up, which harms nobody.
        let [gone, second, third] = duplicates;
        drop(gone);
        held.release();
        let (first, second, third) = tokio::join!(first, second, third);
        for report in [first, second, third] {
            assert_eq!(report.unwrap().outcome(), if fails { "retry" } else { "done" });
        }
        assert_eq!(heard.recv().await, Some("begun"));
        assert_eq!(heard.recv().await, Some("done"));
        assert!(heard.try_recv().is_err(), "it ran once");
    }
}

#[tokio::test]
async fn a_duplicate_whose_first_client_has_hung_up_gets_the_answer_all_the_same() {
    let (held, _heard) = Held::new();
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
async fn a_duplicate_does_not_wait_for_ever() {
    let clock = ManualClock::at(now());
    let (held, mut heard) = Held::new();
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
            assert_eq!(heard.recv().await, Some("begun"));
            clock.wait_for_sleepers(2).await;
            clock.advance(Duration::from_secs(7));
            // The first handler is out of time, and the second begins: the event goes on.
            assert_eq!(heard.recv().await, Some("begun"));
            clock.wait_for_sleeper().await;
            clock.advance(Duration::from_secs(7));
        });
    match second {
        Err(RouterError::StillRunning(wait)) => assert_eq!(wait, Duration::from_secs(7)),
        other => panic!("{other:?}"),
    }
    let outcomes = first.unwrap();
    let outcomes: Vec<_> = outcomes.handlers().iter().map(HandlerReport::outcome).collect();
    assert_eq!(outcomes, ["retry", "retry"]);
}

/// Remembers in the way that each test needs.
#[derive(Default)]
struct Scripted {
    /// What the first calls of `load` do; then it knows nothing.
    recalls: Mutex<Vec<Result<(), &'static str>>>,
    forgetful: bool,
    /// Never answers.
    dead: bool,
    /// Never answers when it is told something.
    deaf: bool,
}

#[async_trait::async_trait]
impl CompletionStore for Scripted {
    async fn load(&self, _: &EventKey) -> Result<Vec<HandlerProgress>, BoxError> {
        if self.dead {
            std::future::pending::<()>().await;
        }
        self.recalls.lock().expect("nobody panics").pop().unwrap_or(Ok(()))?;
        Ok(Vec::new())
    }

    async fn record(&self, _: &EventKey, _: HandlerProgress) -> Result<(), BoxError> {
        if self.deaf {
            std::future::pending::<()>().await;
        }
        if self.forgetful { Err("the disk is full".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn while_it_cannot_be_known_what_has_finished_nothing_runs() {
    let (calls, handler) = counted(done);
    let recalls = Mutex::new(vec![Err("connection refused")]);
    let router = Router::builder()
        .handler("a", ["*"], handler)
        .completions(Scripted { recalls, ..Scripted::default() })
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
async fn a_memory_that_does_not_answer_holds_an_event_no_longer_than_a_handler_may() {
    let clock = ManualClock::at(now());
    let router = Router::builder()
        .handler("a", ["*"], async |_: Event| {})
        .completions(Scripted { dead: true, ..Scripted::default() })
        .clock(clock.clone())
        .build()
        .unwrap();
    let body = payload(PAID);
    let (answer, ()) = tokio::join!(deliver(&router, &body), async {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(20));
    });
    assert!(matches!(answer, Err(RouterError::CompletionStore(_))), "{answer:?}");

    let deaf = Scripted { deaf: true, ..Scripted::default() };
    let router = Router::builder().handler("a", ["*"], async |_: Event| {});
    let router = router.completions(deaf).clock(clock.clone()).build().unwrap();
    let (answer, ()) = tokio::join!(deliver(&router, &body), async {
        clock.wait_for_sleeper().await;
        clock.advance(Duration::from_secs(20));
    });
    assert_eq!(answer.unwrap().outcome(), "done", "it is, whatever is remembered");
}

#[tokio::test]
async fn what_cannot_be_remembered_is_done_all_the_same() {
    let (calls, handler) = counted(done);
    let router = Router::builder()
        .handler("a", ["*"], handler)
        .completions(Scripted { forgetful: true, ..Scripted::default() })
        .build()
        .unwrap();
    for run in 1..=2 {
        assert_eq!(deliver(&router, &payload(PAID)).await.unwrap().outcome(), "done");
        assert_eq!(calls.load(Relaxed), run, "a memory of the user's own decides");
    }
}

#[tokio::test]
async fn the_memory_forgets_by_age_by_number_and_by_size() {
    let clock = ManualClock::at(now());
    let memory = || InMemoryCompletions::new().clock(clock.clone());
    let key = |id: &str| event(payload_with_id(id, PAID)).unwrap().key();
    let finished = || HandlerProgress { handler: "a".into(), attempts: 1, finished: None };
    let remembers = async |memory: &InMemoryCompletions, id: &str| {
        !memory.load(&key(id)).await.unwrap().is_empty()
    };

    let aged = memory();
    aged.record(&key("evt_1"), finished()).await.unwrap();
    clock.advance(Duration::from_secs(72 * 60 * 60));
    assert!(remembers(&aged, "evt_1").await);
    clock.advance(Duration::from_secs(1));
    assert!(!remembers(&aged, "evt_1").await);

    let few = memory().max_entries(2);
    for id in ["evt_1", "evt_2"] {
        few.record(&key(id), finished()).await.unwrap();
    }
    // Something new of the oldest makes it the newest.
    few.record(&key("evt_1"), HandlerProgress { handler: "b".into(), ..finished() }).await.unwrap();
    few.record(&key("evt_3"), finished()).await.unwrap();
    assert!(remembers(&few, "evt_1").await && remembers(&few, "evt_3").await);
    assert!(!remembers(&few, "evt_2").await);
    assert_eq!(few.len(), 2);

    let small = memory().max_entries(1000).max_bytes(100_000);
    for number in 0..1000 {
        small.record(&key(&format!("evt_{number}")), finished()).await.unwrap();
    }
    assert!((100..900).contains(&small.len()), "{small:?}");
    assert!(remembers(&small, "evt_999").await && !remembers(&small, "evt_0").await);
}
