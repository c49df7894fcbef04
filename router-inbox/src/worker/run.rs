//! One run of a handler.

use std::{future::poll_fn, sync::Arc};

use router_core::{BoxError, Delivery, Event, Failure, HandlerReport, RetryPolicy};
use tower_service::Service;

use super::ending;
use crate::End;

/// Has the service run the handler of this name, and says what that means for the delivery.
pub(super) async fn one<R>(
    mut service: R,
    event: Event,
    handler: Arc<str>,
    attempt: u32,
    policy: RetryPolicy,
) -> End
where
    R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
{
    let delivery = Delivery::new(event.clone(), handler.clone(), attempt);
    match call(&mut service, delivery).await {
        Ok(report) => match report.result() {
            Ok(outcome) => ending::of_outcome(&handler, outcome),
            Err(failure) => ending::of_failure(&handler, &event, &policy, attempt, failure),
        },
        // It was not run: a layer did not let it through, or the router is closed.
        Err(error) => ending::of_failure(&handler, &event, &policy, attempt, &error),
    }
}

/// An error: it was not run.
async fn call<R>(service: &mut R, delivery: Delivery) -> Result<HandlerReport, Failure>
where
    R: Service<Delivery, Response = HandlerReport, Error: Into<BoxError>>,
{
    let ready = poll_fn(|context| service.poll_ready(context)).await.map_err(Failure::retry);
    ready?;
    service.call(delivery).await.map_err(Failure::retry)
}
