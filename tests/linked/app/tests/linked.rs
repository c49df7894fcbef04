//! Registration of handlers from linked crates. The programs are built in debug, and with the
//! feature `long` also in release with fat LTO, which removes unused code. The package `lossy` has
//! the tests of handlers that are not linked.

use std::{path::Path, process::Command};

const MENTIONS: &str = env!("CARGO_BIN_EXE_mentions");
const FORGETS: &str = env!("CARGO_BIN_EXE_forgets");

#[test]
fn linked_handlers_are_found_and_forgotten_ones_reported() {
    check(MENTIONS.as_ref(), FORGETS.as_ref());
}

#[cfg(feature = "long")]
#[test]
fn release_with_fat_lto_has_the_same_handlers() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fat-lto");
    for command in
        [&["build", "-p", "router-linked-tests"][..], &["test", "-p", "deep", "-p", "lossy"]]
    {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(command).args(["--release", "--offline", "--locked"]);
        cargo.env("CARGO_TARGET_DIR", &target).current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo
            .env("CARGO_PROFILE_RELEASE_LTO", "fat")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
        let output = cargo.output().expect("cargo can be started");
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
    check(&target.join("release/mentions"), &target.join("release/forgets"));
}

/// Checks the output of both programs. Routes, the run order of an event's handlers, and messages
/// are the same in all profiles.
fn check(mentions: &Path, forgets: &Path) {
    insta::allow_duplicates! {
        insta::assert_snapshot!(output(mentions), @r"
        EVENT TYPE                HANDLER                          SOURCE
        *                         plugin::audit                    tests/linked/plugin/src/lib.rs:12
        charge.refunded           plugin::orders::refunds::refund  tests/linked/plugin/src/orders/refunds.rs:3
        invoice.*                 plugin::receipts::note           tests/linked/plugin/src/receipts.rs:8
        invoice.paid              a.first.by.its.name              tests/linked/plugin/src/receipts.rs:3
        invoice.paid              deep::archive                    tests/linked/deep/src/lib.rs:7
        invoice.paid              plugin::orders::fulfil           tests/linked/plugin/src/orders/mod.rs:5
        invoice.paid              plugin::orders::refunds::hidden  tests/linked/plugin/src/orders/refunds.rs:11
        payment_intent.succeeded  plugin::orders::fulfil           tests/linked/plugin/src/orders/mod.rs:5

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
               tests/linked/deep/src/lib.rs:7  `deep::archive`  on invoice.paid
             help: add `deep::PLUGIN` to `.plugins([...])`; `router_core::plugin!();` in the crate's lib.rs defines it (in the application's own crate it is `PLUGIN`)
        ");
        // The plugin is listed in Cargo.toml, but no code mentions it.
        insta::assert_snapshot!(output(forgets), @r#"
        the router cannot be built: 1 problem
          1. no handler is registered
             note: a crate that is only listed in Cargo.toml is not linked, so its handlers are not registered
             help: mention each crate that has handlers: `.plugins([my_plugin::PLUGIN])`, or `use my_plugin as _;`
        the router cannot be built: 1 problem
          1. `invoice.paid` is required, but no handler is registered for it (a handler for `*` does not count)
             help: annotate a function with `#[on_event("invoice.paid")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`
        "#);
    }
}

/// Runs a program and returns its standard output.
fn output(program: &Path) -> String {
    let output = Command::new(program).output().expect("the program was built");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}
