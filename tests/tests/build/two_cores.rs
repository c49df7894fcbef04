//! Refusal of two versions of router-core in one workspace. Each version would have its own registry,
//! so a router would not find the handlers of the other version.

use std::{fs, path::Path, process::Command};

const TESTS: &str = env!("CARGO_MANIFEST_DIR");
const WORKSPACE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/two-cores");

#[test]
fn cargo_refuses_two_versions_of_router_core() {
    let (repository, folder) = (Path::new(TESTS).join(".."), Path::new(WORKSPACE));
    copy(&Path::new(TESTS).join("fixtures/two-cores"), folder);
    // The workspace's locked versions are already downloaded, so cargo can resolve them offline.
    fs::copy(repository.join("Cargo.lock"), folder.join("Cargo.lock"))
        .expect("the workspace has a lock file");
    let app = folder.join("app/Cargo.toml");
    let app_manifest = fs::read_to_string(&app).expect("the fixture was copied");
    let core = repository.join("router-core").display().to_string();
    fs::write(app, app_manifest.replace("ROUTER_CORE", &core))
        .expect("the target folder is writable");
    // The other version is a fresh copy of this one with a lower, incompatible version number.
    drop(fs::remove_dir_all(folder.join("old")));
    for package in ["router-catalog", "router-macros", "router-core"] {
        copy(&repository.join(package), &folder.join("old").join(package));
    }
    let manifest =
        fs::read_to_string(repository.join("Cargo.toml")).expect("the workspace has a manifest");
    let (_, rest) =
        manifest.split_once("[workspace.package]").expect("the manifest has package defaults");
    let old_rest = rest.replacen("version = \"", "version = \"0.0.9-", 1);
    let old = format!(
        "[workspace]\nresolver = \"3\"\nmembers = [\"router-*\"]\n\n[workspace.package]{old_rest}"
    );
    fs::write(folder.join("old/Cargo.toml"), old).expect("the target folder is writable");

    let resolved = Command::new(env!("CARGO"))
        .args(["tree", "--offline"])
        .current_dir(WORKSPACE)
        .output()
        .expect("cargo can be started");
    let errors = String::from_utf8_lossy(&resolved.stderr);
    assert!(!resolved.status.success(), "cargo accepted two versions");
    for part in [
        "links to the native library `router-core`, but it conflicts",
        "required by package `outdated v2.0.0",
    ] {
        assert!(errors.contains(part), "`{part}` is not in:\n{errors}");
    }
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
