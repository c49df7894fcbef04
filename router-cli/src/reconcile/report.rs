//! Prints events and the summary.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use indicatif::ProgressBar;
use router_core::Event;
use router_inbox::operations::EventSummary;
use router_stripe::reconcile::EventSource;
use serde::Serialize;
use serde_json::{Value, json};

use super::{known::identity, pass::Action};
use crate::{
    error::{Error, Exit},
    inbox::format::count,
    output::{DIM, FAILURE, Output, SUCCESS, WARNING, styled},
    send::{Answer, format_answer},
    stripe::one_line,
};

/// Counts and prints the events of a run.
pub(super) struct Report {
    pub(super) bar: ProgressBar,
    verb: &'static str,
    has_inbox: bool,
    summary: Summary,
    /// The account of each event that was sent, by the event's id.
    sent: HashMap<String, Option<String>>,
}

/// The numbers of events.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// Read from Stripe's lists.
    listed: u64,
    /// Missed: sent, sent again by Stripe, or printed.
    missed: u64,
    /// Missed, but the server had them already.
    duplicates: u64,
    /// Missed, and reported as dead letters by the server.
    dead: u64,
    /// In the inbox.
    stored: u64,
    /// In the inbox under another endpoint or account only.
    other_endpoint: u64,
    /// Events of another type than those selected, or without a handler.
    ignored: u64,
    unreadable: u64,
    /// Missed and not sent, so that the run ended.
    refused: u64,
    /// The number of lists that Stripe refused to return.
    unlisted: u64,
    /// `true` if all lists were read to their ends.
    complete: bool,
}

/// An event in the JSON output.
#[derive(Serialize)]
pub(super) struct Line<'l> {
    event: &'l str,
    r#type: &'l str,
    account: Option<&'l str>,
    endpoint: &'l str,
    created: Option<String>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Value>,
}

impl<'l> Line<'l> {
    pub(super) fn new(event: &'l Event, outcome: &'static str, answer: Option<&Answer>) -> Self {
        Self {
            event: event.id(),
            r#type: event.event_type(),
            account: account(event),
            endpoint: event.endpoint(),
            created: event.created().map(time),
            outcome,
            status: answer.map(|answer| answer.status),
            answer: answer.map(Answer::json),
        }
    }
}

impl Report {
    pub(super) fn new(action: &Action<'_>, has_inbox: bool) -> Self {
        let verb = match action {
            Action::Print => "found; nothing was sent",
            Action::Send(_) => "sent",
            Action::Resend(_) => "requested from Stripe",
        };
        Self {
            bar: ProgressBar::hidden(),
            verb,
            has_inbox,
            summary: Summary::default(),
            sent: HashMap::new(),
        }
    }

    pub(super) fn listed(&self) -> u64 {
        self.summary.listed
    }

    pub(super) fn ignored(&mut self) {
        self.summary.listed += 1;
        self.summary.ignored += 1;
    }

    pub(super) fn stored(&mut self) {
        self.summary.listed += 1;
        self.summary.stored += 1;
    }

    pub(super) fn missed(&mut self, event: &Event, output: &mut Output) -> Result<(), Error> {
        self.summary.listed += 1;
        self.summary.missed += 1;
        self.print(&Line::new(event, "missed", None), "", output)
    }

    pub(super) fn resent(&mut self, event: &Event, output: &mut Output) -> Result<(), Error> {
        self.summary.listed += 1;
        self.summary.missed += 1;
        self.print(&Line::new(event, "resent", None), &styled(SUCCESS, "requested"), output)
    }

    pub(super) fn sent(
        &mut self,
        event: &Event,
        answer: &Answer,
        output: &mut Output,
    ) -> Result<(), Error> {
        self.summary.listed += 1;
        self.summary.missed += 1;
        match &*answer.outcome() {
            "duplicate" => self.summary.duplicates += 1,
            "dead" => self.summary.dead += 1,
            _ => {}
        }
        self.sent.insert(event.id().to_owned(), account(event).map(str::to_owned));
        let line = Line::new(event, "sent", Some(answer));
        self.print(&line, &format_answer(answer), output)
    }

    /// Prints an event that was not sent. The run ends with it.
    pub(super) fn refused(
        &mut self,
        event: &Event,
        answer: Option<&Answer>,
        output: &mut Output,
    ) -> Result<(), Error> {
        self.summary.listed += 1;
        self.summary.refused += 1;
        let text = answer.map_or_else(|| styled(FAILURE, "no answer"), format_answer);
        self.print(&Line::new(event, "refused", answer), &text, output)
    }

    pub(super) fn other_endpoint(
        &mut self,
        event: &Event,
        stored: &EventSummary,
        output: &mut Output,
    ) -> Result<(), Error> {
        self.summary.listed += 1;
        self.summary.other_endpoint += 1;
        let stored = identity(&stored.endpoint, stored.account.as_deref());
        let expected = identity(event.key().endpoint(), event.key().account());
        let text = styled(WARNING, format_args!("not sent: stored under {stored}, not {expected}"));
        self.print(&Line::new(event, "other_endpoint", None), &text, output)
    }

