//! Snapshot events with a changed field.

use router_tests::{exchange::post, payload};

use super::row::{Group, Row, row};

pub(crate) fn group() -> Group {
    Group {
        title: "Fields of an event",
        file: "tests/tests/documents/bad_input/envelope.rs",
        intro: "Correctly signed JSON from a sender of your own. Stripe does not send it, unless the \
                row says so.",
        rows: [required(), data(), optional(), repeated()].into_iter().flatten().collect(),
    }
}

/// Returns an event with one part of its text replaced.
fn with(part: &str, replacement: &str) -> String {
    let body = payload("invoice.paid");
    assert_eq!(body.matches(part).count(), 1, "the payload must contain {part} exactly once");
    body.replace(part, replacement)
}

fn refused(
    name: &'static str,
    description: &'static str,
    part: &str,
    replacement: &str,
    problem: &str,
) -> Row {
    row(name, description, post(with(part, replacement))).not_an_event(problem)
}

fn passes(name: &'static str, description: &'static str, part: &str, replacement: &str) -> Row {
    row(name, description, post(with(part, replacement))).accepted("done")
}

const ID: &str = r#""id":"evt_1","#;
const OBJECT: &str = r#""object":"event","#;
const TYPE: &str = r#""type":"invoice.paid","#;
const CREATED: &str = r#""created":1700000000,"#;
const LIVEMODE: &str = r#""livemode":false,"#;
const DATA: &str =
    r#""data":{"object":{"id":"obj_1","object":"thing","amount":2000,"currency":"usd"}}"#;

fn required() -> Vec<Row> {
    vec![
        refused(
            "id_missing",
            "`id` missing",
            ID,
            "",
            "the field `id` is missing (line 1, column 159)",
        ),
        refused(
            "id_empty",
            "`id` empty",
            ID,
            r#""id":"","#,
            "the field `id` is empty (line 1, column 7)",
        ),
        refused(
            "id_number",
            "`id` a number",
            ID,
            r#""id":1,"#,
            "the field `id` should be a string, but is a number (line 1, column 7)",
        ),
        refused(
            "id_null",
            "`id` null",
            ID,
            r#""id":null,"#,
            "the field `id` should be a string, but is null (line 1, column 7)",
        ),
        refused(
            "type_missing",
            "`type` missing",
            TYPE,
            "",
            "the field `type` is missing (line 1, column 150)",
        ),
        refused(
            "type_empty",
            "`type` empty",
            TYPE,
            r#""type":"","#,
            "the field `type` is empty (line 1, column 39)",
        ),
        refused(
            "type_surrogate",
            "an unpaired surrogate in `type`: `\\ud800`",
            TYPE,
            r#""type":"\ud800","#,
            "the field `type` is not valid text: an escape sequence encodes no character \
             (line 1, column 39)",
        ),
        refused(
            "object_missing",
            "`object` missing",
            OBJECT,
            "",
            "the field `object` is missing (line 1, column 155)",
        ),
        refused(
            "object_charge",
            "`object` is `charge`",
            OBJECT,
            r#""object":"charge","#,
            r#"its `object` is "charge", neither "event" nor "v2.core.event" (line 1, column 24)"#,
        )
        .note("the object was sent instead of its event"),
        refused(
            "object_list",
            "`object` is `list`",
            OBJECT,
            r#""object":"list","#,
            r#"its `object` is "list", neither "event" nor "v2.core.event" (line 1, column 24)"#,
        )
        .note("an API response was sent instead of an event"),
    ]
}

fn data() -> Vec<Row> {
    vec![
        refused(
            "data_missing",
            "`data` missing",
            DATA,
            r#""other":1"#,
            "the field `data` is missing (line 1, column 101)",
        ),
        refused(
            "data_array",
            "`data` an array",
            DATA,
            r#""data":[]"#,
            "the field `data` should be an object, but is an array (line 1, column 99)",
        ),
        refused(
            "data_object_missing",
            "`data.object` missing",
            DATA,
            r#""data":{}"#,
            "the field `data.object` is missing (line 1, column 101)",
        ),
        refused(
            "data_object_null",
            "`data.object` null",
            DATA,
            r#""data":{"object":null}"#,
            "the field `data.object` should be an object, but is null (line 1, column 109)",
        ),
        refused(
            "data_object_array",
            "`data.object` an array",
            DATA,
            r#""data":{"object":[]}"#,
            "the field `data.object` should be an object, but is an array (line 1, column 109)",
        ),
        refused(
            "previous_attributes_text",
            "`data.previous_attributes` a string",
            r#""data":{"#,
            r#""data":{"previous_attributes":"x","#,
            "the field `data.previous_attributes` should be an object, but is a string \
             (line 1, column 122)",
        ),
    ]
}

