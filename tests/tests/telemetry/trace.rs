//! The spans and log lines of one test, also of those that come from another thread.

use std::{
    cell::RefCell,
    fmt,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, Once},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

thread_local! {
    /// Where a span goes that has no parent: to the test of this thread.
    static HERE: RefCell<Trace> = RefCell::default();
}

/// What one test's requests left behind. Clones are one trace.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    spans: Vec<Span>,
    lines: Vec<String>,
}

struct Span {
    /// Its number.
    parent: Option<usize>,
    /// The name and every field that was recorded, in that order.
    text: String,
}

impl Trace {
    /// What this thread's spans leave behind from now on.
    pub(crate) fn begin() -> Self {
        // For the process as a whole: a handler that blocks runs in another thread.
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| tracing_subscriber::registry().with(ToTrace).init());
        let trace = Self::default();
        HERE.set(trace.clone());
        trace
    }

    /// The spans, each under its parent.
    pub(crate) fn spans(&self) -> String {
        let mut tree = String::new();
        self.recorded().write_children(None, 0, &mut tree);
        tree
    }

    /// The log at these levels, each line with the span in which it stands.
    pub(crate) fn lines(&self, levels: &[&str]) -> Vec<String> {
        let lines = self.recorded().lines.clone();
        lines
            .into_iter()
            .filter(|line| levels.iter().any(|level| line.starts_with(level)))
            .collect()
    }

    /// Everything.
    pub(crate) fn text(&self) -> String {
        self.spans() + &self.recorded().lines.join("\n")
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().expect("nobody panics while recording")
    }
}

impl Recorded {
    fn write_children(&self, parent: Option<usize>, depth: usize, tree: &mut String) {
        for (number, span) in
            self.spans.iter().enumerate().filter(|(_, span)| span.parent == parent)
        {
            *tree += &format!("{}{}\n", "  ".repeat(depth), span.text);
            self.write_children(Some(number), depth + 1, tree);
        }
    }
}

struct ToTrace;

/// Which span of which trace a span is.
#[derive(Clone)]
struct Place {
    trace: Trace,
    number: usize,
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for ToTrace {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let span = context.span(id).expect("it is new");
        let mut text = span.name().to_owned();
        attributes.record(&mut Fields(&mut text));
        let parent = span.parent().and_then(|parent| parent.extensions().get::<Place>().cloned());
        let trace = match &parent {
            Some(parent) => parent.trace.clone(),
            None => HERE.with_borrow(Trace::clone),
        };
        let number = {
            let spans = &mut trace.recorded().spans;
            spans.push(Span { parent: parent.map(|parent| parent.number), text });
            spans.len() - 1
        };
        span.extensions_mut().insert(Place { trace, number });
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("it is open");
        if let Some(Place { trace, number }) = span.extensions().get() {
            values.record(&mut Fields(&mut trace.recorded().spans[*number].text));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let span = context.event_span(event);
        let place = span.as_ref().and_then(|span| span.extensions().get::<Place>().cloned());
        let mut line = event.metadata().level().to_string();
        if let Some(span) = &span {
            line += &format!(" in {}", span.name());
        }
        line.push(':');
        event.record(&mut Fields(&mut line));
        let trace = place.map_or_else(|| HERE.with_borrow(Trace::clone), |place| place.trace);
        trace.recorded().lines.push(line);
    }
}

/// Writes ` name=value` for each field.
struct Fields<'t>(&'t mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        written.expect("a String takes everything");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
