//! The handlers of crates that an application links, and of one that it forgets: built anew in
//! debug, and in release with fat LTO, which drops whatever nobody calls.

use std::{fs, path::Path, process::Command};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/linked");

/// One test: its builds share a folder, and would wait for each other.
#[test]
fn every_linked_handler_is_found_and_a_forgotten_crate_is_caught() {
    // The versions that are here already, so that no registry is asked.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    fs::copy(lock, Path::new(FIXTURE).join("Cargo.lock")).expect("there is a lock file");

    let debug = run("mentions", &[]);
    insta::assert_snapshot!(debug, @r#"
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

    without one of them:
    the router cannot be built: 1 problem
      1. crate `deep` 3.0.0 has handlers and is not in `.plugins([...])`
           deep/src/lib.rs:7  `deep::archive`  on invoice.paid
         help: add `deep::PLUGIN` to `.plugins([...])` (`router_core::plugin!();` in its lib.rs makes it; in the application's own crate it is `PLUGIN`)
    "#);
    // The table, the order in which an event's handlers run, and the messages.
    assert_eq!(run("mentions", &["--release"]), debug);

    let forgets = run("forgets", &[]);
    insta::assert_snapshot!(forgets, @r#"
    the router cannot be built: 1 problem
      1. no handler is registered
         A crate that is only listed in Cargo.toml is not linked, so its handlers are not there.
         help: mention each crate that has handlers: `.plugins([my_plugin::PLUGIN])`, or `use my_plugin as _;`
    the router cannot be built: 1 problem
      1. `invoice.paid` is required, and no handler is registered for it (one for `*` does not count)
         help: write `#[on_event("invoice.paid")]` over a function, or mention the crate in which it stands: `.plugins([my_plugin::PLUGIN])`
    "#);
    assert_eq!(run("forgets", &["--release"]), forgets);
}

/// What the program prints.
fn run(program: &str, profile: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--bin", program])
        .args(profile)
        .current_dir(FIXTURE)
        .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/linked"))
        .output()
        .expect("cargo runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {profile:?}:\n{stderr}");
    String::from_utf8(output.stdout).expect("it is UTF-8")
}
