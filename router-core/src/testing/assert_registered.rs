//! `assert_all_registered!`, which compares a crate's source with the registry. A file without a
//! `mod` declaration, or an inactive `cfg`, removes handlers from a program without a compiler
//! error.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use crate::build::{
    Plugin,
    registry::{self, Registration},
};

/// Panics if a handler is defined in the source of this crate but not registered. The message lists
/// the file and line of each.
///
/// A crate that has handlers calls it in a test of its own, with its `PLUGIN`:
///
/// ```no_run
/// # mod my_plugin { router_core::plugin!(); }
/// #[test]
/// fn every_handler_is_registered() {
///     router_core::assert_all_registered!(my_plugin::PLUGIN);
/// }
/// ```
///
/// It reads the files under `src` as text, except binaries (`src/bin`, and `src/main.rs` if there
/// is a `src/lib.rs`). It looks for lines that begin with `#[on_event` or `#[on_unhandled`, also
/// with a path before the name, or with a `#[cfg_attr` that contains one of them. It does not find
/// handlers whose attribute was renamed by `use … as`, and skips those in a `macro_rules!`.
#[macro_export]
macro_rules! assert_all_registered {
    ($plugin:expr) => {
        $crate::testing::__assert_all_registered(
            $plugin,
            ::core::env!("CARGO_PKG_NAME"),
            ::core::env!("CARGO_MANIFEST_DIR"),
        )
    };
}

#[doc(hidden)]
#[track_caller]
pub fn __assert_all_registered(plugin: Plugin, package: &str, folder: &str) {
    let name = plugin.package();
    assert_eq!(
        name, package,
        "this test belongs to `{package}`, so it can read only the source of that crate"
    );
    let registered: Vec<&Registration> =
        registry::linked().filter(|registration| registration.package == name).collect();
    let handlers = match find_handlers(Path::new(folder)) {
        Ok(handlers) => handlers,
        Err(error) => panic!("failed to read the source of `{name}`: {error}"),
    };
    assert!(!handlers.is_empty(), "no handler is defined in the source of `{name}`");
    let unregistered = handlers.iter().filter(|(file, line)| {
        !registered.iter().any(|registration| {
            registration.line == *line && Path::new(registration.file).ends_with(file)
        })
    });
    let mut message = String::new();
    for (file, line) in unregistered {
        let _ = write!(message, "\n  {}:{line}", file.display());
    }
    assert!(
        message.is_empty(),
        "these handlers are defined in the source of `{name}` but not registered, so they would \
         never be called:{message}\nhelp: check that each file has a `mod` declaration, and that no \
         `#[cfg]` removes the handler in this test"
    );
}

/// Finds the handlers in the source of a crate: the file of each, relative to the crate's folder,
/// and its line.
fn find_handlers(folder: &Path) -> io::Result<BTreeSet<(PathBuf, u32)>> {
    let mut handlers = BTreeSet::new();
    let is_library = folder.join("src/lib.rs").exists();
    let mut files = vec![folder.join("src")];
    while let Some(file) = files.pop() {
        let relative = file.strip_prefix(folder).unwrap_or(&file);
        if is_library && (relative == Path::new("src/bin") || relative == Path::new("src/main.rs"))
        {
            continue;
        }
        if file.is_dir() {
            for entry in fs::read_dir(&file)? {
                files.push(entry?.path());
            }
        } else if file.extension().is_some_and(|extension| extension == "rs") {
            let lines = fs::read_to_string(&file)?;
            let lines = lines.lines().zip(1..).filter(|(line, _)| is_handler(line));
            handlers.extend(lines.map(|(_, number)| (relative.to_owned(), number)));
        }
    }
    Ok(handlers)
}

/// Returns whether an attribute that registers the function below it begins on this line.
fn is_handler(line: &str) -> bool {
    let Some(attribute) = line.trim_start().strip_prefix("#[") else { return false };
    let attribute = attribute.trim_start_matches("::");
    let end = attribute.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
    let (path, rest) = attribute.split_at(end.unwrap_or(attribute.len()));
    let registers =
        |path: &str| matches!(path.rsplit("::").next(), Some("on_event" | "on_unhandled"));
    let cfg_attr_registers = || rest.split([',', ' ', '(']).any(registers);
    // A line with `$` belongs to a macro definition; its handlers have the line of the macro call.
    (registers(path) || path == "cfg_attr" && cfg_attr_registers()) && !line.contains('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_is_recognized_by_its_path() {
        for line in [
            r#"#[on_event("invoice.paid")]"#,
            "    #[on_event(",
            "#[::router_core::on_event(event_type::invoice::PAID)]",
            "#[router_core::on_unhandled]",
            r#"#[cfg_attr(feature = "refunds", on_event("charge.refunded"))]"#,
            r#"#[cfg_attr(all(), router_core::on_event("charge.refunded"))]"#,
        ] {
            assert!(is_handler(line), "{line}");
        }
        for line in [
            r#"/// #[on_event("invoice.paid")]"#,
            r#"// #[on_event("invoice.paid")]"#,
            "use router_core::on_event;",
            "#[on_events]",
            "#[not_on_event]",
            "#[on_event($($event_type),+)]",
            r#"#[cfg_attr(feature = "on_event", deprecated)]"#,
        ] {
            assert!(!is_handler(line), "{line}");
        }
    }
}
