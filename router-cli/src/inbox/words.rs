//! What is said of events and deliveries, to people and to programs.

use std::time::{Duration, SystemTime};

use anstyle::Style;
use router_core::clock::{Clock as _, SystemClock};
use router_inbox::{
    DeliveryState,
    operations::{DeliverySummary, EventSummary},
};
use serde::Serialize;

use crate::output::{BAD, DIM, DOUBTFUL, GOOD, plain, styled};

/// An event, for programs.
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

/// A delivery, for programs.
#[derive(Serialize)]
pub(super) struct DeliveryLine<'l> {
    handler: &'l str,
    state: &'static str,
    attempts: u32,
    /// From when on it can be claimed, or until when whoever has it holds it.
    due_at: Option<String>,
    blocked: bool,
    ended_at: Option<String>,
    error: Option<&'l str>,
}

impl<'l> EventLine<'l> {
    pub(super) fn of(event: &'l EventSummary) -> Self {
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
    pub(super) fn of(delivery: &'l DeliverySummary) -> Self {
        Self {
            handler: &delivery.handler,
            state: state(delivery.state),
            attempts: delivery.attempts,
            due_at: delivery.due.map(rfc3339),
            blocked: delivery.is_blocked,
            ended_at: delivery.ended_at.map(rfc3339),
            error: delivery.error.as_deref(),
        }
    }
}

/// The name of a state.
pub(super) fn state(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Waiting => "waiting",
        DeliveryState::Running => "running",
        DeliveryState::Done => "done",
        DeliveryState::Ignored => "ignored",
        DeliveryState::Dead => "dead",
        DeliveryState::Discarded => "discarded",
    }
}

pub(super) fn style(state: DeliveryState) -> Style {
    match state {
        DeliveryState::Waiting => DOUBTFUL,
        DeliveryState::Running => Style::new(),
        DeliveryState::Done => GOOD,
        DeliveryState::Ignored | DeliveryState::Discarded => DIM,
        DeliveryState::Dead => BAD,
    }
}

/// Which event it is: `invoice.paid  evt_1  in_1  replay 2  3m ago`.
pub(super) fn event(event: &EventSummary) -> String {
    let mut rest = vec![plain(&event.id), plain(&event.object)];
    if event.endpoint != "default" {
        rest.push(format!("endpoint {}", plain(&event.endpoint)));
    }
    rest.extend(event.account.as_deref().map(plain));
    if event.generation > 0 {
        rest.push(format!("replay {}", event.generation));
    }
    rest.push(ago(event.stored_at));
    format!("{}  {}", plain(&event.event_type), styled(DIM, rest.join("  ")))
}

/// How far a delivery is: `dead       fulfil  after 12 attempts, 2m ago`, and what went wrong below it.
pub(super) fn delivery(delivery: &DeliverySummary) -> String {
    let state = styled(style(delivery.state), format_args!("{:9}", state(delivery.state)));
    let mut text = format!("{state}  {}  {}", plain(&delivery.handler), since(delivery));
    let is_of_now = matches!(
        delivery.state,
        DeliveryState::Waiting
            | DeliveryState::Running
            | DeliveryState::Dead
            | DeliveryState::Discarded
    );
    if let Some(error) = delivery.error.as_ref().filter(|_| is_of_now) {
        let error = plain(error);
        for line in error.lines() {
            text.push_str(&format!("\n               {}", styled(DIM, line)));
        }
    }
    text
}

fn since(delivery: &DeliverySummary) -> String {
    let tried = tried(delivery.attempts);
    let ended = delivery.ended_at.map(ago).unwrap_or_default();
    let due = delivery.due.unwrap_or(SystemTime::UNIX_EPOCH);
    let left = due.duration_since(SystemClock.wall()).ok();
    match (delivery.state, left) {
        (DeliveryState::Waiting, _) if delivery.is_blocked => {
            "behind an older event of its object".to_owned()
        }
        (DeliveryState::Waiting, None) => format!("due since {}, {tried}", short(age(due))),
        (DeliveryState::Waiting, Some(left)) => format!("due in {}, {tried}", short(left)),
        (DeliveryState::Running, Some(left)) => {
            format!("attempt {}, held for {} more", delivery.attempts, short(left))
        }
        (DeliveryState::Running, None) => format!(
            "attempt {}, held by nobody any more since {}",
            delivery.attempts,
            short(age(due))
        ),
        (DeliveryState::Dead | DeliveryState::Discarded, _) => format!("{ended}, {tried}"),
        (DeliveryState::Done | DeliveryState::Ignored, _) if delivery.attempts > 1 => {
            format!("{ended}, {tried}")
        }
        (DeliveryState::Done | DeliveryState::Ignored, _) => ended,
    }
}

/// `after 2 attempts`.
pub(super) fn tried(attempts: u32) -> String {
    match attempts {
        0 => "not tried yet".to_owned(),
        some => format!("after {}", count(some.into(), "attempt")),
    }
}

/// `1 event`, `2 events`.
pub(super) fn count(number: u64, what: &str) -> String {
    let plural = match what.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{what}s"),
    };
    if number == 1 { format!("1 {what}") } else { format!("{number} {plural}") }
}

/// `3m ago`.
pub(super) fn ago(time: SystemTime) -> String {
    match age(time) {
        age if age < Duration::from_secs(1) => "just now".to_owned(),
        age => format!("{} ago", short(age)),
    }
}

/// A time that people grasp at once: `45s`, `3m`, `5h`, `12d`.
pub(super) fn short(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3_600 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

pub(super) fn rfc3339(time: SystemTime) -> String {
    // What is later has no such form, and a wait can be for ever.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(time.min(last)).to_string()
}

fn age(time: SystemTime) -> Duration {
    SystemClock.wall().duration_since(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_unit_that_people_grasp() {
        let rows = [(0, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m"), (3_600, "1h")];
        for (seconds, text) in rows.into_iter().chain([(172_799, "47h"), (172_800, "2d")]) {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
        assert_eq!(count(1, "delivery"), "1 delivery");
        assert_eq!(count(2, "delivery"), "2 deliveries");
        assert_eq!(count(0, "event"), "0 events");
        let never = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::MAX / 4);
        assert_eq!(rfc3339(never), "9999-12-31T23:59:59.000Z");
    }
}
