//! Events that are read, and what their handlers make of them.

use router_tests::payload;
use tracing::Level;

use crate::{
    endpoints::{expects_endive, requires_endive},
    exchange::post,
    row::{Group, Row, row},
};

pub(crate) fn group() -> Group {
    Group {
        title: "Events and their handlers",
        file: "tests/tests/bad_input/object.rs",
        intro: "Authentic events. The shop's handler of `invoice.paid` wants an `amount: i64`.",
        rows: [unhandled(), objects(), versions()].into_iter().flatten().collect(),
    }
}

fn of_type(name: &'static str, input: &'static str, event_type: &str) -> Row {
    row(name, input, post(payload(event_type)))
}

fn unhandled() -> Vec<Row> {
    let unhandled = |row: Row| row.accepted("unhandled");
    vec![
        unhandled(of_type("type_unhandled", "a type without a handler", "charge.succeeded"))
            .note("said once per type; `router.event_types()` says what to enable at Stripe"),
        unhandled(of_type("type_unknown", "a type that nobody knows yet", "moon.landed")),
        unhandled(of_type("type_upper_case", "a handled type in upper case", "INVOICE.PAID"))
            .note("types are case-sensitive"),
        unhandled(of_type("type_with_a_space", "a handled type and a space", "invoice.paid ")),
        unhandled(of_type("type_pattern", "a pattern as a type: `invoice.*`", "invoice.*"))
            .note("patterns are for handlers; here it is a type like any other"),
        unhandled(of_type(
            "another_endpoint",
            "a type whose handler is for `connect` only",
            "charge.failed",
        ))
        .note(
            "the secret that matched says which endpoint it is: name it, as in `connect=whsec_…`",
        ),
        unhandled(of_type(
            "another_mode",
            "a test event whose handler is for live ones",
            "charge.refunded",
        )),
    ]
}

fn objects() -> Vec<Row> {
    let with = |amount: &str| post(payload("invoice.paid").replace("2000", amount));
    let dead = |row: Row| row.accepted("dead").log(Level::ERROR);
    vec![
        dead(row("amount_text", "`amount` a string", with("\"2000\""))).note(
            "the type does not fit; Stripe could not help by sending it again. The log says where",
        ),
        dead(row("amount_null", "`amount` null", with("null"))).note("make it an `Option`"),
        dead(row("amount_float", "`amount` with a fraction", with("20.5"))),
        dead(row("amount_too_large", "`amount` beyond an `i64`", with("9223372036854775808"))),
        dead(row(
            "amount_renamed",
            "`amount` missing",
            post(payload("invoice.paid").replace("amount", "total")),
        )),
        row(
            "surrogate",
            "half a character in the object: `\\ud800`",
            post(payload("invoice.paid").replace("usd", "\\ud800")),
        )
        .accepted("done")
        .note("it is in no field that the handler takes"),
        of_type("handler_panics", "an object of which a handler panics", "invoice.voided")
            .answer(500, "retry")
            .log(Level::WARN)
            .note("a bug: mend it within three days, and Stripe's next try succeeds"),
    ]
}

fn versions() -> Vec<Row> {
    let clover = || {
        let version = r#""api_version":"2025-09-30.clover","created""#;
        post(payload("invoice.paid").replace(r#""created""#, version))
    };
    vec![
        row("version_expected", "another API version than is expected", clover())
            .to(expects_endive)
            .accepted("done")
            .log(Level::WARN)
            .note("set the version of the endpoint at Stripe"),
        row("version_required", "another API version than is required", clover())
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
