//! The files beside the code: the manifest, the unit of systemd and the Dockerfile.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use super::new;

/// Makes the crate in a new folder.
fn make() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let output = new(folder.path(), &["my-shop"]);
    assert_eq!(output.code, Some(0), "{output:?}");
    folder
}

/// Reads the dependencies of a manifest: the section, the name and the features of each.
fn dependencies(manifest: &str) -> BTreeMap<(String, String), Vec<String>> {
    let mut section = String::new();
    let mut dependencies = BTreeMap::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        } else if section.contains("dependencies")
            && !line.starts_with('#')
            && let Some((name, value)) = line.split_once(" = ")
        {
            let features = value.split_once("features = [").map_or("", |(_, features)| features);
            let features = features.split(']').next().unwrap_or_default();
            let features = features.split(", ").filter(|name| !name.is_empty());
            let name = name.trim_end_matches(".workspace").to_owned();
            let features = features.map(|name| name.trim_matches('"').to_owned()).collect();
            dependencies.insert((section.clone(), name), features);
        }
    }
    dependencies
}

/// The member of the workspace checks the template only if it has the dependencies of the new
/// crate.
#[test]
fn workspace_member_has_the_dependencies_of_the_template() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &Path| fs::read_to_string(file).expect("the manifest is readable");
    let (folder, mut member) =
        (make(), dependencies(&read(&root.join("tests/new-crate/Cargo.toml"))));
    let workspace = dependencies(&read(&root.join("Cargo.toml")));
    // Features come from the workspace, too.
    for ((_, name), features) in &mut member {
        let common = workspace.get(&("[workspace.dependencies]".to_owned(), name.clone()));
        features.extend(common.expect("the workspace has the dependency").iter().cloned());
        features.sort();
    }
    let template = dependencies(&read(&folder.path().join("my-shop/Cargo.toml")));
    assert_eq!(template.len(), member.len());
    for (dependency, features) in template {
        let common = &member[&dependency];
        for feature in features {
            assert!(
                common.contains(&feature),
                "{dependency:?} has no {feature} in tests/new-crate"
            );
        }
    }
}

#[test]
fn systemd_accepts_the_unit() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    }
    let folder = make();
    let path = folder.path().join("my-shop/my-shop.service");
    let unit = fs::read_to_string(&path).unwrap();
    // The program is not installed on this machine.
    let unit = unit.replace("/usr/local/bin/my-shop", "/bin/sh");
    assert!(unit.contains("ExecStart=/bin/sh\n"), "{unit}");
    fs::write(&path, &unit).unwrap();
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.is_empty(), "{text}");
}

/// Otherwise the process is killed while its handlers are running.
#[test]
fn service_managers_wait_longer_than_a_shutdown_takes() {
    let folder = make();
    let read = |file: &str| fs::read_to_string(folder.path().join("my-shop").join(file)).unwrap();
    let number_after = |text: &str, name: &str| -> u64 {
        let (_, rest) = text.split_once(name).expect("the setting is there");
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("the setting is a number")
    };
    let grace = number_after(&read("src/main.rs"), "const GRACE: Duration = Duration::from_secs(");
    // The worker records the end of the deliveries for up to 5 s more.
    let shutdown = grace + 5;
    assert!(number_after(&read("my-shop.service"), "\nTimeoutStopSec=") > shutdown);
    assert!(number_after(&read("README.md"), "--stop-timeout=") > shutdown);
}
