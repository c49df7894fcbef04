//! Requests that reach every refusal and every outcome of an event.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use router_core::{Router, completions::InMemoryCompletions};
use router_tests::{
    NOW,
    exchange::{post, send},
    held::Held,
    payload_with_id,
};

use crate::{
    FallbackRefusingSink, endpoint, fallback, handlers,
    refusals::{refuse_for_every_reason, signed_at},
};

/// Personal data and secrets in the events, which must not appear in telemetry.
pub(crate) const PERSONAL_DATA: [&str; 3] =
    ["jenny.rosen@example.com", "27 Fredrick Ave", "pi_1_secret_Zq8RkVw3NdT5yLx7"];

/// Returns the payload of an event whose object holds [`PERSONAL_DATA`].
pub(crate) fn personal_event(id: &str, event_type: &str) -> String {
    let [email, street, client_secret] = PERSONAL_DATA;
    let object = format!(
        r#""object":{{"id":"{email}","address":["{street}"],"client_secret":"{client_secret}","#
    );
    payload_with_id(id, event_type).replacen(r#""object":{"id":"obj_1","#, &object, 1)
}

/// Sends requests for every refusal and for every outcome of an event.
pub(crate) async fn run_every_path() {
    refuse_for_every_reason(&personal_event("evt_refused", "invoice.paid")).await;

    let builder = handlers().add::<fallback>().dead_letters(FallbackRefusingSink);
    let builder = builder.completions(InMemoryCompletions::new().max_entries(2));
    let endpoint = endpoint(builder).expect_api_version("2026-10-28.endive");
    let paid = personal_event("evt_paid", "invoice.paid");
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
        let body = personal_event(&format!("evt_{event_type}"), event_type);
        assert_eq!(send(endpoint.clone(), post(body)).await.status(), status, "{event_type}");
    }
    for body in [paid.clone(), paid.clone()] {
        assert_eq!(send(endpoint.clone(), post(body)).await.status(), 200);
    }
    assert_eq!(send(endpoint.clone(), signed_at(NOW + 5, &paid)).await.status(), 200);
    let versioned = paid.replacen('{', r#"{"api_version":"2024-06-20","#, 1);
    assert_eq!(send(endpoint, post(versioned)).await.status(), 200);

    disconnect_in_flight(&paid).await;
}

/// Disconnects a client while another one waits for the same event.
async fn disconnect_in_flight(body: &str) {
    let (held, mut messages) = Held::new();
    let builder =
        Router::builder().without_linked().handler("held", ["invoice.paid"], held.clone());
    let endpoint = endpoint(builder);
    let first = tokio::spawn(send(endpoint.clone(), post(body.to_owned())));
    assert_eq!(messages.recv().await, Some("begun"));
    let mut second = pin!(send(endpoint, post(body.to_owned())));
    assert!(poll(second.as_mut()).is_pending());
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    held.release();
    assert_eq!(second.await.status(), 200);
}

/// Polls the future once.
pub(crate) fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
