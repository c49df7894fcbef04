//! Handlers that are lost in every way that the compiler accepts are reported.

use std::process::Command;

/// The test that every crate with handlers should contain. Here it fails.
#[test]
#[should_panic(expected = "\n  src/orphan.rs:3\n  src/refunds.rs:3\n")]
fn unregistered_handlers_fail_the_test() {
    router_core::assert_all_registered!(lossy::PLUGIN);
}

#[test]
fn handlers_registered_twice_or_not_at_all_are_reported() {
    let output = Command::new(env!("CARGO_BIN_EXE_lossy")).output().expect("the program was built");
    let output = String::from_utf8(output.stdout).expect("the output is UTF-8");
    // One file has two `mod` declarations, one has none, and one is disabled by a `cfg`.
    insta::assert_snapshot!(output, @r#"
    the router cannot be built: 3 problems
      1. this function is registered more than once, so it would run more than once per event
           tests/linked/lossy/src/kept.rs:3  `lossy::kept::kept`  on invoice.paid
           tests/linked/lossy/src/kept.rs:3  `lossy::kept::kept`  on invoice.paid
         help: two `mod` declarations include its file, perhaps one in lib.rs and one in main.rs; remove one
      2. `charge.failed` is required, but no handler is registered for it (a handler for `*` does not count)
         help: annotate a function with `#[on_event("charge.failed")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`
      3. `charge.refunded` is required, but no handler is registered for it (a handler for `*` does not count)
         help: annotate a function with `#[on_event("charge.refunded")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`
    "#);
}
