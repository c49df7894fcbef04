//! Detection of two versions of router-core in one program. Each version has its own registry, so a
//! router does not find the handlers of the other version.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const TESTS: &str = env!("CARGO_MANIFEST_DIR");
const WORKSPACE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/two-cores");

/// A single test, because its builds share a target folder.
#[test]
fn plugin_of_other_router_core_version_is_reported() {
    let (repository, folder) = (Path::new(TESTS).join(".."), Path::new(WORKSPACE));
    copy(&Path::new(TESTS).join("fixtures/two-cores"), folder);
    // The workspace's locked versions are already downloaded, so the offline builds can use them.
    fs::copy(repository.join("Cargo.lock"), folder.join("Cargo.lock"))
        .expect("the workspace has a lock file");
    let app = folder.join("app/Cargo.toml");
    let app_manifest = fs::read_to_string(&app).expect("the fixture was copied");
    let core = repository.join("router-core").display().to_string();
    fs::write(app, app_manifest.replace("ROUTER_CORE", &core))
        .expect("the target folder is writable");
    // The other version is a fresh copy of this one with a lower version number.
    drop(fs::remove_dir_all(folder.join("old")));
    for package in ["router-catalog", "router-macros", "router-core"] {
        copy(&repository.join(package), &folder.join("old").join(package));
    }
    let manifest =
        fs::read_to_string(repository.join("Cargo.toml")).expect("the workspace has a manifest");
    let (_, rest) =
        manifest.split_once("[workspace.package]").expect("the manifest has package defaults");
    let old_rest = rest.replacen(r#"version = "0.1.0""#, r#"version = "0.0.9""#, 1);
    let old = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"router-*\"]\n\n[workspace.package]{old_rest}"
    );
    fs::write(folder.join("old/Cargo.toml"), old).expect("the target folder is writable");

    // The compiler rejects a program that lists the plugin.
    let listed = cargo(&["check", "--bin", "lists"]);
    let errors = String::from_utf8_lossy(&listed.stderr);
    assert!(!listed.status.success(), "the program compiled");
    let versions = "there are multiple different versions of crate `router_core`";
    assert!(errors.contains(versions), "{errors}");

    // In a program that only mentions the plugin, `build` fails if it requires the plugin's event.
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
        .current_dir(WORKSPACE)
        .env("CARGO_TARGET_DIR", Path::new(WORKSPACE).join("target"))
        .output()
        .expect("cargo can be started")
}

/// Copies a folder recursively and overwrites existing files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the target folder is writable");
    for entry in fs::read_dir(from).expect("the source folder exists") {
        let entry = entry.expect("the source folder is readable");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("the file can be copied");
        }
    }
}
