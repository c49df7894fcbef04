//! Renders the page.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use super::{
    ROOT,
    collect::{self, Kind},
    entries::{Entry, Section},
};

const INTRODUCTION: &str = "\
# Errors

This page explains each error message and warning: its cause, and the remedy. Search it for a part
of the text that has no values in it, because `…` stands for a value. Only the first line of a
message is shown. If an entry has no remedy, the message itself says what to do.

This file is generated from the code and from `tests/tests/documents/errors/` by `UPDATE_DOCS=1 cargo
test -p router-tests --test documents`. Do not edit it. It leaves out texts that only a bug can cause
(`expect`, assertions), texts of the test tools, parts that complete another text, and INFO lines.

";

/// Returns the page.
pub(crate) fn render(sections: &[Section]) -> String {
    let mut levels = BTreeMap::new();
    for message in collect::messages() {
        let level: &mut Kind = levels.entry(&*message.text).or_insert(message.kind);
        *level = message.kind.min(*level);
    }
    let mut page = INTRODUCTION.to_owned();
    let titles = sections.iter().map(|section| section.title).chain(["Alerts"]);
    for title in titles {
        let anchor = title.to_lowercase().replace('`', "").replace(' ', "-");
        let _ = writeln!(page, "- [{title}](#{anchor})");
    }
    for section in sections {
        let _ = writeln!(page, "\n## {}\n\n{}\n", section.title, section.introduction);
        if section.file == "command.txt" {
            let _ = writeln!(page, "```text\n{}\n```\n", exit_codes());
        }
        for entry in &section.entries {
            let level = match (section.file, levels.get(&*entry.message)) {
                ("log.txt", Some(Kind::LogError)) => "ERROR ",
                ("log.txt", _) => "WARN ",
                _ => "",
            };
            write_entry(&mut page, level, entry);
        }
    }
    page + &alerts()
}

fn write_entry(page: &mut String, level: &str, Entry { message, cause, remedy }: &Entry) {
    // A code span with backticks in it needs longer delimiters, and a space next to a backtick.
    let code = match message.contains('`') {
        true => format!("`` {message} ``"),
        false => format!("`{message}`"),
    };
    let _ = write!(page, "- {level}{code}\\\n  {cause}");
    if let Some(remedy) = remedy {
        let _ = write!(page, " **Remedy:** {remedy}");
    }
    page.push('\n');
}

/// Returns the exit codes from the help of `event-router`.
fn exit_codes() -> String {
    let code = read("router-cli/src/cli.rs");
    let (_, rest) = code.split_once("Exit codes:\n").expect("the help lists the exit codes");
    let (codes, _) = rest.split_once("\"\n").expect("the exit codes end the help");
    codes.to_owned()
}

/// Returns the section of the alerts, with the first line of each.
fn alerts() -> String {
    let mut section =
        "\n## Alerts\n\nThe alerts of [alerts.yml](observability/alerts.yml) are explained in \
                       [observability/README.md](observability/README.md).\n\n"
            .to_owned();
    let rules = read("docs/observability/alerts.yml");
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap_or_default();
        let (_, rest) = rule.split_once("summary: ").expect("each alert has a summary");
        let summary = rest.lines().next().unwrap_or_default();
        let _ = writeln!(section, "- `{name}`: {}", without_labels(summary.trim_matches('\'')));
    }
    section
}

/// Replaces each `{{ … }}` by `…`.
fn without_labels(summary: &str) -> String {
    let mut parts = summary.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, rest) = part.split_once("}}").expect("a label of an alert is closed");
        let _ = write!(text, "…{rest}");
    }
    text
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
