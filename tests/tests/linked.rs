//! The handlers of crates that an application links, and the ways to lose one: built anew in debug,
//! and in release with fat LTO, which drops whatever nobody calls.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/linked");

/// One test: its builds share a folder, and would wait for each other.
#[test]
fn every_linked_handler_is_found_and_a_lost_one_is_caught() {
    // The versions that are here already, so that no registry is asked.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    fs::copy(lock, Path::new(FIXTURE).join("Cargo.lock")).expect("there is a lock file");

    for profile in [&[][..], &["--release"]] {
        // The table, the order in which an event's handlers run, and the messages: the same in both.
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

            with one plugin missing:
            the router cannot be built: 1 problem
              1. crate `deep` 3.0.0 has handlers but is not listed in `.plugins([...])`
                   deep/src/lib.rs:7  `deep::archive`  on invoice.paid
                 help: add `deep::PLUGIN` to `.plugins([...])`; `router_core::plugin!();` in the crate's lib.rs defines it (in the application's own crate it is `PLUGIN`)
            ");
            // A crate that is only listed in Cargo.toml.
            insta::assert_snapshot!(run("forgets", profile), @r#"
            the router cannot be built: 1 problem
              1. no handler is registered
                 note: a crate that is only listed in Cargo.toml is not linked, so its handlers are not registered
                 help: mention each crate that has handlers: `.plugins([my_plugin::PLUGIN])`, or `use my_plugin as _;`
            the router cannot be built: 1 problem
              1. `invoice.paid` is required, but no handler is registered for it (a handler for `*` does not count)
                 help: annotate a function with `#[on_event("invoice.paid")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`; handlers built with another version of router_core are not found (`cargo tree --duplicates` shows duplicate versions)
            "#);
            // A file in two `mod`s, one in none, and one under a `cfg` that is off.
            insta::assert_snapshot!(run("lossy", profile), @r#"
            the router cannot be built: 3 problems
              1. this function is registered more than once, so it would run more than once per event
                   lossy/src/kept.rs:3  `lossy::kept::kept`  on invoice.paid
                   lossy/src/kept.rs:3  `lossy::kept::kept`  on invoice.paid
                 help: two `mod` declarations include its file, perhaps one in lib.rs and one in main.rs; remove one
              2. `charge.failed` is required, but no handler is registered for it (a handler for `*` does not count)
                 help: annotate a function with `#[on_event("charge.failed")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`; handlers built with another version of router_core are not found (`cargo tree --duplicates` shows duplicate versions)
              3. `charge.refunded` is required, but no handler is registered for it (a handler for `*` does not count)
                 help: annotate a function with `#[on_event("charge.refunded")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`; handlers built with another version of router_core are not found (`cargo tree --duplicates` shows duplicate versions)
            "#);
            insta::assert_snapshot!(lost(profile), @r"
             are defined in the source of `lossy` but not registered, so they would never be called:
              src/orphan.rs:3
              src/refunds.rs:3
            help: check that each file has a `mod` declaration, and that no `#[cfg]` removes the handler in this test
            ");
        }
        let deep = cargo(&["test", "--package", "deep", "--test", "registered"], profile);
        assert!(deep.status.success(), "nothing is lost there: {deep:?}");
    }
}

/// What the program prints.
fn run(program: &str, profile: &[&str]) -> String {
    let output = cargo(&["run", "--bin", program], profile);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {profile:?}:\n{stderr}");
    String::from_utf8(output.stdout).expect("it is UTF-8")
}

/// What the test of a crate that loses handlers says.
fn lost(profile: &[&str]) -> String {
    let output = cargo(&["test", "--package", "lossy", "--test", "registered"], profile);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "it passed:\n{stdout}");
    let said = stdout.split_once("these handlers").expect("it says so").1;
    said.split_once("\nnote:").expect("the test's output goes on").0.to_owned()
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
        .expect("cargo runs")
}
