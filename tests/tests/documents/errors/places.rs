//! The rules that decide which string literals are messages for users.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::{Attribute, LitStr};

/// The folders with the code that a user runs or compiles.
pub(crate) const SOURCES: [&str; 8] = [
    "router-catalog/src",
    "router-core/src",
    "router-macros/src",
    "router-inbox/src",
    "router-stripe/src",
    "router-cli/src",
    "handlers/shop/src",
    "handlers/mail/src",
];

/// Modules for tests of this project or of an application, whose texts are read next to the failing
/// test; examples in documentation; and `script`, which reads a file that is part of the program.
const LEFT_OUT_MODULES: [&str; 5] = ["tests", "testing", "conformance", "docs", "script"];

/// Functions and variants that take the text of an error. All texts of a function that uses one of
/// them count, because they are often chosen in a `match` before the call.
const CONSTRUCTORS: [(&str, &str); 12] = [
    ("Error", "new"),
    ("Error", "new_spanned"),
    ("Error", "Usage"),
    ("Error", "Request"),
    ("Error", "Refused"),
    ("Error", "Inbox"),
    ("StoreError", "new"),
    ("StoreError", "misuse"),
    ("StoreError", "unavailable"),
    ("Reason", "new"),
    ("Message", "new"),
    ("Rejection", "permanent"),
];

/// Functions and methods that put the text among their arguments into an error or into a log line.
const FORWARDING: [&str; 3] = ["unusable", "not_an_inbox", "store_failed"];

/// Functions that return a text, or a part of one, which another function shows.
const RETURNING: [&str; 8] = [
    "advice",
    "credentials_advice",
    "explain",
    "mistake",
    "public_message",
    "text",
    "unknown_event_type",
    "with_timeout",
];

/// Files with log lines whose whole text is a value. The rules above must find these texts.
pub(crate) const COMPOSED_LOGS: [&str; 3] = [
    "router-core/src/build/report.rs",
    "router-inbox/src/monitor/unclaimed.rs",
    "router-inbox/src/telemetry.rs",
];

/// Constants with a text that several errors have.
const CONSTANTS: [&str; 6] =
    ["TLS_ADVICE", "NOT_FOUND", "NO_ANSWER", "NO_JETSTREAM", "PERMISSIONS", "TLS_FAILED"];

/// Types that do not implement `Error`, but whose `Display` is shown to users.
const DISPLAYED: [&str; 3] = ["Problem", "Warning", "Error"];

/// Beginnings of literals that complete another text, or that are SQL.
const CONTINUATIONS: [&str; 5] =
    ["did you mean", "for example", "select ", "insert into ", "create table "];

/// Error types of functions all of whose texts count: `Result<_, String>` is used by clap, too.
const ERROR_TYPES: [&str; 3] = ["String", "& 'static str", "Refusal"];

/// Returns whether a module's sources are read, by its name and its attributes.
pub(crate) fn is_read(name: &str, attributes: &[Attribute]) -> bool {
    !LEFT_OUT_MODULES.contains(&name) && !attributes.iter().any(is_test_only)
}

/// Returns whether an attribute is `#[test]`, or a `#[cfg]` that mentions `test`.
pub(crate) fn is_test_only(attribute: &Attribute) -> bool {
    let is_cfg = attribute.path().is_ident("cfg");
    let list = attribute.meta.require_list().ok();
    attribute.path().is_ident("test")
        || is_cfg
            && list.is_some_and(|list| {
                list.tokens.clone().into_iter().any(|token| token.to_string() == "test")
            })
}

/// Returns whether an attribute is a documentation line with the heading `# Panics`.
pub(crate) fn documents_panic(attribute: &Attribute) -> bool {
    let syn::Meta::NameValue(line) = &attribute.meta else { return false };
    let text = quote::ToTokens::to_token_stream(&line.value).to_string();
    attribute.path().is_ident("doc") && text.contains("# Panics")
}

/// Returns whether a path such as `Error::Usage` ends with one of the constructors.
pub(crate) fn is_constructor(path: &syn::Path) -> bool {
    let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    match &names[..] {
        [.., owner, name] => CONSTRUCTORS.contains(&(owner.as_str(), name.as_str())),
        _ => false,
    }
}

/// Returns whether a function or method of this name forwards its text to a user.
pub(crate) fn is_forwarding(name: &str) -> bool {
    FORWARDING.contains(&name)
}

/// Returns whether a constant has a text for users.
pub(crate) fn is_constant_text(name: &str) -> bool {
    CONSTANTS.contains(&name)
}

/// Returns whether all texts of a function count, by its signature.
pub(crate) fn has_only_texts(signature: &syn::Signature) -> bool {
    let syn::ReturnType::Type(_, ty) = &signature.output else { return false };
    let ty = quote::ToTokens::to_token_stream(ty).to_string();
    let is_error = ERROR_TYPES.iter().any(|error| {
        ty.starts_with("Result <")
            && ty.trim_end_matches([' ', '>']).ends_with(&format!(", {error}"))
    });
    is_error
        || RETURNING.contains(&signature.ident.to_string().as_str())
        || ["DeliveryOutcome", "StoreError", "Error"].contains(&ty.as_str())
}

