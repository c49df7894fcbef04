//! Formats events and deliveries as text and as JSON.

use std::time::{Duration, SystemTime};

use anstyle::Style;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    operations::{DeliverySummary, EventSummary},
    store::DeliveryState,
};
use serde::Serialize;

use crate::output::{DIM, FAILURE, SUCCESS, WARNING, sanitize, styled};

/// An event in the JSON output.
#[derive(Serialize)]
pub(super) struct EventLine<'l> {
    event: &'l str,
    r#type: &'l str,
    object: &'l str,
    endpoint: &'l str,
    account: Option<&'l str>,
    generation: u32,
    stored_at: String,
}

/// A delivery in the JSON output.
#[derive(Serialize)]
pub(super) struct DeliveryLine<'l> {
    handler: &'l str,
    state: &'static str,
    attempts: u32,
    /// The time when a waiting delivery becomes due, or when a running one's lease expires.
    due_at: Option<String>,
    blocked: bool,
    ended_at: Option<String>,
    error: Option<&'l str>,
}

impl<'l> EventLine<'l> {
    pub(super) fn new(event: &'l EventSummary) -> Self {
        Self {
            event: &event.id,
            r#type: &event.event_type,
            object: &event.object,
            endpoint: &event.endpoint,
            account: event.account.as_deref(),
            generation: event.generation,
            stored_at: rfc3339(event.stored_at),
        }
    }
}

impl<'l> DeliveryLine<'l> {
    pub(super) fn new(delivery: &'l DeliverySummary) -> Self {
        Self {
            handler: &delivery.handler,
            state: delivery.state.name(),
            attempts: delivery.attempts,
            due_at: delivery.due.map(rfc3339),
            blocked: delivery.is_blocked,
            ended_at: delivery.ended_at.map(rfc3339),
            error: delivery.error.as_deref(),
        }
    }
}

fn state_style(state: DeliveryState) -> Style {
    match state {
        DeliveryState::Waiting => WARNING,
        DeliveryState::Running => Style::new(),
        DeliveryState::Done => SUCCESS,
        DeliveryState::Ignored | DeliveryState::Discarded => DIM,
        DeliveryState::Dead => FAILURE,
    }
}

/// Formats an event on one line, as in `invoice.paid  evt_1  in_1  replay 2  3m ago`.
pub(super) fn format_event(event: &EventSummary) -> String {
    let mut details = vec![sanitize(&event.id)];
    if !event.object.is_empty() {
        details.push(sanitize(&event.object));
    }
    if event.endpoint != "default" {
        details.push(format!("endpoint {}", sanitize(&event.endpoint)));
    }
    details.extend(event.account.as_deref().map(sanitize));
    if event.generation > 0 {
        details.push(format!("replay {}", event.generation));
    }
    details.push(ago(event.stored_at));
    format!("{}  {}", sanitize(&event.event_type), styled(DIM, details.join("  ")))
}

/// Formats a delivery, as in `dead       fulfil  2m ago, after 12 attempts`.
///
/// The last error follows on lines of its own, unless the handler has succeeded since.
pub(super) fn format_delivery(delivery: &DeliverySummary) -> String {
    let mut text = format_progress(delivery);
    let shows_error = matches!(
        delivery.state,
        DeliveryState::Waiting
            | DeliveryState::Running
            | DeliveryState::Dead
            | DeliveryState::Discarded
    );
    if let Some(error) = delivery.error.as_ref().filter(|_| shows_error) {
        push_lines(&mut text, 15, error);
    }
    text
}

/// Formats a delivery without its error.
pub(super) fn format_progress(delivery: &DeliverySummary) -> String {
    let state = styled(state_style(delivery.state), format_args!("{:9}", delivery.state));
    format!("{state}  {}  {}", sanitize(&delivery.handler), progress(delivery))
}

/// Appends the lines of an untrusted text, each on an indented line of its own.
pub(super) fn push_lines(text: &mut String, indent: usize, lines: &str) {
    for line in sanitize(lines).lines() {
        text.push_str(&format!("\n{:indent$}{}", "", styled(DIM, line)));
    }
}

