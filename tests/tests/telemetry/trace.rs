//! Records the spans and log lines of one test, including those of other threads.

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
    /// The trace of the test on this thread; it gets the spans without a parent.
    static CURRENT: RefCell<Trace> = RefCell::default();
}

/// The spans and log lines of one test. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    spans: Vec<Span>,
    lines: Vec<String>,
}

struct Span {
    /// The index of the parent span.
    parent: Option<usize>,
    /// The name and the fields, in the order in which they were recorded.
    text: String,
}

impl Trace {
    /// Records this thread's spans and log lines from now on.
    pub(crate) fn install() -> Self {
        // The subscriber is global, because blocking handlers run on other threads.
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| tracing_subscriber::registry().with(TraceLayer).init());
        let trace = Self::default();
        CURRENT.set(trace.clone());
        trace
    }

    /// Returns the spans as an indented tree.
    pub(crate) fn spans(&self) -> String {
        let mut tree = String::new();
        self.recorded().write_children(None, 0, &mut tree);
        tree
    }

    /// Returns the log lines of these levels, each with the name of its span.
    pub(crate) fn lines(&self, levels: &[&str]) -> Vec<String> {
        let lines = self.recorded().lines.clone();
        lines
            .into_iter()
            .filter(|line| levels.iter().any(|level| line.starts_with(level)))
            .collect()
    }

    /// Returns all spans and log lines.
    pub(crate) fn text(&self) -> String {
        self.spans() + &self.recorded().lines.join("\n")
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().expect("mutex is not poisoned")
    }
}

impl Recorded {
    fn write_children(&self, parent: Option<usize>, depth: usize, tree: &mut String) {
        for (index, span) in self.spans.iter().enumerate().filter(|(_, span)| span.parent == parent)
        {
            *tree += &format!("{}{}\n", "  ".repeat(depth), span.text);
            self.write_children(Some(index), depth + 1, tree);
        }
    }
}

/// Records into the trace of the parent span, or else of the thread.
struct TraceLayer;

/// The position of a span in its trace.
#[derive(Clone)]
struct SpanRef {
    trace: Trace,
    index: usize,
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for TraceLayer {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let span = context.span(id).expect("new span is in the registry");
        let mut text = span.name().to_owned();
        attributes.record(&mut Fields(&mut text));
        let parent = span.parent().and_then(|parent| parent.extensions().get::<SpanRef>().cloned());
        let trace = match &parent {
            Some(parent) => parent.trace.clone(),
            None => CURRENT.with_borrow(Trace::clone),
        };
        let index = {
            let spans = &mut trace.recorded().spans;
            spans.push(Span { parent: parent.map(|parent| parent.index), text });
            spans.len() - 1
        };
        span.extensions_mut().insert(SpanRef { trace, index });
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("open span is in the registry");
        if let Some(SpanRef { trace, index }) = span.extensions().get() {
            values.record(&mut Fields(&mut trace.recorded().spans[*index].text));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let span = context.event_span(event);
        let span_ref = span.as_ref().and_then(|span| span.extensions().get::<SpanRef>().cloned());
        let mut line = event.metadata().level().to_string();
        if let Some(span) = &span {
            line += &format!(" in {}", span.name());
        }
        line.push(':');
        event.record(&mut Fields(&mut line));
        let trace =
            span_ref.map_or_else(|| CURRENT.with_borrow(Trace::clone), |span_ref| span_ref.trace);
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
        written.expect("writing to a String never fails");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
