//! Two versions of router-core in one program are two registries: a handler of the one is not in a
//! router of the other. How that is noticed.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const TESTS: &str = env!("CARGO_MANIFEST_DIR");
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/two-cores");

/// One test: its builds share a folder.
#[test]
fn a_plugin_of_another_router_core_is_noticed() {
    let (here, folder) = (Path::new(TESTS).join(".."), Path::new(FOLDER));
    copy(&Path::new(TESTS).join("fixtures/two-cores"), folder);
    // The versions that are here already, so that no registry is asked.
    fs::copy(here.join("Cargo.lock"), folder.join("Cargo.lock")).expect("there is a lock file");
    let app = folder.join("app/Cargo.toml");
    let manifest = fs::read_to_string(&app).expect("it is there");
    let core = here.join("router-core").display().to_string();
    fs::write(app, manifest.replace("ROUTER_CORE", &core)).expect("it can be written");
    // Another version of it: this one, under another number, without what an earlier run has left.
    drop(fs::remove_dir_all(folder.join("old")));
    for package in ["router-catalog", "router-macros", "router-core"] {
        copy(&here.join(package), &folder.join("old").join(package));
    }
    let workspace = fs::read_to_string(here.join("Cargo.toml")).expect("it is there");
    let (_, rest) = workspace.split_once("[workspace.package]").expect("it is a workspace");
    let rest = rest.replacen(r#"version = "0.1.0""#, r#"version = "0.0.9""#, 1);
    let old = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"router-*\"]\n\n[workspace.package]{rest}"
    );
    fs::write(folder.join("old/Cargo.toml"), old).expect("it can be written");

    // Who lists its plugins is told by the compiler.
    let listed = cargo(&["check", "--bin", "lists"]);
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(!listed.status.success(), "it compiled");
    let versions = "there are multiple different versions of crate `router_core`";
    assert!(said.contains(versions), "{said}");

    // Who only mentions it is told by `build()`.
    for profile in [&[][..], &["--release"]] {
        let mut command = vec!["run", "--bin", "mentions"];
        command.extend(profile);
        let mentioned = cargo(&command);
        assert!(mentioned.status.success(), "{mentioned:?}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(String::from_utf8_lossy(&mentioned.stdout), @r#"
            EVENT TYPE    HANDLER         SOURCE
            invoice.paid  mentions::paid  app/src/bin/mentions.rs:4

            the router cannot be built: 1 problem
              1. `charge.failed` is required, but no handler is registered for it (a handler for `*` does not count)
                 help: annotate a function with `#[on_event("charge.failed")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`; handlers built with another version of router_core are not found (`cargo tree --duplicates` shows duplicate versions)
            "#);
        }
    }
}

fn cargo(command: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .args(command)
        .args(["--quiet", "--offline"])
        .current_dir(FOLDER)
        .env("CARGO_TARGET_DIR", Path::new(FOLDER).join("target"))
        .output()
        .expect("cargo runs")
}

/// Copies a folder, over what is there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it can be made");
    for entry in fs::read_dir(from).expect("it is there") {
        let entry = entry.expect("it can be read");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("it can be copied");
        }
    }
}
