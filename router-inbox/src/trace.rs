//! Traces across the inbox: the span of a delivery links to the span of the request that stored its
//! event. A link and not a parent, because the delivery may run days later.

use tracing::Span;

use crate::store::TraceParent;

/// Returns the trace context of the current span, if OpenTelemetry records it.
#[cfg(feature = "opentelemetry")]
pub(crate) fn current() -> Option<TraceParent> {
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let context = Span::current().context();
    let span = context.span();
    let context = span.span_context();
    let (trace, span, flags) = (context.trace_id(), context.span_id(), context.trace_flags());
    // Not valid if no span is recorded. Then `parse` refuses the ids, which are zero.
    TraceParent::parse(&format!("00-{trace}-{span}-{flags:02x}"))
}

/// Links the span of a delivery to the request that stored its event, and sets attributes that are
/// the same for all deliveries. Their names are those of OpenTelemetry's
/// [conventions](https://opentelemetry.io/docs/specs/semconv/messaging/).
///
/// The attributes are not fields of the span, because a text log would repeat them on every line.
#[cfg(feature = "opentelemetry")]
pub(crate) fn link(delivery: &Span, request: Option<&TraceParent>) {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    delivery.set_attribute("messaging.system", "stripe");
    delivery.set_attribute("messaging.operation.name", "process");
    delivery.set_attribute("messaging.operation.type", "process");
    let context = request.and_then(|request| {
        let mut parts = request.as_str().split('-').skip(1);
        let trace = TraceId::from_hex(parts.next()?).ok()?;
        let span = SpanId::from_hex(parts.next()?).ok()?;
        let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
        Some(SpanContext::new(trace, span, flags, true, TraceState::default()))
    });
    if let Some(context) = context {
        delivery.add_link(context);
    }
}

#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn current() -> Option<TraceParent> {
    None
}

#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn link(_: &Span, _: Option<&TraceParent>) {}
