//! Sends a missed event, and repeats the request if the server is unavailable for a short time.

use std::time::Duration;

use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
    testing::Payload,
};

use super::sources::ServerEndpoint;
use crate::{
    error::Error,
    interrupt::Interrupt,
    send::{Answer, format_answer},
};

const MAX_ATTEMPTS: u32 = 4;
const INITIAL_BACKOFF: Duration = Duration::from_millis(500);
/// Maximum wait for a `Retry-After`. The operator can repeat the command later.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The result of a delivery.
pub(super) enum Delivery {
    /// The answer was 2xx.
    Accepted(Answer),
    /// The server refused the event, or did not answer, in the last attempt too.
    Failed(Option<Answer>, Error),
    /// Ctrl-C was pressed during the wait for the next attempt.
    Interrupted,
}

/// Returns the event in the form in which it is signed and sent.
pub(super) fn payload(event: &Event) -> Result<Payload, Error> {
    Payload::recorded(event.payload().clone())
        .map_err(|error| Error::Refused(format!("{} cannot be sent: {error}", event.id())))
}

/// Sends an event. Repeats the request if there is no answer, or if the answer is 429 or 5xx.
/// Ctrl-C does not cancel a request in flight.
pub(super) async fn deliver(
    event: &Event,
    endpoint: &ServerEndpoint,
    interrupt: &mut Interrupt,
) -> Result<Delivery, Error> {
    let payload = payload(event)?;
    let mut backoff = INITIAL_BACKOFF;
    for attempt in 1.. {
        let answer = endpoint.sender.send(&payload).await;
        let (should_retry, wait) = match &answer {
            Ok(answer) if (200..300).contains(&answer.status) => {
                return Ok(Delivery::Accepted(answer.clone()));
            }
            Ok(answer) => {
                let seconds = answer.retry_after.as_ref().and_then(|text| text.parse().ok());
                let wait = seconds.map_or(backoff, Duration::from_secs).min(MAX_RETRY_AFTER);
                (answer.status == 429 || answer.status >= 500, wait.max(backoff))
            }
            Err(_) => (true, backoff),
        };
        if !should_retry || attempt == MAX_ATTEMPTS {
            return Ok(failure(event, endpoint, answer));
        }
        if interrupt.or(SystemClock.sleep(wait)).await.is_none() {
            break;
        }
        backoff *= 2;
    }
    Ok(Delivery::Interrupted)
}

fn failure(event: &Event, endpoint: &ServerEndpoint, answer: Result<Answer, String>) -> Delivery {
    let id = event.id();
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => {
            return Delivery::Failed(None, Error::Request(format!("{id} was not sent: {why}")));
        }
    };
    let help = match answer.rejects_signature() {
        true => format!("\n{}", endpoint.signature_help()),
        false => String::new(),
    };
    let url = endpoint.sender.url();
    let message = format!("{url} did not accept {id}: {}{help}", format_answer(&answer));
    Delivery::Failed(Some(answer), Error::Refused(message))
}
