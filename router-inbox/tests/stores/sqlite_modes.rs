//! Only the owner can read the files of a SQLite inbox, whatever the process's umask.

#![cfg(unix)]

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use router_core::testing::SyntheticEvent;
use router_inbox::{
    SqliteStore, Store as _,
    store::{NewDelivery, NewEvent},
};

/// Names the folder in which a child process opens its inboxes.
const FOLDER: &str = "ROUTER_TEST_FOLDER";

/// Runs a test of this program in a child process with this umask and working directory.
///
/// Both belong to the process, so a test that changes them would change them for all tests.
fn in_child(test: &str, umask: &str, folder: &Path) {
    let mut child = Command::new("sh");
    child.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
    child.arg(env::current_exe().expect("this program has a path"));
    let test = format!("sqlite_modes::{test}");
    child.args(["--exact", &test, "--nocapture"]).env(FOLDER, folder).current_dir(folder);
    let output = child.output().expect("sh is installed");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

fn paid() -> NewEvent {
    let event = SyntheticEvent::new("invoice.paid").build().expect("the type is in the catalog");
    let delivery = NewDelivery::new("a");
    NewEvent::new(event.event().clone(), vec![delivery])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("file exists").permissions().mode() & 0o777
}

#[tokio::test]
async fn files_are_private_under_any_umask() {
    let names = ["inbox.db", "target.db"];
    if let Some(folder) = env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        symlink(folder.join("target.db"), folder.join("link.db")).unwrap();
        let mut stores = Vec::new();
        for name in ["inbox.db", "link.db"] {
            let url = format!("sqlite:{}", folder.join(name).display());
            let store = SqliteStore::open(&url).await.unwrap();
            store.store(&[paid()]).await.unwrap();
            stores.push(store);
        }
        for name in names {
            for suffix in ["", "-wal", "-shm"] {
                let path = folder.join(format!("{name}{suffix}"));
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
        return;
    }
    for umask in ["000", "022", "077"] {
        let folder = tempfile::tempdir().unwrap();
        in_child("files_are_private_under_any_umask", umask, folder.path());
    }
}

#[tokio::test]
async fn opening_does_not_change_mode_of_an_existing_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inbox.db");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let store = SqliteStore::open(&format!("sqlite:{}", path.display())).await.unwrap();
    store.store(&[paid()]).await.unwrap();
    assert_eq!(mode(&path), 0o640);
}

/// A relative path names the same file after the working directory has changed.
#[tokio::test]
async fn relative_path_names_same_file_after_chdir() {
    if let Some(folder) = env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        let store = SqliteStore::open("sqlite:inbox.db").await.unwrap();
        env::set_current_dir("/").unwrap();
        // The pools connect now.
        store.store(&[paid()]).await.unwrap();
        assert!(folder.join("inbox.db").exists());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    in_child("relative_path_names_same_file_after_chdir", "022", folder.path());
}