fn progress(delivery: &DeliverySummary) -> String {
    let attempted = attempted(delivery.attempts);
    let ended = delivery.ended_at.map(ago).unwrap_or_default();
    let due = delivery.due.unwrap_or(SystemTime::UNIX_EPOCH);
    let remaining = due.duration_since(SystemClock.wall()).ok();
    match (delivery.state, remaining) {
        (DeliveryState::Waiting, _) if delivery.is_blocked => {
            "blocked by an older event of its object".to_owned()
        }
        (DeliveryState::Waiting, None) => {
            format!("due for {}, {attempted}", short_duration(age(due)))
        }
        (DeliveryState::Waiting, Some(remaining)) => {
            format!("due in {}, {attempted}", short_duration(remaining))
        }
        (DeliveryState::Running, Some(remaining)) => {
            format!("attempt {}, lease expires in {}", delivery.attempts, short_duration(remaining))
        }
        (DeliveryState::Running, None) => {
            format!("attempt {}, lease expired {} ago", delivery.attempts, short_duration(age(due)))
        }
        (DeliveryState::Dead | DeliveryState::Discarded, _) => format!("{ended}, {attempted}"),
        (DeliveryState::Done | DeliveryState::Ignored, _) if delivery.attempts > 1 => {
            format!("{ended}, {attempted}")
        }
        (DeliveryState::Done | DeliveryState::Ignored, _) => ended,
    }
}

/// Formats a number of attempts, as in `after 2 attempts`.
pub(super) fn attempted(attempts: u32) -> String {
    match attempts {
        0 => "not attempted yet".to_owned(),
        some => format!("after {}", count(some.into(), "attempt")),
    }
}

/// Formats a number with its noun, as in `1 event` or `2 events`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = match noun.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    };
    if number == 1 { format!("1 {noun}") } else { format!("{number} {plural}") }
}

/// Formats the age of a time, as in `3m ago`.
pub(super) fn ago(time: SystemTime) -> String {
    match age(time) {
        age if age < Duration::from_secs(1) => "just now".to_owned(),
        age => format!("{} ago", short_duration(age)),
    }
}

/// Formats a duration in its largest sensible unit, rounded down: `45s`, `3m`, `5h`, `12d`.
pub(super) fn short_duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3_600 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Formats a duration in its largest units, rounded down: `85ms`, `1.2s`, `59s`, `3m 20s`.
pub(super) fn precise_duration(duration: Duration) -> String {
    match (duration.as_secs(), duration.as_millis()) {
        (0, millis) => format!("{millis}ms"),
        (..10, millis) => format!("{}.{}s", millis / 1_000, millis / 100 % 10),
        (seconds @ ..60, _) => format!("{seconds}s"),
        (seconds @ ..3_600, _) => format!("{}m {}s", seconds / 60, seconds % 60),
        (seconds @ ..86_400, _) => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        (seconds, _) => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    // RFC 3339 ends with the year 9999, and a delivery can be due later than that, or never.
    let max = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(time.min(max)).to_string()
}

pub(super) fn age(time: SystemTime) -> Duration {
    SystemClock.wall().duration_since(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_in_largest_sensible_unit() {
        let rows = [(0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (3_600, "1h")];
        for (seconds, text) in rows.into_iter().chain([(172_799, "47h"), (172_800, "2d")]) {
            assert_eq!(short_duration(Duration::from_secs(seconds)), text);
        }
        let rows = [
            (0, "0ms"),
            (999, "999ms"),
            (1_290, "1.2s"),
            (9_999, "9.9s"),
            (59_999, "59s"),
            (200_000, "3m 20s"),
            (3_600_000, "1h 0m"),
            (90_000_000, "1d 1h"),
        ];
        for (millis, text) in rows {
            assert_eq!(precise_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(count(1, "delivery"), "1 delivery");
        assert_eq!(count(2, "delivery"), "2 deliveries");
        assert_eq!(count(0, "event"), "0 events");
        let never = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::MAX / 4);
        assert_eq!(rfc3339(never), "9999-12-31T23:59:59.000Z");
    }
}
