//! Counts the lines of the shops, for the table in README.md.

use std::{fs, path::Path};

/// The shops: by hand, with its rules and the router, and `handlers/`.
const SHOPS: usize = 3;

/// A row of the table: a name, and the files of each shop. A folder means its files.
type Row = (&'static str, [&'static [&'static str]; SHOPS]);

const SHOP: &str = "../../handlers/shop";
const MAIL: &str = "../../handlers/mail";

const HANDLERS: [Row; 5] = [
    (
        "orders and refunds",
        [&["src/orders.rs"], &["same-rules/src/orders.rs"], &["{shop}/src/orders.rs"]],
    ),
    (
        "subscriptions",
        [
            &["src/subscriptions.rs"],
            &["same-rules/src/subscriptions.rs"],
            &["{shop}/src/subscriptions.rs"],
        ],
    ),
    (
        "disputes",
        [&["src/disputes.rs"], &["same-rules/src/disputes.rs"], &["{shop}/src/disputes.rs"]],
    ),
    ("mirror", [&["src/mirror.rs"], &["same-rules/src/mirror.rs"], &["{shop}/src/mirror.rs"]]),
    (
        "receipts",
        [&["src/receipts.rs"], &["same-rules/src/receipts.rs"], &["{mail}/src/receipts.rs"]],
    ),
];

const REST: [Row; 5] = [
    (
        "server, verification, dispatch",
        [
            &["src/lib.rs", "src/main.rs", "src/webhook.rs"],
            &["same-rules/src/lib.rs", "same-rules/src/main.rs"],
            &["{shop}/src/lib.rs", "{mail}/src/lib.rs", "with-router/src/main.rs"],
        ],
    ),
    (
        "mail by SMTP, once",
        [
            &["src/mail.rs"],
            &["src/mail.rs"],
            &["{mail}/src/mailer.rs", "{mail}/src/outbox.rs", "{mail}/src/smtp.rs"],
        ],
    ),
    ("two databases", [&[], &[], &["{shop}/src/database.rs"]]),
    ("objects fetched from Stripe", [&[], &[], &["{shop}/src/current.rs"]]),
    ("SQL of the tables", [&["migrations"], &["migrations"], &["{shop}/migrations"]]),
];

#[test]
fn table_of_lines_is_current() {
    let mut table = String::new();
    let mut total = [0; SHOPS];
    for (name, files) in &HANDLERS {
        let lines = files.map(count);
        total = std::array::from_fn(|shop| total[shop] + lines[shop]);
        push_row(&mut table, name, lines);
    }
    push_row(&mut table, "**handlers**", total);
    push_row(&mut table, "of these, structs of an object's fields", structs());
    for (name, files) in &REST {
        push_row(&mut table, name, files.map(count));
    }
    let readme = read("README.md");
    assert!(readme.contains(&table), "README.md must have these rows:\n{table}");
}

fn push_row(table: &mut String, name: &str, lines: [usize; SHOPS]) {
    let [by_hand, same_rules, handlers] = lines;
    *table += &format!("| {name} | {by_hand} | {same_rules} | {handlers} |\n");
}

/// Returns the number of lines of the files, without blank lines, lines that are only a comment,
/// and unit tests.
fn count(paths: &[&str]) -> usize {
    paths.iter().map(|path| code(path).len()).sum()
}

/// Returns the number of lines of the structs that are decoded from JSON.
fn structs() -> [usize; SHOPS] {
    let in_file = |path: &&str| {
        let code = code(path);
        let is_begin =
            |line: &&String| line.starts_with("#[derive(") && line.contains("Deserialize");
        let length = |begin: usize| code[begin..].iter().position(|line| line == "}").unwrap() + 1;
        let begins = code.iter().enumerate().filter(|(_, line)| is_begin(line));
        begins.map(|(begin, _)| length(begin)).sum::<usize>()
    };
    std::array::from_fn(|shop| {
        HANDLERS.iter().flat_map(|(_, files)| files[shop]).map(in_file).sum()
    })
}

/// Returns the lines that count, trimmed.
fn code(path: &str) -> Vec<String> {
    let path = path.replace("{shop}", SHOP).replace("{mail}", MAIL);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
    if folder.is_dir() {
        let files = fs::read_dir(folder).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        return names.flat_map(|name| code(&format!("{path}/{name}"))).collect();
    }
    let text = read(&path);
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let is_comment = |line: &str| line.starts_with("//") || line.starts_with("--");
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !is_comment(line)).map(String::from).collect()
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