fn optional() -> Vec<Row> {
    let created = |value: &str| format!(r#""created":{value},"#);
    vec![
        refused(
            "created_text",
            "`created` a string",
            CREATED,
            &created("\"1700000000\""),
            "the field `created` should be a number, but is a string (line 1, column 64)",
        ),
        refused(
            "created_negative",
            "`created` negative",
            CREATED,
            &created("-1"),
            "the field `created` is not a non-negative integer \
             (line 1, column 64)",
        ),
        refused(
            "created_float",
            "`created` with a fraction",
            CREATED,
            &created("1700000000.5"),
            "the field `created` is not a non-negative integer \
             (line 1, column 64)",
        ),
        passes("created_missing", "`created` missing", CREATED, "")
            .note("`Event::created` then returns `None`"),
        passes("created_null", "`created` null", CREATED, &created("null")),
        refused(
            "livemode_text",
            "`livemode` a string",
            LIVEMODE,
            r#""livemode":"false","#,
            "the field `livemode` should be a boolean, but is a string (line 1, column 86)",
        ),
        refused(
            "livemode_number",
            "`livemode` 0",
            LIVEMODE,
            r#""livemode":0,"#,
            "the field `livemode` should be a boolean, but is a number (line 1, column 86)",
        ),
        refused(
            "api_version_number",
            "`api_version` a number",
            LIVEMODE,
            r#""api_version":20261028,"#,
            "the field `api_version` should be a string, but is a number (line 1, column 89)",
        ),
        refused(
            "account_object",
            "`account` an object",
            LIVEMODE,
            r#""account":{"id":"acct_1"},"#,
            "the field `account` should be a string, but is an object (line 1, column 85)",
        )
        .note("an expanded field; events do not contain them"),
        refused(
            "pending_webhooks_negative",
            "`pending_webhooks` negative",
            LIVEMODE,
            r#""pending_webhooks":-1,"#,
            "the field `pending_webhooks` is not a non-negative integer \
             (line 1, column 94)",
        ),
        passes(
            "request_text",
            "`request` a string, as Stripe sends it for old accounts",
            LIVEMODE,
            r#""request":"req_1","#,
        ),
        refused(
            "request_number",
            "`request` a number",
            LIVEMODE,
            r#""request":7,"#,
            "the field `request.id` should be a string, but is a number (line 1, column 85)",
        ),
        passes("unknown_field", "an unknown field", LIVEMODE, r#""weather":{"sun":true},"#),
    ]
}

fn repeated() -> Vec<Row> {
    let twice = |field: &str| format!("{field}{field}");
    vec![
        refused(
            "id_twice",
            "`id` twice",
            ID,
            &twice(ID),
            "the key `id` occurs twice (line 1, column 15)",
        )
        .note("readers could disagree on which one counts"),
        refused(
            "id_twice_escaped",
            "`id` twice, the second escaped as `\\u0069d`",
            ID,
            r#""id":"evt_1","\u0069d":"evt_2","#,
            "the key `id` occurs twice (line 1, column 15)",
        ),
        refused(
            "type_twice",
            "`type` twice",
            TYPE,
            &twice(TYPE),
            "the key `type` occurs twice (line 1, column 54)",
        ),
        refused(
            "object_twice",
            "`object` twice",
            OBJECT,
            &twice(OBJECT),
            "the key `object` occurs twice (line 1, column 32)",
        ),
        refused(
            "data_twice",
            "`data` twice",
            DATA,
            &format!("{DATA},{DATA}"),
            "the key `data` occurs twice (line 1, column 173)",
        ),
        refused(
            "data_object_twice",
            "`data.object` twice",
            r#""data":{"#,
            r#""data":{"object":{},"#,
            "the key `data.object` occurs twice (line 1, column 112)",
        ),
        passes("livemode_twice", "`livemode` twice", LIVEMODE, &twice(LIVEMODE))
            .note("the last one counts"),
    ]
}
