//! Reads the lists once, and hands over each missed event.

use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

use indicatif::ProgressBar;
use router_catalog::Pattern;
use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
};
use router_stripe::{
    Client,
    doctor::ProgramRoutes,
    reconcile::{EventList, EventReader, EventSource, Lookup, SAFE_AGE, is_in_future},
};

use super::{
    PERMISSIONS, Since,
    deliver::{Delivery, deliver},
    known::{CheckpointError, Known},
    report::{Report, time},
    resend::Resend,
    sources::ServerEndpoints,
};
use crate::{
    error::{Error, Exit},
    inbox::format::count,
    interrupt::Interrupt,
    output::{Output, WARNING},
    progress::span_bar,
    stripe::explain,
};

/// One run over all lists.
pub(super) struct Pass<'p> {
    pub(super) client: &'p Client,
    pub(super) known: Option<Known>,
    pub(super) filter: Filter,
    pub(super) action: Action<'p>,
    pub(super) since: Option<Since>,
}

/// The treatment of a missed event.
pub(super) enum Action<'p> {
    Print,
    Send(&'p ServerEndpoints),
    Resend(Resend<'p>),
}

/// Selects events by their type.
pub(super) struct Filter {
    pub(super) types: Vec<String>,
    pub(super) routes: Option<ProgramRoutes>,
}

impl Filter {
    /// Returns whether an event of a list is selected. The routes do not matter for an undelivered
    /// event, because an endpoint at Stripe has enabled its type.
    pub(super) fn accepts(&self, event: &Event, source: &EventSource) -> bool {
        let event_type = event.event_type();
        let matches = |pattern: &String| {
            Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(event_type))
        };
        let routes = self.routes.as_ref().filter(|_| source.list() != EventList::Undelivered);
        (self.types.is_empty() || self.types.iter().any(matches))
            && routes.is_none_or(|routes| routes.takes(event_type))
    }
}

/// The end of a list, or of all lists.
#[derive(Clone, Copy, PartialEq)]
enum Completion {
    Complete,
    Interrupted,
}

