//! Errors and warnings of `RouterBuilder::build`, and the reports of a built router. A program of
//! its own, because they list all linked handlers.

mod shop;
mod two_cores;

use router_core::{
    Event, Plugin, Router,
    build::{Match, Problem, RouterBuilder, Warning},
};
use serde_json::json;
use shop::{Db, Mailer};

#[test]
fn build_error_lists_every_problem_with_help() {
    let error = shop::invalid().build().unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the router cannot be built: 12 problems
      1. plugin `other-shop` 1.2.3 registered no handler
         help: annotate a function in it with `#[on_event("...")]`, and check that its file is declared with `mod` and not disabled by a `#[cfg]`; or remove the plugin from `.plugins([...])`
      2. crate `router-tests` 0.0.0 has handlers but is not listed in `.plugins([...])`
           tests/tests/build/shop.rs:23  `build::shop::pause`  on customer.subscription.paused, invoice.paid
           tests/tests/build/shop.rs:29  `build::shop::rest`  on (unhandled)
           tests/tests/build/shop.rs:14  `orders.fulfil`  on payment_intent.succeeded
           tests/tests/build/shop.rs:26  `orders.fulfil`  on coffee.made, invoice.piad
           tests/tests/build/shop.rs:32  `other.rest`  on (unhandled)
           tests/tests/build/shop.rs:20  `receipts.send`  on invoice.*
         help: add `router_tests::PLUGIN` to `.plugins([...])`; `router_core::plugin!();` in the crate's lib.rs defines it (in the application's own crate it is `PLUGIN`)
      3. "invoice paid" is neither an event type nor a wildcard: invalid character ' '; an event type looks like `invoice.paid`
           tests/tests/build/shop.rs:52  `audit`  on *, invoice paid
      4. this handler is registered for no event type, so it would never be called
           tests/tests/build/shop.rs:53  `nothing`
         help: list its event types: `.handler("name", ["invoice.paid"], handler)`
      5. these handlers share a stable name, so their deliveries cannot be told apart
           tests/tests/build/shop.rs:14  `orders.fulfil`  on payment_intent.succeeded
           tests/tests/build/shop.rs:26  `orders.fulfil`  on coffee.made, invoice.piad
         help: give each handler its own name: `#[on_event("...", name = "orders.fulfil")]`; a `formerly` name must be unique too
      6. `charge.faild` is required, but it is not a known Stripe event type, and no handler is registered for exactly this name
         help: did you mean `charge.failed`? If the event type is newer than this version of router_core, register a handler with `#[on_event("charge.faild", unlisted)]`
      7. `charge.failed` is required, but no handler is registered for it (a handler for `*` does not count)
         help: annotate a function with `#[on_event("charge.failed")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`
      8. `customer.created` is required, but no handler is registered for it (a handler for `*` does not count)
         help: annotate a function with `#[on_event("customer.created")]`, or link the crate that has the handler: `.plugins([my_plugin::PLUGIN])`
      9. more than one function has `#[on_unhandled]`, but a router can have only one
           tests/tests/build/shop.rs:29  `build::shop::rest`  on (unhandled)
           tests/tests/build/shop.rs:32  `other.rest`  on (unhandled)
         help: keep one, or leave the others out: `.without::<the_other>()`
      10. these handlers need a state of type `build::shop::Db`, which was not added
            tests/tests/build/shop.rs:14  `orders.fulfil`  on payment_intent.succeeded
          states added: `alloc::sync::Arc<build::shop::Db>`, `u16`
          help: call `.state(...)` before `.build()`; `alloc::sync::Arc<build::shop::Db>` is a different type: add it with `.shared_state(...)`, or take a `State<alloc::sync::Arc<build::shop::Db>>`
      11. these handlers need a state of type `build::shop::Mailer`, which was not added
            tests/tests/build/shop.rs:14  `orders.fulfil`  on payment_intent.succeeded
            tests/tests/build/shop.rs:20  `receipts.send`  on invoice.*
          states added: `alloc::sync::Arc<build::shop::Db>`, `u16`
          help: call `.state(...)` before `.build()`
      12. more than one state of type `u16` was added, but a router can have only one of each type
            tests/tests/build/shop.rs:55
            tests/tests/build/shop.rs:56
          help: keep one, or wrap the other in a type of its own: `struct Archive(Db);`
    "#);
    assert_eq!(format!("{error:?}"), error.to_string(), "`main` prints the `Debug` form");
    assert_eq!(error.problems().len(), 12);
    let missing = error.problems().iter().find_map(|problem| match problem {
        Problem::MissingState { type_name, handlers, .. } if type_name.ends_with("Db") => {
            Some(handlers)
        }
        _ => None,
    });
    // The location is the line of the attribute.
    let [location] = &missing.unwrap()[..] else { panic!("one handler needs it: {missing:?}") };
    let source = include_str!("shop.rs").lines().nth(location.line as usize - 1).unwrap();
    assert!(location.file.ends_with("tests/tests/build/shop.rs"), "{}", location.file);
    assert!(source.contains(r#"name = "orders.fulfil""#), "{source}");
}

#[test]
fn build_fails_without_handlers() {
    let error = Router::builder().without_linked().build().unwrap_err();
    insta::assert_snapshot!(error, @r"
    the router cannot be built: 1 problem
      1. the router has no handlers: all 6 linked handlers were left out
         help: add one with `.add::<fulfil>()`, or remove the `.without_linked()`, `.only` or `.without` that leaves them out
    ");
    // A handler for unhandled events does not count: it would hide that all others are missing.
    let rest = Router::builder().without_linked().add::<shop::rest>().build();
    assert_eq!(rest.unwrap_err().problems(), [Problem::NoHandlers { left_out: 5 }]);
}

#[test]
fn handlers_of_left_out_plugin_are_not_checked() {
    let plugin = Plugin::__new("router-tests", "0.0.0");
    let router = shop::invalid().without_plugin(plugin).build().unwrap_err().to_string();
    assert!(!router.contains("tests/tests/build/shop.rs:14"), "{router}");
    let audit = async |_: Event| {};
    let router = Router::builder().without_plugin(plugin).handler("audit", ["*"], audit);
    assert_eq!(router.plugins([]).build().unwrap().event_types(), ["*"]);
    let other = Plugin::__new("router-tests", "1.2.3");
    assert!(Router::builder().without_plugin(other).build().is_err());
}

#[test]
fn require_accepts_exact_and_prefix_patterns() {
    let router =
        shop::valid().require(["invoice.paid", "invoice.voided", "payment_intent.succeeded"]);
    router.build().unwrap();
    // An unknown type may be a typo, so only a handler for its exact name satisfies it.
    let error = shop::valid().require(["invoice.piad"]).build().unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the router cannot be built: 1 problem
      1. `invoice.piad` is required, but it is not a known Stripe event type, and no handler is registered for exactly this name
         help: did you mean `invoice.paid`? If the event type is newer than this version of router_core, register a handler with `#[on_event("invoice.piad", unlisted)]`
    "#);
}

#[test]
fn routes_list_handlers_and_locations() {
    let router = shop::valid().build().unwrap();
    insta::assert_snapshot!(router.routes(), @r"
    EVENT TYPE                    ORDER  HANDLER             ONLY              SOURCE
    customer.subscription.paused         build::shop::pause  endpoint connect  tests/tests/build/shop.rs:23
    invoice.*                     10     receipts.send       live              tests/tests/build/shop.rs:20  Sends the customer a receipt.
    invoice.paid                         build::shop::pause  endpoint connect  tests/tests/build/shop.rs:23
    payment_intent.succeeded             orders.fulfil                         tests/tests/build/shop.rs:14  Marks the order paid.
    (unhandled)                          build::shop::rest                     tests/tests/build/shop.rs:29
    ");
    let json = serde_json::to_value(router.routes()).unwrap();
    let receipt = json!({
        "pattern": "invoice.*", "order": 10, "replies": false, "handler": "receipts.send", "endpoint": null,
        "livemode": true, "file": file!().replace("main.rs", "shop.rs"), "line": 20,
        "doc": "Sends the customer a receipt.",
    });
    assert_eq!(json[1], receipt);
    let event_types = router.event_types();
    assert_eq!(event_types.len(), 2 + 17, "{event_types:?}");
    assert!(event_types.is_sorted() && event_types.contains(&"invoice.voided".to_owned()));
    let all = Router::builder().without_linked().handler("all", ["*"], async |_: Event| {});
    assert_eq!(all.build().unwrap().event_types(), ["*"]);
}

#[test]
fn explain_lists_the_handlers_of_an_event_type() {
    let router = shop::valid().build().unwrap();
    insta::assert_snapshot!(router.explain("invoice.paid"), @r"
    invoice.paid
    HANDLER                                             EVENT TYPE                SOURCE
    build::shop::pause  runs for: endpoint connect      invoice.paid              tests/tests/build/shop.rs:23
    receipts.send       runs for: live                  invoice.*                 tests/tests/build/shop.rs:20
    build::shop::rest   runs if none of the above does  (unhandled)               tests/tests/build/shop.rs:29
    orders.fulfil       handles other event types       payment_intent.succeeded  tests/tests/build/shop.rs:14
    ");
    insta::assert_snapshot!(router.explain("payment_intent.succeeded"), @r"
    payment_intent.succeeded
    HANDLER                                        EVENT TYPE                    SOURCE
    orders.fulfil       runs                       payment_intent.succeeded      tests/tests/build/shop.rs:14
    build::shop::pause  handles other event types  customer.subscription.paused  tests/tests/build/shop.rs:23
    receipts.send       handles other event types  invoice.*                     tests/tests/build/shop.rs:20
    build::shop::rest   only for unhandled events  (unhandled)                   tests/tests/build/shop.rs:29
    ");
    insta::assert_snapshot!(router.explain("payment_intent.succeded"), @r"
    payment_intent.succeded: not a known Stripe event type (as of API version 2026-10-28.endive); did you mean `payment_intent.succeeded`?
    HANDLER                                        EVENT TYPE                    SOURCE
    build::shop::rest   runs                       (unhandled)                   tests/tests/build/shop.rs:29
    build::shop::pause  handles other event types  customer.subscription.paused  tests/tests/build/shop.rs:23
    orders.fulfil       handles other event types  payment_intent.succeeded      tests/tests/build/shop.rs:14
    receipts.send       handles other event types  invoice.*                     tests/tests/build/shop.rs:20
    ");
    let single = Router::builder().only::<shop::pause>().build().unwrap();
    insta::assert_snapshot!(single.explain("charge.failed"), @r"
    charge.failed
    no handler would run; the event would be logged and answered with 200
    HANDLER                                        EVENT TYPE                    SOURCE
    build::shop::pause  handles other event types  customer.subscription.paused  tests/tests/build/shop.rs:23
    ");

    let explanation = router.explain("invoice.paid");
    let matches: Vec<_> = explanation.handlers.iter().map(|(_, matched)| *matched).collect();
    use Match::{OtherEventType, RunsForSome};
    assert_eq!(matches, [RunsForSome, RunsForSome, RunsForSome, OtherEventType]);
}

#[test]
fn startup_report_lists_handlers_and_warnings() {
    let router = shop::with_warnings().build().unwrap();
    insta::assert_snapshot!(router.startup_report(), @r#"
    handlers: 4 from router-tests 0.0.0, 3 registered by hand
    left out: tests/tests/build/shop.rs:14  `orders.fulfil`  on payment_intent.succeeded
    left out: tests/tests/build/shop.rs:29  `build::shop::rest`  on (unhandled)
    this handler takes every event type, so no event is logged or counted as unhandled: tests/tests/build/shop.rs:66  `audit`  on *
    warning: no handler uses the state of type `build::shop::Db` added at tests/tests/build/shop.rs:64: is a handler missing, or does it take another type?
    warning: tests/tests/build/shop.rs:26  `orders.fulfil`  on coffee.made, invoice.piad: `coffee.made` matches no known Stripe event type (as of API version 2026-10-28.endive)
    warning: tests/tests/build/shop.rs:26  `orders.fulfil`  on coffee.made, invoice.piad: `invoice.piad` matches no known Stripe event type (as of API version 2026-10-28.endive); did you mean `invoice.paid`?
    warning: tests/tests/build/shop.rs:67  `accounts`  on v2.core.account.*: `v2.core.account.*` does not match 9 event types about parts of the same object, and no other handler names them; to handle them, add `"v2.core.account[configuration.customer].*"`, `"v2.core.account[configuration.merchant].*"`, `"v2.core.account[configuration.recipient].*"`, `"v2.core.account[defaults].*"`, `"v2.core.account[future_requirements].*"`, `"v2.core.account[requirements].*"`; otherwise list the event types that the handler needs instead of `v2.core.account.*`
    warning: tests/tests/build/shop.rs:26  `orders.fulfil`  on coffee.made, invoice.piad: `retry` has no effect without an inbox (`.delivered_by(...)`), nor for a handler that replies: Stripe is answered after the handler, and redelivers a failed event on a schedule of its own
    warning: tests/tests/build/shop.rs:23  `build::shop::pause`  on customer.subscription.paused, invoice.paid: `endpoint = "connect"` is not checked, so a misspelled name would keep the handler from being called; call `.endpoints(secrets.endpoints())` before `.build()`
    warning: tests/tests/build/shop.rs:32  `other.rest`  on (unhandled): never called, because this handler handles every event: tests/tests/build/shop.rs:66  `audit`  on *; remove one of them
    "#);
    let warnings = &router.startup_report().warnings;
    assert!(matches!(warnings[0], Warning::UnusedState { .. }), "{warnings:?}");
    assert!(shop::valid().build().unwrap().startup_report().warnings.is_empty());
}

#[test]
fn handlers_are_added_and_removed_by_type() {
    let names = |builder: RouterBuilder| {
        let router = builder.state(Db).state(Mailer).build().unwrap();
        router.routes().iter().map(|route| route.handler.clone()).collect::<Vec<_>>().join(" ")
    };
    let by_hand = || Router::builder().handler("hand", ["*"], async |_: Event| {});
    assert_eq!(names(by_hand().without_linked()), "hand");
    assert_eq!(names(by_hand().without_linked().add::<shop::receipt>()), "hand receipts.send");
    assert_eq!(names(by_hand().only::<shop::receipt>()), "hand receipts.send");
    let receipt = by_hand().only::<shop::receipt>().add::<shop::receipt>();
    assert_eq!(names(receipt), "hand receipts.send", "a handler is added only once");
    let both = by_hand().only::<shop::receipt>().add::<shop::pause>();
    assert_eq!(names(both), "hand build::shop::pause receipts.send build::shop::pause");
    let by_only = by_hand().without_linked().only::<shop::receipt>().only::<shop::fulfil>();
    assert_eq!(names(by_only), "hand receipts.send orders.fulfil");
    let without_receipt = by_hand().only::<shop::receipt>().without::<shop::receipt>();
    assert_eq!(names(without_receipt), "hand");
}
