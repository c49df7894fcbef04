//! One event of every kind, and each thing that can become of it.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use router_core::{InMemoryCompletions, Router};
use router_tests::{NOW, payload_with_id};

use crate::{
    Picky, endpoint,
    exchange::{post, send},
    fallback, handlers,
    held::Held,
    refusals::{refuse, signed_at},
};

/// What events say that nobody else may read.
pub(crate) const PERSONAL: [&str; 3] =
    ["jenny.rosen@example.com", "27 Fredrick Ave", "pi_1_secret_Zq8RkVw3NdT5yLx7"];

/// An event with all that in its object.
pub(crate) fn personal(id: &str, event_type: &str) -> String {
    let [email, street, client_secret] = PERSONAL;
    let more = format!(
        r#""object":{{"id":"{email}","address":["{street}"],"client_secret":"{client_secret}","#
    );
    payload_with_id(id, event_type).replacen(r#""object":{"id":"obj_1","#, &more, 1)
}

/// Lets happen whatever can happen to an event.
pub(crate) async fn walk() {
    refuse(&personal("evt_refused", "invoice.paid")).await;

    let all = handlers().add::<fallback>().dead_letters(Picky);
    let all = endpoint(all.completions(InMemoryCompletions::new().max_entries(2)));
    let all = all.expect_api_version("2026-10-28.endive");
    let paid = personal("evt_paid", "invoice.paid");
    for (event_type, status) in [
        ("invoice.sent", 200),
        ("invoice.voided", 500),
        ("invoice.deleted", 200),
        ("invoice.created", 500),
        ("invoice.updated", 200),
        ("charge.updated", 200),
        ("charge.failed", 200),
        ("invoice.paid", 200),
    ] {
        let body = personal(&format!("evt_{event_type}"), event_type);
        assert_eq!(send(all.clone(), post(body)).await.status(), status, "{event_type}");
    }
    for again in [paid.clone(), paid.clone()] {
        assert_eq!(send(all.clone(), post(again)).await.status(), 200);
    }
    assert_eq!(send(all.clone(), signed_at(NOW + 5, &paid)).await.status(), 200);
    let versioned = paid.replacen('{', r#"{"api_version":"2024-06-20","#, 1);
    assert_eq!(send(all, post(versioned)).await.status(), 200);

    in_flight(&paid).await;
}

/// A client hangs up, and another one waits for the same event.
async fn in_flight(body: &str) {
    let (held, mut says) = Held::new();
    let builder =
        Router::builder().without_linked().handler("held", ["invoice.paid"], held.clone());
    let endpoint = endpoint(builder);
    let first = tokio::spawn(send(endpoint.clone(), post(body.to_owned())));
    assert_eq!(says.recv().await, Some("begun"));
    let mut second = pin!(send(endpoint, post(body.to_owned())));
    assert!(poll(second.as_mut()).is_pending());
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    held.release();
    assert_eq!(second.await.status(), 200);
}

/// Polls it once.
pub(crate) fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
