//! Thin events with a missing or changed field.

use super::row::{Group, row};
use router_tests::exchange::post;

pub(crate) fn group() -> Group {
    let event = |rest: &str| {
        format!(
            r#"{{"id":"evt_1","object":"v2.core.event","type":"v2.core.account.updated"{rest}}}"#
        )
    };
    let passes =
        |name, description, rest: &str| row(name, description, post(event(rest))).accepted("done");
    let refused = |name, description, rest: &str, problem| {
        row(name, description, post(event(rest))).not_an_event(problem)
    };
    Group {
        title: "Thin events",
        file: "tests/tests/documents/bad_input/thin.rs",
        intro: "A thin event refers to its object but does not contain it.",
        rows: vec![
            passes("thin_without_related", "no `related_object`", ""),
            passes("thin_related_null", "`related_object` null", r#","related_object":null"#),
            passes(
                "thin_related_without_id",
                "`related_object` without an id, as for the balance",
                r#","related_object":{"type":"balance","url":"/v1/balance"}"#,
            ),
            refused(
                "thin_related_text",
                "`related_object` a string",
                r#","related_object":"acct_1""#,
                "the field `related_object` should be an object, but is a string \
                 (line 1, column 90)",
            ),
            refused(
                "thin_created_number",
                "`created` a number, as in a snapshot event",
                r#","created":1700000000"#,
                "the field `created` should be a string, but is a number (line 1, column 83)",
            ),
            refused(
                "thin_created_text",
                "`created` not a timestamp",
                r#","created":"yesterday""#,
                "the field `created` is not a time such as 2026-01-31T12:00:00.000Z \
                 (line 1, column 83)",
            ),
            passes("thin_data", "`data` without an object", r#","data":{"reason":"limit"}"#),
            refused(
                "thin_data_object_text",
                "`data.object` a string",
                r#","data":{"object":"acct_1"}"#,
                "the field `data.object` should be an object, but is a string (line 1, column 90)",
            ),
        ],
    }
}
