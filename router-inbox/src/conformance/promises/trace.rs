//! The promise about the trace context of a request.

use super::{claim_one, complete, event, new, retry_in, store};
use crate::{conformance::Subject, store::TraceParent};

/// Each claim of an event has the trace context with which the event was stored first.
pub async fn claim_has_trace_parent_of_first_request(subject: &impl Subject) {
    let parents = ["1", "2"].map(|digit| {
        let text = format!("00-{}-{}-01", digit.repeat(32), digit.repeat(16));
        TraceParent::parse(&text)
    });
    let untraced = new(&event("evt_2"), &["b"]);
    store(subject, &[new(&event("evt_1"), &["a"]).trace_parent(parents[0].clone()), untraced])
        .await;
    let claim = claim_one(subject, "a").await;
    assert_eq!(claim.trace_parent, parents[0]);
    complete(subject, &claim.lease, retry_in(0)).await;
    // The same event again, from another request.
    store(subject, &[new(&event("evt_1"), &["a"]).trace_parent(parents[1].clone())]).await;
    let claim = claim_one(subject, "a").await;
    assert_eq!((claim.attempt, claim.trace_parent), (2, parents[0].clone()));
    assert_eq!(claim_one(subject, "b").await.trace_parent, None);
}
