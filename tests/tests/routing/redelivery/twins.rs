//! Twins: a thin event and the snapshot event that it names, which have the same key.

use router_core::{IdempotencyKey, State, on_event, testing::SyntheticEvent};
use router_tests::{event, held::Held};

use super::{Calls, SharedStore, deliver, endpoint, router};

#[on_event("customer.created", "v1.customer.created", name = "both")]
async fn both(key: IdempotencyKey, calls: State<Calls>) {
    calls.push(key.to_string());
}

fn twins() -> [bytes::Bytes; 2] {
    let snapshot = SyntheticEvent::new("customer.created")
        .account("acct_1")
        .build()
        .expect("the sample is valid");
    let thin = SyntheticEvent::twin_of(&snapshot).build().expect("the sample is valid");
    [snapshot, thin].map(|payload| payload.event().payload().clone())
}

#[tokio::test]
async fn handler_of_twins_runs_once_even_after_a_restart() {
    let [snapshot, thin] = twins();
    let key = |body: &bytes::Bytes| event(body.clone()).unwrap().key();
    assert_eq!(key(&snapshot), key(&thin));
    let mut idempotency_keys = Vec::new();
    for restarts in [false, true] {
        for bodies in [[&snapshot, &thin], [&thin, &snapshot]] {
            let (calls, only, store) = (Calls::default(), Calls::default(), SharedStore::default());
            let start = || {
                let builder = router().add::<both>().state(calls.clone());
                let builder = builder.completions(store.clone());
                endpoint(
                    builder
                        .handler("snapshot", ["customer.created"], only.handler("snapshot", &[]))
                        .handler("thin", ["v1.customer.created"], only.handler("thin", &[])),
                )
            };
            let mut shop = start();
            let name = |body| if body == &thin { "thin" } else { "snapshot" };
            let [first, second] = bodies.map(name);
            let answer = deliver(&shop, bodies[0].clone()).await;
            assert_eq!(answer, format!("200 done both=done {first}=done"));
            if restarts {
                shop = start();
            }
            let answer = deliver(&shop, bodies[1].clone()).await;
            assert_eq!(answer, format!("200 done both=duplicate {second}=done"));
            assert_eq!(only.take(), [first, second]);
            let keys = calls.take();
            assert_eq!(keys.len(), 1);
            idempotency_keys.extend(keys);
            for body in bodies {
                let name = name(body);
                let answer = format!("200 duplicate both=duplicate {name}=duplicate");
                assert_eq!(deliver(&shop, body.clone()).await, answer);
            }
        }
    }
    idempotency_keys.dedup();
    assert_eq!(idempotency_keys.len(), 1, "the key depends on which of the twins came first");
}

/// Other handlers match the twin, so it must not share the answer of the event in flight.
#[tokio::test]
async fn twin_of_event_in_flight_waits_and_runs_its_own_handlers() {
    for reversed in [false, true] {
        let mut bodies = twins();
        let mut own = ["customer.created", "v1.customer.created"];
        if reversed {
            bodies.reverse();
            own.reverse();
        }
        let [first, second] = bodies;
        let (calls, (held, mut signals)) = (Calls::default(), Held::new());
        let shop = endpoint(router().handler("both", own, held.clone()).handler(
            "own",
            [own[1]],
            calls.handler("own", &[]),
        ));
        let (first, (second, third), ()) = tokio::join!(
            deliver(&shop, first),
            async { tokio::join!(deliver(&shop, second.clone()), deliver(&shop, second.clone())) },
            async {
                assert_eq!(signals.recv().await, Some("begun"));
                assert!(calls.lock().is_empty());
                held.release();
            }
        );
        assert_eq!(first, "200 done both=done");
        let mut answers = [second, third];
        answers.sort();
        assert_eq!(answers[0], "200 done both=duplicate own=done");
        assert!(
            ["200 done both=duplicate own=done", "200 duplicate both=duplicate own=duplicate"]
                .contains(&&*answers[1]),
            "{answers:?}"
        );
        assert_eq!(calls.take(), ["own"]);
        assert_eq!(signals.recv().await, Some("done"));
        assert!(signals.try_recv().is_err(), "the handler of both ran twice");
    }
}
