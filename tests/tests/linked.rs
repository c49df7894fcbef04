//! Registration of handlers from linked crates, and detection of handlers that are not linked. The
//! programs are built in debug, and with the feature `long` also in release with fat LTO, which
//! removes unused code.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/linked");

/// A single test, because its builds share a target folder and would wait for each other's lock.
#[test]
fn linked_handlers_are_found_and_lost_ones_reported() {
    // The workspace's locked versions are already downloaded, so the offline builds can use them.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    fs::copy(lock, Path::new(FIXTURE).join("Cargo.lock")).expect("the workspace has a lock file");

    let profiles = [&[][..], &["--release"]];
    for profile in &profiles[..if cfg!(feature = "long") { 2 } else { 1 }] {
        // Routes, run order of an event's handlers, and messages are the same in both profiles.
        insta::allow_duplicates! {
            insta::assert_snapshot!(run("mentions", profile), @r"
            EVENT TYPE                HANDLER                          SOURCE
            *                         plugin::audit                    plugin/src/lib.rs:12
            charge.refunded           plugin::orders::refunds::refund  plugin/src/orders/refunds.rs:3
            invoice.*                 plugin::receipts::note           plugin/src/receipts.rs:8
            invoice.paid              a.first.by.its.name              plugin/src/receipts.rs:3
            invoice.paid              deep::archive                    deep/src/lib.rs:7
            invoice.paid              plugin::orders::fulfil           plugin/src/orders/mod.rs:5
            invoice.paid              plugin::orders::refunds::hidden  plugin/src/orders/refunds.rs:11
            payment_intent.succeeded  plugin::orders::fulfil           plugin/src/orders/mod.rs:5

            send
            archive
            audit
            fulfil
            hidden
            note
            200 OK

            without `deep::PLUGIN`:
            the router cannot be built: 1 problem
              1. crate `deep` 3.0.0 has handlers but is not listed in `.plugins([...])`
                   deep/src/lib.rs:7  `deep::archive`  on invoice.paid
                 help: add `deep::PLUGIN` to `.plugins([...])`; `router_core::plugin!();` in the crate's lib.rs defines it (in the application's own crate it is `PLUGIN`)
            ");
            // The plugin is listed in Cargo.toml, but no code mentions it.
            insta::assert_snapshot!(run("forgets", profile), @r#"
            the router cannot be built: 1 problem
              1. no handler is registered
                 note: a crate that is only listed in Cargo.toml is not linked, so its handlers are not registered
                 help: mention each crate that has handlers: `.plugins([my_plugin::PLUGIN])`, or `use my_plugin as _;`
            the router cannot be built: 1 problem
              1. `invoice.paid` is required, but no handler is registered for it (a handler for `*` does not count)
                 help: annotate a function with `#[on_event("invoice.paid")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`
            "#);
            // One file has two `mod` declarations, one has none, and one is disabled by a `cfg`.
            insta::assert_snapshot!(run("lossy", profile), @r#"
            the router cannot be built: 3 problems
              1. this function is registered more than once, so it would run more than once per event
                   lossy/src/kept.rs:3  `lossy::kept::kept`  on invoice.paid
                   lossy/src/kept.rs:3  `lossy::kept::kept`  on invoice.paid
                 help: two `mod` declarations include its file, perhaps one in lib.rs and one in main.rs; remove one
              2. `charge.failed` is required, but no handler is registered for it (a handler for `*` does not count)
                 help: annotate a function with `#[on_event("charge.failed")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`
              3. `charge.refunded` is required, but no handler is registered for it (a handler for `*` does not count)
                 help: annotate a function with `#[on_event("charge.refunded")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`
            "#);
            insta::assert_snapshot!(unregistered(profile), @r"
             are defined in the source of `lossy` but not registered, so they would never be called:
              src/orphan.rs:3
              src/refunds.rs:3
            help: check that each file has a `mod` declaration, and that no `#[cfg]` removes the handler in this test
            ");
        }
        let deep = cargo(&["test", "--package", "deep", "--test", "registered"], profile);
        assert!(deep.status.success(), "a handler of `deep` is not registered: {deep:?}");
    }
}

/// Runs a program of the fixture and returns its standard output.
fn run(program: &str, profile: &[&str]) -> String {
    let output = cargo(&["run", "--bin", program], profile);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {profile:?}:\n{stderr}");
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

/// Returns the failure message of `assert_all_registered!` in the crate `lossy`, from the words
/// `these handlers` on.
fn unregistered(profile: &[&str]) -> String {
    let output = cargo(&["test", "--package", "lossy", "--test", "registered"], profile);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "the test passed:\n{stdout}");
    let (_, message) = stdout.split_once("these handlers").expect("stdout has the message");
    let (handlers, _) = message.split_once("\nnote:").expect("the backtrace note follows");
    handlers.to_owned()
}

fn cargo(command: &[&str], profile: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .args(command)
        .args(["--quiet", "--offline"])
        .args(profile)
        .current_dir(FIXTURE)
        .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/linked"))
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("cargo can be started")
}
