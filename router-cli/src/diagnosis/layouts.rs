//! JSON in the layouts that Stripe and common libraries write.

use super::json::{Json, Layout, StringEncoding};

const LAYOUTS: [(&str, Layout); 6] = [
    ("indented by two spaces", pretty("  ")),
    (
        "indented by two spaces, with line breaks in empty objects and arrays",
        Layout { empty: Some(("", "\n")), ..pretty("  ") },
    ),
    ("compact", Layout { indent: None, comma: ",", colon: ":", empty: None }),
    (
        "on one line, with a space after each comma and colon",
        Layout { indent: None, comma: ", ", colon: ": ", empty: None },
    ),
    ("indented by four spaces", pretty("    ")),
    ("indented by tabs", pretty("\t")),
];

const STRING_ENCODINGS: [(&str, StringEncoding); 3] = [
    ("", StringEncoding::AsGiven),
    (", with non-ASCII characters unescaped", StringEncoding::Unescaped),
    (", with non-ASCII characters escaped", StringEncoding::Ascii),
];

const fn pretty(indent: &'static str) -> Layout {
    Layout { indent: Some(indent), comma: ",", colon: ": ", empty: None }
}

/// Returns a JSON value in each layout, and the layout's description.
pub(super) fn layouts<'j>(json: &'j Json<'_>) -> impl Iterator<Item = (String, String)> + use<'j> {
    let orders = [
        ("", json.clone()),
        (", with the fields in Stripe's order", json.clone().in_stripes_order()),
    ];
    orders.into_iter().flat_map(|(order, json)| {
        LAYOUTS.into_iter().flat_map(move |(layout_name, layout)| {
            let json = json.clone();
            STRING_ENCODINGS.into_iter().flat_map(move |(encoding_name, encoding)| {
                let text = json.write(layout, encoding);
                let name = format!("{layout_name}{order}{encoding_name}");
                let escaped = (text.replace('/', r"\/"), format!("{name}, with slashes escaped"));
                let ended = (format!("{text}\n"), format!("{name}, with a line break at the end"));
                [(text, name), escaped, ended]
            })
        })
    })
}
