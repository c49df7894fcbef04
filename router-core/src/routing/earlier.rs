//! The progress of an event's handlers in its earlier deliveries, which decides which of them run.

use super::handlers::{Handlers, RegisteredHandler};
use crate::{
    completions::{Completion, HandlerProgress},
    event::Event,
    handler::HandlerReport,
    telemetry::{self, ALREADY_HANDLED, DEAD_LETTER_RESTARTED},
};

/// The progress of the event's handlers in its earlier deliveries.
pub(super) struct EarlierDeliveries {
    progress: Vec<HandlerProgress>,
    /// `true` if a handler of the event needs a retry and none has replied: the last answer was
    /// 500, so Stripe redelivers the event by itself.
    stripe_redelivers: bool,
}

/// Decides whether a handler runs in this delivery.
pub(super) enum Decision {
    Run { attempt: u32 },
    Skip(HandlerReport),
}

impl EarlierDeliveries {
    pub(super) fn new(progress: Vec<HandlerProgress>, handlers: &Handlers, event: &Event) -> Self {
        let stripe_redelivers = !progress.is_empty() && {
            let completions = handlers.matching(event).filter_map(|index| {
                let position = position_of(&handlers.list[index], &progress)?;
                Some(progress[position].completion.as_ref())
            });
            // A reply was sent with 200, whatever the other handlers did.
            let (mut needs_retry, mut replied) = (false, false);
            for completion in completions {
                needs_retry |= completion.is_none();
                replied |= matches!(completion, Some(Completion::Replied(_)));
            }
            needs_retry && !replied
        };
        Self { progress, stripe_redelivers }
    }

    /// Decides whether the handler runs, and logs the effect of the redelivery on it.
    pub(super) fn decide(&mut self, handler: &RegisteredHandler, event: &Event) -> Decision {
        let Some(position) = position_of(handler, &self.progress) else {
            return Decision::Run { attempt: 1 };
        };
        let HandlerProgress { attempts, completion, .. } = self.progress.swap_remove(position);
        let (message, decision) = match completion {
            None => return Decision::Run { attempt: attempts.saturating_add(1) },
            // The event was answered with 2xx, and Stripe does not redeliver such an event. So a
            // person has sent it again, unless the answer was late or lost. A copy in another API
            // version is no redelivery, and the handler may be able to decode it.
            Some(Completion::Dead { api_version })
                if !self.stripe_redelivers || api_version.as_deref() != event.api_version() =>
            {
                (DEAD_LETTER_RESTARTED, Decision::Run { attempt: 1 })
            }
            Some(completion) => {
                telemetry::duplicate_finished();
                let message = match completion {
                    Completion::Dead { .. } => DEAD_LETTER_LEFT,
                    _ => ALREADY_HANDLED,
                };
                let name = handler.name.clone();
                (message, Decision::Skip(HandlerReport::finished(name, attempts, completion)))
            }
        };
        tracing::info!(
            handler = &*handler.name,
            event.id = event.id(),
            event.r#type = event.event_type(),
            "{message}"
        );
        decision
    }
}

const DEAD_LETTER_LEFT: &str = "event received again: the handler's dead letter does not start over, because another handler \
     needs a retry and Stripe redelivers the event by itself; send the event again after that";

/// Returns the position of a handler's progress. Progress under the current name is newer than
/// progress under the former name.
fn position_of(handler: &RegisteredHandler, progress: &[HandlerProgress]) -> Option<usize> {
    let named = |name: &str| progress.iter().position(|progress| *progress.handler == *name);
    named(&handler.name).or_else(|| handler.settings.formerly.and_then(named))
}