/// Returns whether a type's `Display` is shown to users, by the code of its file.
pub(crate) fn is_displayed(name: &str, errors: &[String]) -> bool {
    DISPLAYED.contains(&name) || errors.iter().any(|error| error == name)
}

/// Returns whether a literal inside the code of an error begins a text for users. A text has at
/// least three words. A literal that begins with punctuation continues another one.
pub(crate) fn begins_text(text: &str) -> bool {
    let start = text.trim_start_matches(['`', '"', ')', '\'']);
    let continues =
        text.starts_with(['\n', ' ', '"']) || start.starts_with([';', ':', ',', '.', ')', '?']);
    let words = text.split_whitespace().count();
    let continues = continues || CONTINUATIONS.iter().any(|start| text.starts_with(start));
    let is_part = start.starts_with(' ') || text.matches('`').count() % 2 == 1;
    !continues && words >= if is_part { 4 } else { 3 }
}

/// Returns the first line of a format string, with `…` for each value. The other lines, such as
/// `help: …`, complete a message that is found by its first line.
pub(crate) fn template(format: &str) -> String {
    let mut text = String::new();
    let mut chars = format.lines().next().unwrap_or_default().chars().peekable();
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            ('{', Some('{')) | ('}', Some('}')) => {
                text.push(char);
                chars.next();
            }
            ('{', _) => {
                chars.by_ref().find(|&char| char == '}');
                text.push('…');
            }
            _ => text.push(char),
        }
    }
    let mut text = text.replace("…warning:… ", "").trim().to_owned();
    // The name in front of the text or behind it is another literal.
    if text.starts_with("` ") {
        text.insert_str(0, "`…");
    }
    for quote in ['`', '"'] {
        if text.ends_with(quote) && text.matches(quote).count() % 2 == 1 {
            text.extend(['…', quote]);
        }
    }
    text
}

/// Returns whether a template has words of its own. One without, such as `{subject}: {error}`, only
/// joins texts that are collected where they are written.
pub(crate) fn has_words(template: &str) -> bool {
    let is_word = |word: &&str| word.contains(char::is_alphabetic) && !word.starts_with('(');
    template.split_whitespace().filter(is_word).count() >= 2
}

/// Returns the message among the arguments of a macro such as `warn!` or `assert!`: the first
/// argument that is only a string literal.
pub(crate) fn log_message(arguments: TokenStream) -> Option<LitStr> {
    let tokens: Vec<_> = arguments.into_iter().collect();
    let arguments =
        tokens.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','));
    arguments.into_iter().find_map(|argument| match argument {
        [TokenTree::Literal(literal)] => string(literal),
        _ => None,
    })
}

/// Returns the string literals in tokens, except those of `.expect("…")`, of logs and of `quote!`.
pub(crate) fn strings(tokens: TokenStream) -> Vec<LitStr> {
    let mut found = Vec::new();
    let mut skip = false;
    for token in tokens {
        match &token {
            TokenTree::Group(group) if !skip => found.extend(strings(group.stream())),
            TokenTree::Literal(literal) => found.extend(string(literal)),
            _ => {}
        }
        skip = match token {
            TokenTree::Ident(ident) => is_left_out(&ident.to_string()),
            TokenTree::Punct(punct) => skip && punct.as_char() == '!',
            _ => false,
        };
    }
    found
}

/// Returns whether the arguments of this macro or method are no texts of an error.
pub(crate) fn is_left_out(name: &str) -> bool {
    let output = ["line", "json", "writeln", "println", "styled", "within_limit"];
    let code = ["quote", "quote_spanned", "debug", "info", "trace", "warn", "error"];
    let names = ["catch", "catch_panic", "Self"];
    names.contains(&name)
        || name.starts_with("expect")
        || name.contains("assert")
        || ["unreachable", "split_once", "join", "contains", "starts_with"].contains(&name)
        || output.contains(&name)
        || code.contains(&name)
}

/// Returns the messages of logs in the tokens of a macro such as `select!`, with their levels.
pub(crate) fn nested_logs(tokens: TokenStream) -> Vec<(String, LitStr)> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut found = Vec::new();
    for window in tokens.windows(3) {
        if let [TokenTree::Ident(level), TokenTree::Punct(_), TokenTree::Group(arguments)] = window
            && ["warn", "error"].contains(&level.to_string().as_str())
            && arguments.delimiter() == Delimiter::Parenthesis
            && let Some(message) = log_message(arguments.stream())
        {
            found.push((level.to_string(), message));
        }
    }
    let groups = tokens.iter().filter_map(|token| match token {
        TokenTree::Group(group) => Some(group),
        _ => None,
    });
    found.extend(groups.map(Group::stream).flat_map(nested_logs));
    found
}

fn string(literal: &proc_macro2::Literal) -> Option<LitStr> {
    match syn::Lit::new(literal.clone()) {
        syn::Lit::Str(string) => Some(string),
        _ => None,
    }
}
