//! Holds a crate's source against the registry: a file that no `mod` names, or a `cfg` that is off,
//! takes handlers out of a program, and the compiler has nothing to say.

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

/// Panics if a handler stands in the source of this crate and is not registered, with the file and
/// line of each. A crate that has handlers calls it in a test of its own, with its `PLUGIN`:
///
/// ```no_run
/// # mod my_plugin { router_core::plugin!(); }
/// #[test]
/// fn every_handler_is_registered() {
///     router_core::assert_all_registered!(my_plugin::PLUGIN);
/// }
/// ```
///
/// It reads the files under `src` as text, except binaries (`src/bin`, and `src/main.rs` beside a
/// `src/lib.rs`), and looks for lines that begin with `#[on_event`, `#[on_unhandled`, either under
/// another path, or a `#[cfg_attr` that holds one. It cannot see through a `use … as`, and passes over
/// the handlers that a `macro_rules!` makes.
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
    assert_eq!(name, package, "the source that can be read here is that of `{package}`");
    let registered: Vec<&Registration> =
        registry::linked().filter(|registration| registration.package == name).collect();
    let handlers = match handlers(Path::new(folder)) {
        Ok(handlers) => handlers,
        Err(error) => panic!("the source of `{name}` cannot be read: {error}"),
    };
    assert!(!handlers.is_empty(), "no handler stands in the source of `{name}`");
    let lost = handlers.iter().filter(|(file, line)| {
        !registered.iter().any(|one| one.line == *line && Path::new(one.file).ends_with(file))
    });
    let mut message = String::new();
    for (file, line) in lost {
        let _ = write!(message, "\n  {}:{line}", file.display());
    }
    assert!(
        message.is_empty(),
        "these handlers stand in the source of `{name}` and are not registered, so they would never \
         be called:{message}\nhelp: check that each file is in a `mod`, and that no `#[cfg]` over it \
         is off in this test"
    );
}

/// Each handler in the source of a crate: its file, relative to the crate's folder, and its line.
fn handlers(folder: &Path) -> io::Result<BTreeSet<(PathBuf, u32)>> {
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

/// Whether an attribute begins on this line that registers the function under it.
fn is_handler(line: &str) -> bool {
    let Some(attribute) = line.trim_start().strip_prefix("#[") else { return false };
    let attribute = attribute.trim_start_matches("::");
    let end = attribute.find(|c: char| !c.is_alphanumeric() && !"_:".contains(c));
    let (path, rest) = attribute.split_at(end.unwrap_or(attribute.len()));
    let is_one = |path: &str| matches!(path.rsplit("::").next(), Some("on_event" | "on_unhandled"));
    let holds_one = || rest.split([',', ' ', '(']).any(is_one);
    // A `$` is a macro's: the handlers that it makes stand where it is called.
    (is_one(path) || path == "cfg_attr" && holds_one()) && !line.contains('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_known_by_its_path() {
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