    /// Returns whether this run has sent the event under another account. Stripe may list the
    /// events of the key's account under its id too.
    pub(super) fn was_sent_elsewhere(&self, event: &Event) -> bool {
        self.sent.get(event.id()).is_some_and(|sent| sent.as_deref() != account(event))
    }

    pub(super) fn sent_elsewhere(
        &mut self,
        event: &Event,
        output: &mut Output,
    ) -> Result<(), Error> {
        self.summary.listed += 1;
        self.summary.other_endpoint += 1;
        let text = styled(WARNING, "not sent: this run has sent it under another account");
        self.print(&Line::new(event, "other_endpoint", None), &text, output)
    }

    pub(super) fn unreadable(
        &mut self,
        id: &str,
        source: &EventSource,
        output: &mut Output,
    ) -> Result<(), Error> {
        self.summary.listed += 1;
        self.summary.unreadable += 1;
        self.bar.suspend(|| print_unreadable(id, source, output))
    }

    fn print(&self, line: &Line<'_>, text: &str, output: &mut Output) -> Result<(), Error> {
        self.bar.suspend(|| print_line(line, text, output))
    }

    /// Records a list that Stripe refused to return.
    pub(super) fn unlisted(&mut self) {
        self.summary.unlisted += 1;
    }

    /// Records that the run has come to its end.
    pub(super) fn complete(&mut self) {
        self.summary.complete = self.summary.unlisted == 0;
    }

    pub(super) fn print_summary(&self, output: &mut Output) -> Result<(), Error> {
        if output.json {
            return output.json(&json!({"summary": self.summary}));
        }
        let Summary { missed, duplicates, dead, stored, .. } = self.summary;
        let Summary { other_endpoint, ignored, unreadable, refused, unlisted, complete, .. } =
            self.summary;
        let mut parts = vec![match missed {
            0 if complete => "no missed events".to_owned(),
            _ => format!("{} {}", count(missed, "missed event"), self.verb),
        }];
        let mut part = |number: u64, text: &str| {
            if number > 0 {
                parts.push(format!("{number} {text}"));
            }
        };
        part(duplicates, "of them known to the server");
        part(dead, "of them dead letters");
        part(if self.has_inbox { stored } else { 0 }, "in the inbox already");
        part(other_endpoint, "stored under another endpoint or account");
        part(ignored, "of other types");
        part(unreadable, "unreadable");
        part(refused, "not sent");
        part(unlisted, "of the lists could not be read");
        if !complete && unlisted == 0 {
            parts.push("later events were not read".to_owned());
        }
        output.line(parts.join(", "))
    }

    /// Returns the exit code of a run that has come to its end.
    pub(super) fn exit(&self) -> Exit {
        let Summary { dead, other_endpoint, unreadable, unlisted, .. } = self.summary;
        if unlisted > 0 {
            Exit::NoAnswer
        } else if dead + other_endpoint + unreadable > 0 {
            Exit::Failure
        } else {
            Exit::Success
        }
    }
}

/// Prints an event on a line, as in `2026-11-28T10:00:00Z  invoice.paid  evt_1  200 OK stored`.
pub(super) fn print_line(line: &Line<'_>, text: &str, output: &mut Output) -> Result<(), Error> {
    if output.json {
        return output.json(line);
    }
    let [event_type, id] = [line.r#type, line.event].map(one_line);
    let account = line.account.map(|account| format!("  {}", one_line(account)));
    let id = styled(DIM, format_args!("{id}{}", account.unwrap_or_default()));
    let created = line.created.as_deref().unwrap_or("-");
    let text = format!("{created}  {event_type}  {id}  {text}");
    output.line(text.trim_end())
}

/// Prints an item of a list that is not an event in a known form.
pub(super) fn print_unreadable(
    id: &str,
    source: &EventSource,
    output: &mut Output,
) -> Result<(), Error> {
    if output.json {
        return output.json(&json!({"event": id, "outcome": "unreadable"}));
    }
    let text = styled(FAILURE, format_args!("unreadable in the list {source}"));
    output.line(format_args!("{}  {text}", one_line(id)))
}

fn account(event: &Event) -> Option<&str> {
    event.account().or(event.context())
}

pub(super) fn time(time: SystemTime) -> String {
    // RFC 3339 ends with the year 9999, and an event may name any time.
    let max = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_seconds(time.min(max)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_after_the_year_9999_is_written() {
        let millis_for_seconds = Duration::from_secs(1_764_590_000_000);
        assert_eq!(time(SystemTime::UNIX_EPOCH + millis_for_seconds), "9999-12-31T23:59:59Z");
    }
}