impl Pass<'_> {
    /// Reads the lists one after the other, and prints a summary, also if the run fails.
    pub(super) async fn run(
        &self,
        sources: &[EventSource],
        output: &mut Output,
    ) -> Result<Exit, Error> {
        let mut report = Report::new(&self.action, self.known.is_some());
        let completion = self.read_all(sources, &mut report, output).await;
        if let Ok(Completion::Complete) = completion {
            report.complete();
        }
        let printed = report.print_summary(output);
        let exit = match completion {
            // `main` takes a closed pipe for a success, but missed events are left.
            Err(error) if error.is_broken_pipe() && !matches!(self.action, Action::Print) => {
                let why = "the output was closed, so the run ended; later events were not read";
                return Err(Error::Refused(why.to_owned()));
            }
            Err(error) => return Err(error),
            Ok(Completion::Interrupted) => Exit::Interrupted,
            Ok(Completion::Complete) => report.exit(),
        };
        match printed {
            Err(error) if !error.is_broken_pipe() => Err(error),
            _ => Ok(exit),
        }
    }

    async fn read_all(
        &self,
        sources: &[EventSource],
        report: &mut Report,
        output: &mut Output,
    ) -> Result<Completion, Error> {
        let mut interrupt = Interrupt::listen().await;
        for source in sources {
            let completion = self.read(source, &mut interrupt, report, output).await;
            report.bar.finish_and_clear();
            if completion? == Completion::Interrupted {
                return Ok(Completion::Interrupted);
            }
        }
        Ok(Completion::Complete)
    }

    async fn read(
        &self,
        source: &EventSource,
        interrupt: &mut Interrupt,
        report: &mut Report,
        output: &mut Output,
    ) -> Result<Completion, Error> {
        let checkpoint = self.checkpoint(source, output).await?;
        let mut reader = self.reader(source, checkpoint);
        // A connected account that has revoked its access must not keep the others from being read.
        let failed = |error: router_stripe::Error, report: &mut Report, output: &mut Output| {
            let is_refused = source.connected_account().is_some() && !error.is_transient();
            let error = explain(&error, PERMISSIONS);
            if !is_refused {
                return Err(error);
            }
            output.error(&error);
            report.unlisted();
            Ok(Completion::Complete)
        };
        let Some(range) = interrupt.or(reader.range()).await else {
            return Ok(Completion::Interrupted);
        };
        let range = match range {
            Ok(range) => range,
            Err(error) => return failed(error, report, output),
        };
        self.check_gap(source, checkpoint, &range, output)?;
        let sets_checkpoint = sets_checkpoint(checkpoint, &range);
        report.bar = span_bar(length(&range), output);
        loop {
            let Some(batch) = interrupt.or(reader.next()).await else {
                return Ok(Completion::Interrupted);
            };
            let batch = match batch {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(Completion::Complete),
                Err(error) => return failed(error, report, output),
            };
            for id in &batch.unreadable {
                report.unreadable(id, source, output)?;
            }
            for event in &batch.events {
                if interrupt.is_set().await
                    || self.handle(event, source, interrupt, report, output).await?
                        == Completion::Interrupted
                {
                    return Ok(Completion::Interrupted);
                }
            }
            if let Some(known) = &self.known
                && sets_checkpoint
                && checkpoint.is_none_or(|checkpoint| checkpoint < batch.until)
            {
                known.set_checkpoint(&source.checkpoint_name(self.client), batch.until).await?;
            }
            show_progress(&report.bar, range.start..batch.until, report.listed());
        }
    }

    /// Returns the time up to which an earlier run has read the list.
    async fn checkpoint(
        &self,
        source: &EventSource,
        output: &mut Output,
    ) -> Result<Option<SystemTime>, Error> {
        let Some(known) = &self.known else { return Ok(None) };
        let name = source.checkpoint_name(self.client);
        let checkpoint = match known.checkpoint(&name).await {
            Ok(checkpoint) => checkpoint,
            Err(CheckpointError::Store(error)) => return Err(error),
            // The run replaces the checkpoint.
            Err(CheckpointError::NotATime) if self.since.is_some() => None,
            Err(CheckpointError::NotATime) => {
                return Err(Error::Usage(format!(
                    "the checkpoint {name} in the inbox is not a time; pass the time with --since"
                )));
            }
        };
        match checkpoint {
            Some(checkpoint) if is_in_future(checkpoint, SystemClock.wall()) => {
                output.note(format_args!(
                    "{WARNING}warning:{WARNING:#} the last run ended at {}, which is in the future, and \
                     is ignored",
                    time(checkpoint)
                ));
                Ok(None)
            }
            checkpoint => Ok(checkpoint),
        }
    }

    /// Creates the reader, which begins at the checkpoint or at `--since`.
    fn reader(&self, source: &EventSource, checkpoint: Option<SystemTime>) -> EventReader {
        let reader = EventReader::new(self.client, source.clone());
        match (self.since, checkpoint) {
            (Some(Since::Ago(age)), _) => reader.max_age(age),
            (Some(Since::Time(since)), _) | (None, Some(since)) => reader.since(since),
            (None, None) => reader.max_age(SAFE_AGE),
        }
    }

    /// Checks the time between the last run and this one.
    ///
    /// # Errors
    ///
    /// Fails if the inbox may have purged events of this time that it has handled.
    fn check_gap(
        &self,
        source: &EventSource,
        checkpoint: Option<SystemTime>,
        range: &Range<SystemTime>,
        output: &mut Output,
    ) -> Result<(), Error> {
        match (checkpoint, self.since) {
            (Some(checkpoint), None) if is_unsafe(checkpoint, range) => {
                let checkpoint = time(checkpoint);
                return Err(Error::Usage(format!(
                    "the last run ended at {checkpoint}, and the inbox may have purged events that it has \
                     handled since, which would be handled again; if it stores events for that long (30 \
                     days by default), pass --since {checkpoint}"
                )));
            }
            (Some(checkpoint), Some(_)) if !continues(checkpoint, range) => output.note(format_args!(
                "{WARNING}warning:{WARNING:#} the last run ended at {}, and this one begins at {}; events \
                 in between are not read",
                time(checkpoint),
                time(range.start)
            )),
            // Once, and not for each account.
            (None, Some(_))
                if self.is_complete()
                    && source.connected_account().is_none()
                    && !sets_checkpoint(None, range) =>
            {
                output.note(
                    "the next run does not begin where this one ends, because a first run of less than \
                     84 hours leaves out events",
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns whether the run stores the time up to which it has read the lists.
    fn is_complete(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.is_complete)
    }

    /// Hands an event over, unless the inbox has it.
    async fn handle(
        &self,
        event: &Event,
        source: &EventSource,
        interrupt: &mut Interrupt,
        report: &mut Report,
        output: &mut Output,
    ) -> Result<Completion, Error> {
        if !self.filter.accepts(event, source) {
            report.ignored();
            return Ok(Completion::Complete);
        }
        let found = match &self.known {
            Some(known) => known.look_up(event).await?,
            // Without an inbox, only the events of this run are known.
            None if report.was_sent_elsewhere(event) => {
                report.sent_elsewhere(event, output)?;
                return Ok(Completion::Complete);
            }
            None => Lookup::Missing,
        };
        match (found, &self.action) {
            (Lookup::Stored, _) => report.stored(),
            // Stripe delivers it to the webhook endpoint, whatever the name of its secret.
            (Lookup::OtherEndpoint(_) | Lookup::Missing, Action::Resend(resend)) => {
                resend.send(event, source).await?;
                report.resent(event, output)?;
            }
            (Lookup::OtherEndpoint(stored), _) => report.other_endpoint(event, &stored, output)?,
            (Lookup::Missing, Action::Print) => report.missed(event, output)?,
            (Lookup::Missing, Action::Send(endpoints)) => {
                match deliver(event, endpoints.of(source), interrupt).await? {
                    Delivery::Interrupted => return Ok(Completion::Interrupted),
                    Delivery::Failed(answer, error) => {
                        // The error says more than one of a closed output.
                        drop(report.refused(event, answer.as_ref(), output));
                        return Err(error);
                    }
                    Delivery::Accepted(answer) => report.sent(event, &answer, output)?,
                }
                if let Some(known) = &self.known {
                    known.confirm(event).await?;
                }
            }
        }
        Ok(Completion::Complete)
    }
}

/// Tolerance of the minimum length of a first run.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Returns whether the next run may begin where this one ends.
///
/// A run that begins later than the last one has ended leaves out events. It is accepted only if
/// the last run is too long ago, because the operator has then decided about these events. A first
/// run must not be shorter than one without `--since`, because it would leave out events too.
fn sets_checkpoint(checkpoint: Option<SystemTime>, range: &Range<SystemTime>) -> bool {
    match checkpoint {
        Some(checkpoint) => continues(checkpoint, range) || is_unsafe(checkpoint, range),
        None => length(range) + HOUR >= SAFE_AGE,
    }
}

/// Returns whether the range begins where the last run has ended, or earlier.
fn continues(checkpoint: SystemTime, range: &Range<SystemTime>) -> bool {
    range.start <= checkpoint + Duration::from_secs(1)
}

/// Returns whether events since the checkpoint may have been handled and purged.
fn is_unsafe(checkpoint: SystemTime, range: &Range<SystemTime>) -> bool {
    length(&(checkpoint..range.end)) > SAFE_AGE
}

fn length(range: &Range<SystemTime>) -> Duration {
    range.end.duration_since(range.start).unwrap_or_default()
}

fn show_progress(bar: &ProgressBar, read: Range<SystemTime>, events: u64) {
    bar.set_position(length(&read).as_secs());
    bar.set_message(format!("{}  {}", time(read.end), count(events, "event")));
}
