//! `new`: the files that it writes, and its errors. `.ci/new` builds the crate and runs its tests.

mod files;
mod server;

use std::{fs, path::Path};

use crate::program::{CliOutput, program};

/// Runs `event-router new` in a folder.
fn new(folder: &Path, arguments: &[&str]) -> CliOutput {
    let mut command = program(&[&["new"], arguments].concat());
    command.current_dir(folder).output().expect("the program runs").into()
}

/// Lists the files under a folder, in order, with paths relative to it.
fn files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("the folder is readable") {
            let path = entry.expect("the folder is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).expect("the path is in the folder");
                files.push(relative.to_str().expect("the path is UTF-8").replace('\\', "/"));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn crate_has_its_name_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let output = new(folder.path(), &["fish-bowl"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let root = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
    let root = root.to_str().unwrap();
    insta::assert_snapshot!(output.stdout.replace(root, "REPOSITORY"), @"
    made fish-bowl, a webhook server with an inbox in SQLite. Next:

        cd fish-bowl
        cargo run                                     # the first build takes a few minutes
        event-router send payment_intent.succeeded    # in another terminal

    Its Cargo.toml takes the framework from REPOSITORY. README.md explains how to go live.
    ");
    insta::assert_snapshot!(files(folder.path()).join("\n"), @"
    fish-bowl/.github/workflows/ci.yml
    fish-bowl/.gitignore
    fish-bowl/Cargo.toml
    fish-bowl/Dockerfile
    fish-bowl/README.md
    fish-bowl/fish-bowl.service
    fish-bowl/src/lib.rs
    fish-bowl/src/main.rs
    fish-bowl/src/payments.rs
    fish-bowl/tests/payments.rs
    fish-bowl/tests/registered.rs
    ");
    for file in files(folder.path()) {
        let text = fs::read_to_string(folder.path().join(&file)).unwrap();
        for placeholder in ["my-shop", "my_shop", "{ ROUTER_CORE", "{ ROUTER_INBOX", "# FRAMEWORK"]
        {
            assert!(!text.contains(placeholder), "{placeholder} is in {file}");
        }
    }
    let read = |file: &str| fs::read_to_string(folder.path().join("fish-bowl").join(file)).unwrap();
    assert!(read("src/main.rs").contains(".plugins([fish_bowl::PLUGIN])"));
    let manifest = read("Cargo.toml");
    assert!(manifest.starts_with("[package]\nname = \"fish-bowl\"\n"), "{manifest}");
    let path = format!("\nrouter-core = {{ path = \"{root}/router-core\", features = [\"dev");
    assert!(manifest.contains(&path), "{manifest}");
}

#[test]
fn framework_is_a_folder_or_a_git_repository() {
    let folder = tempfile::tempdir().unwrap();
    let url = "https://git.example/event-router.git";
    let output = new(folder.path(), &["remote", "--framework", url, "--json"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let made = &output.json()[0];
    assert_eq!((&made["name"], &made["framework"]), (&"remote".into(), &url.into()));
    let manifest = fs::read_to_string(folder.path().join("remote/Cargo.toml")).unwrap();
    for line in [
        "# Cargo.lock has the commit, and `cargo update` takes the latest one.",
        &format!("router-inbox = {{ git = \"{url}\" }}"),
        &format!("router-inbox = {{ git = \"{url}\", features = [\"testing\"] }}"),
    ] {
        assert!(manifest.lines().any(|found| found == line), "no {line} in:\n{manifest}");
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = new(folder.path(), &["local", "--framework", root]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let manifest = fs::read_to_string(folder.path().join("local/Cargo.toml")).unwrap();
    let path = fs::canonicalize(root).unwrap();
    let line = format!("router-inbox = {{ path = \"{}/router-inbox\" }}", path.display());
    assert!(manifest.lines().any(|found| found == line), "no {line} in:\n{manifest}");
}

#[test]
fn refused_crate_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("full")).unwrap();
    fs::write(path.join("full/notes.txt"), "mine").unwrap();
    fs::write(path.join("file"), "mine").unwrap();
    let exists = "it exists, and is not an empty folder; choose another name, or move it away";
    for (arguments, error) in [
        (&["1shop"][..], "does not begin with a lowercase letter from `a` to `z`; try `shop`"),
        (&["fn"], "the name `fn` has a meaning in Rust; try `my-fn`"),
        (&["test"], "the name `test` has a meaning in Rust; try `my-test`"),
        (&["shops/new"], "change to the folder first; try `new`"),
        (&["full"], exists),
        (&["file"], exists),
        (&["shop", "--framework", "nowhere"], "--framework: nowhere: No such file or directory"),
    ] {
        let output = new(path, arguments);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.contains(error), "{}", output.stderr);
        assert_eq!(files(path), ["file", "full/notes.txt"], "{arguments:?}");
    }
    fs::create_dir(path.join("empty")).unwrap();
    assert_eq!(new(path, &["empty"]).code, Some(0));
}

#[test]
fn workspace_around_the_crate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    fs::write(root.join("Cargo.toml"), "[workspace]\nmembers = [\"crates/*\"]\n").unwrap();
    fs::create_dir(root.join("crates")).unwrap();
    let output = new(&root.join("crates"), &["shop"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let workspace = format!("{} is a workspace.", root.join("Cargo.toml").display());
    assert!(output.stdout.contains(&workspace), "{output:?}");
    let advice = "add `exclude = [\"crates/shop\"]` to its `[workspace]`";
    assert!(output.stdout.contains(advice), "{output:?}");
}

/// The repository's settings of rustfmt and clippy would apply to the crate.
#[test]
fn repository_of_the_framework_is_refused() {
    let inside = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = new(inside, &["shop"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("this folder is in the framework's repository"), "{output:?}");
    assert!(!inside.join("shop").exists());
}

#[cfg(unix)]
#[test]
fn write_error_leaves_no_file() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    // The folder cannot be replaced: it is a link to one that is empty.
    fs::create_dir(folder.path().join("target")).unwrap();
    symlink("target", folder.path().join("shop")).unwrap();
    let output = new(folder.path(), &["shop"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("/shop: Not a directory"), "{output:?}");
    assert_eq!(files(folder.path()), Vec::<String>::new());
}
