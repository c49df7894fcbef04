//! Valid events, and the outcomes of their handlers.

use router_tests::{exchange::post, payload};
use tracing::Level;

use super::{
    endpoints::{expects_endive, requires_endive},
    row::{Group, Row, row},
};

pub(crate) fn group() -> Group {
    Group {
        title: "Events and their handlers",
        file: "tests/tests/documents/bad_input/object.rs",
        intro: "Valid events. The test's handler of `invoice.paid` requires an `amount: i64`.",
        rows: [unhandled(), objects(), versions()].into_iter().flatten().collect(),
    }
}

fn with_type(name: &'static str, description: &'static str, event_type: &str) -> Row {
    row(name, description, post(payload(event_type)))
}

fn unhandled() -> Vec<Row> {
    let unhandled = |row: Row| row.accepted("unhandled");
    vec![
        unhandled(with_type("type_unhandled", "a type without a handler", "charge.succeeded"))
            .note(
                "logged once per type; `router.event_types()` lists the types to enable at Stripe",
            ),
        unhandled(with_type("type_unknown", "an unknown type", "moon.landed")),
        unhandled(with_type("type_upper_case", "a handled type in upper case", "INVOICE.PAID"))
            .note("types are case-sensitive"),
        unhandled(with_type(
            "type_with_space",
            "a handled type with a trailing space",
            "invoice.paid ",
        )),
        unhandled(with_type("type_pattern", "a pattern as the type: `invoice.*`", "invoice.*"))
            .note("only handlers have patterns; in an event this is an ordinary type"),
        unhandled(with_type(
            "another_endpoint",
            "a type whose handler is limited to the endpoint `connect`",
            "charge.failed",
        ))
        .log(Level::WARN)
        .note("the matching secret determines the endpoint; name it, as in `connect=whsec_…`"),
        unhandled(with_type(
            "another_mode",
            "a test-mode event whose handler is limited to live mode",
            "charge.refunded",
        ))
        .log(Level::WARN),
    ]
}

fn objects() -> Vec<Row> {
    let with = |amount: &str| post(payload("invoice.paid").replace("2000", amount));
    let dead = |row: Row| row.accepted("dead").log(Level::ERROR);
    vec![
        dead(row("amount_text", "`amount` a string", with("\"2000\"")))
            .note("the handler's type does not match, so a retry cannot help; the log says where"),
        dead(row("amount_null", "`amount` null", with("null"))).note("make the field an `Option`"),
        dead(row("amount_float", "`amount` with a fraction", with("20.5"))),
        dead(row(
            "amount_too_large",
            "`amount` too large for an `i64`",
            with("9223372036854775808"),
        )),
        dead(row(
            "amount_renamed",
            "`amount` missing",
            post(payload("invoice.paid").replace("amount", "total")),
        )),
        row(
            "surrogate",
            "an unpaired surrogate in the object: `\\ud800`",
            post(payload("invoice.paid").replace("usd", "\\ud800")),
        )
        .accepted("done")
        .note("the handler does not read this field"),
        with_type("handler_panics", "an object that makes a handler panic", "invoice.voided")
            .answer(500, "retry")
            .log(Level::WARN)
            .note("a bug; if it is fixed within three days, Stripe's next retry succeeds"),
    ]
}

fn versions() -> Vec<Row> {
    let clover = || {
        let version = r#""api_version":"2025-09-30.clover","created""#;
        post(payload("invoice.paid").replace(r#""created""#, version))
    };
    vec![
        row("version_expected", "an API version other than the expected one", clover())
            .to(expects_endive)
            .accepted("done")
            .log(Level::WARN)
            .note("set the endpoint's API version at Stripe"),
        row("version_required", "an API version other than the required one", clover())
            .to(requires_endive)
            .answer(
                400,
                "the event's API version is 2025-09-30.clover, but this endpoint accepts \
                 only 2026-10-28.endive",
            )
            .log(Level::ERROR)
            .reason("ApiVersion"),
    ]
}
