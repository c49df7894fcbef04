//! The rows as Markdown.

use std::fmt::Write as _;

use crate::row::{Group, Row};

pub(crate) const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/bad-input.md");

const HEAD: &str = "\
# Bad input

What is sent to an endpoint by mistake or with bad intent, and the answer that it gets. Each row is
a test: it is sent to a real endpoint, or over TCP to a real server, and its answer must be this one.
The last column names the row in the file that is given under its heading.

Of what is wrong with a signature the sender is told nothing, since anybody can send one; the log
has the reason, and so has the response in its extensions (`Refusal`, `SignatureError`). What is
wrong with an authentic event is told in full: Stripe's dashboard shows it. What was not answered
with 200 Stripe sends again, for up to three days.

Made by `UPDATE_DOCS=1 cargo test -p router-tests --test bad_input`: do not edit.
";

pub(crate) fn render(groups: &[Group]) -> String {
    let count: usize = groups.iter().map(|group| group.rows.len()).sum();
    let mut text = format!("{HEAD}\n{count} inputs:\n");
    for Group { title, .. } in groups {
        let _ = writeln!(text, "- [{title}](#{})", anchor(title));
    }
    for Group { title, file, intro, rows } in groups {
        let _ = writeln!(text, "\n## {title}\n\n{intro} Tested by [`{file}`](../{file}).\n");
        text += "| input | answer | log | what is wrong, what to do | row |\n";
        text += "|---|---|---|---|---|\n";
        for row in rows {
            let Row { name, input, note, .. } = row;
            let (answer, log) = (answer(row), log(row));
            let _ = writeln!(text, "| {input} | {answer} | {log} | {note} | `{name}` |");
        }
    }
    text
}

/// As GitHub makes it.
fn anchor(title: &str) -> String {
    let title = title.to_lowercase().replace(' ', "-");
    title.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
}

fn answer(row: &Row) -> String {
    match (row.answer.status, &*row.answer.says) {
        (None, _) => "none; the connection is closed".into(),
        (Some(status), "") => format!("**{status}**"),
        (Some(status), says) => format!("**{status}** {}", says.replace('|', "\\|")),
    }
}

fn log(row: &Row) -> String {
    match (row.answer.log, &*row.answer.reason) {
        (None, _) => String::new(),
        (Some(level), "") => level.to_string(),
        (Some(level), reason) => format!("{level} `{reason}`"),
    }
}
