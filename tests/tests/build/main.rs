//! What `build()` says: everything that is wrong, where it stands, and what to do; and what a router
//! tells of itself.

mod shop;

use router_core::{Event, Match, Problem, Router, RouterBuilder, Warning};
use serde_json::json;
use shop::{Db, Mailer};

#[test]
fn every_problem_is_told_at_once_with_its_place_and_what_to_do() {
    let error = shop::mistaken().build().unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the router cannot be built: 12 problems
      1. plugin `other-shop` 1.2.3 registered no handler
         help: write `#[on_event("...")]` over a function in it, and check that its file is in a `mod` and under no `#[cfg]` that is off; or take it out of `.plugins([...])`
      2. crate `router-tests` 0.1.0 has handlers and is not in `.plugins([...])`
           tests/tests/build/shop.rs:21  `build::shop::pause`  on customer.subscription.paused, invoice.paid
           tests/tests/build/shop.rs:27  `build::shop::rest`  on (unhandled)
           tests/tests/build/shop.rs:12  `orders.fulfil`  on payment_intent.succeeded
           tests/tests/build/shop.rs:24  `orders.fulfil`  on coffee.made, invoice.piad
           tests/tests/build/shop.rs:30  `other.rest`  on (unhandled)
           tests/tests/build/shop.rs:18  `receipts.send`  on invoice.*
         help: add `router_tests::PLUGIN` to `.plugins([...])` (`router_core::plugin!();` in its lib.rs makes it; in the application's own crate it is `PLUGIN`)
      3. "invoice paid" is no event type: invalid character ' '; an event type looks like `invoice.paid`
           tests/tests/build/shop.rs:49  `audit`  on *, invoice paid
      4. a handler is registered for no event type, so it would never be called
           tests/tests/build/shop.rs:50  `nothing`
         help: name the event types: `.handler("name", ["invoice.paid"], handler)`
      5. several handlers have one stable name, so their deliveries cannot be told apart
           tests/tests/build/shop.rs:12  `orders.fulfil`  on payment_intent.succeeded
           tests/tests/build/shop.rs:24  `orders.fulfil`  on coffee.made, invoice.piad
         help: give each its own: `#[on_event("...", name = "a.name.of.its.own")]`
      6. `charge.faild` is required, no handler is registered for it by this name, and Stripe is not known to send it
         help: did you mean `charge.failed`? If it is newer than this program, write `#[on_event("charge.faild", unlisted)]` over a function
      7. `charge.failed` is required, and no handler is registered for it (one for `*` does not count)
         help: write `#[on_event("charge.failed")]` over a function, or mention the crate in which it stands: `.plugins([my_plugin::PLUGIN])`; one that is built with another version of router_core is not seen (`cargo tree --duplicates` shows it)
      8. `customer.created` is required, and no handler is registered for it (one for `*` does not count)
         help: write `#[on_event("customer.created")]` over a function, or mention the crate in which it stands: `.plugins([my_plugin::PLUGIN])`; one that is built with another version of router_core is not seen (`cargo tree --duplicates` shows it)
      9. several functions are under `#[on_unhandled]`, and only one can be
           tests/tests/build/shop.rs:27  `build::shop::rest`  on (unhandled)
           tests/tests/build/shop.rs:30  `other.rest`  on (unhandled)
         help: keep one, or leave one out: `.without::<the_other>()`
      10. no state of type `build::shop::Db` was given
            tests/tests/build/shop.rs:12  `orders.fulfil`  on payment_intent.succeeded
          given: `alloc::sync::Arc<build::shop::Db>`, `u16`
          help: add `.state(...)` before `.build()`; `alloc::sync::Arc<build::shop::Db>` is another type: give it with `.shared_state(...)`, or take a `State<alloc::sync::Arc<build::shop::Db>>`
      11. no state of type `build::shop::Mailer` was given
            tests/tests/build/shop.rs:12  `orders.fulfil`  on payment_intent.succeeded
            tests/tests/build/shop.rs:18  `receipts.send`  on invoice.*
          given: `alloc::sync::Arc<build::shop::Db>`, `u16`
          help: add `.state(...)` before `.build()`
      12. two states of type `u16` were given, and a handler could not tell which it gets
            tests/tests/build/shop.rs:52
            tests/tests/build/shop.rs:53
          help: keep one, or wrap one in a type of its own: `struct Archive(Db);`
    "#);
    assert_eq!(format!("{error:?}"), error.to_string(), "`main` prints the `Debug` form");
    assert_eq!(error.problems().len(), 12);
    let missing = error.problems().iter().find_map(|problem| match problem {
        Problem::MissingState { type_name, handlers, .. } if type_name.ends_with("Db") => {
            Some(handlers)
        }
        _ => None,
    });
    // Where the attribute stands.
    let [place] = &missing.unwrap()[..] else { panic!("one handler needs it: {missing:?}") };
    let source = include_str!("shop.rs").lines().nth(place.line as usize - 1).unwrap();
    assert!(place.file.ends_with("tests/tests/build/shop.rs"), "{}", place.file);
    assert!(source.contains(r#"name = "orders.fulfil""#), "{source}");
}

#[test]
fn a_router_without_handlers_is_not_built() {
    let error = Router::builder().without_linked().build().unwrap_err();
    insta::assert_snapshot!(error, @r"
    the router cannot be built: 1 problem
      1. no handler is in the router: all that are linked, 6, were left out
         help: `.without_linked()`, `.only` and `.without` leave handlers out; `.add::<fulfil>()` adds one
    ");
    // One for the rest would hide that all others are lost.
    let rest = Router::builder().without_linked().add::<shop::rest>().build();
    assert_eq!(rest.unwrap_err().problems(), [Problem::NoHandlers { left_out: 5 }]);
}

#[test]
fn what_is_required_is_there_by_its_name_or_by_a_prefix() {
    let router =
        shop::correct().require(["invoice.paid", "invoice.voided", "payment_intent.succeeded"]);
    router.build().unwrap();
    // A type that is not known is perhaps a typo; a wildcard does not vouch for it.
    let error = shop::correct().require(["invoice.piad"]).build().unwrap_err();
    insta::assert_snapshot!(error, @r#"
    the router cannot be built: 1 problem
      1. `invoice.piad` is required, no handler is registered for it by this name, and Stripe is not known to send it
         help: did you mean `invoice.paid`? If it is newer than this program, write `#[on_event("invoice.piad", unlisted)]` over a function
    "#);
}

#[test]
fn a_router_tells_what_is_routed_where() {
    let router = shop::correct().build().unwrap();
    insta::assert_snapshot!(router.routes(), @r"
    EVENT TYPE                    ORDER  HANDLER             ONLY              SOURCE
    customer.subscription.paused         build::shop::pause  endpoint connect  tests/tests/build/shop.rs:21
    invoice.*                     10     receipts.send       live              tests/tests/build/shop.rs:18  Tells the customer.
    invoice.paid                         build::shop::pause  endpoint connect  tests/tests/build/shop.rs:21
    payment_intent.succeeded             orders.fulfil                         tests/tests/build/shop.rs:12  Marks the order paid.
    (unhandled)                          build::shop::rest                     tests/tests/build/shop.rs:27
    ");
    let json = serde_json::to_value(router.routes()).unwrap();
    let receipt = json!({
        "pattern": "invoice.*", "order": 10, "replies": false, "handler": "receipts.send", "endpoint": null,
        "livemode": true, "file": file!().replace("main.rs", "shop.rs"), "line": 18,
        "doc": "Tells the customer.",
    });
    assert_eq!(json[1], receipt);
    let event_types = router.event_types();
    assert_eq!(event_types.len(), 2 + 17, "{event_types:?}");
    assert!(event_types.is_sorted() && event_types.contains(&"invoice.voided".to_owned()));
    let all = Router::builder().without_linked().handler("all", ["*"], async |_: Event| {});
    assert_eq!(all.build().unwrap().event_types(), ["*"]);
}

#[test]
fn a_router_explains_which_handlers_an_event_type_has() {
    let router = shop::correct().build().unwrap();
    insta::assert_snapshot!(router.explain("invoice.paid"), @r"
    invoice.paid
    HANDLER                                                EVENT TYPE                SOURCE
    build::shop::pause  runs for: endpoint connect         invoice.paid              tests/tests/build/shop.rs:21
    receipts.send       runs for: live                     invoice.*                 tests/tests/build/shop.rs:18
    build::shop::rest   runs where none of the above does  (unhandled)               tests/tests/build/shop.rs:27
    orders.fulfil       is for another event type          payment_intent.succeeded  tests/tests/build/shop.rs:12
    ");
    insta::assert_snapshot!(router.explain("payment_intent.succeeded"), @r"
    payment_intent.succeeded
    HANDLER                                            EVENT TYPE                    SOURCE
    orders.fulfil       runs                           payment_intent.succeeded      tests/tests/build/shop.rs:12
    build::shop::pause  is for another event type      customer.subscription.paused  tests/tests/build/shop.rs:21
    receipts.send       is for another event type      invoice.*                     tests/tests/build/shop.rs:18
    build::shop::rest   is for what no handler is for  (unhandled)                   tests/tests/build/shop.rs:27
    ");
    insta::assert_snapshot!(router.explain("payment_intent.succeded"), @r"
    payment_intent.succeded: Stripe is not known to send this (as of API version 2026-10-28.endive); did you mean `payment_intent.succeeded`?
    HANDLER                                        EVENT TYPE                    SOURCE
    build::shop::rest   runs                       (unhandled)                   tests/tests/build/shop.rs:27
    build::shop::pause  is for another event type  customer.subscription.paused  tests/tests/build/shop.rs:21
    orders.fulfil       is for another event type  payment_intent.succeeded      tests/tests/build/shop.rs:12
    receipts.send       is for another event type  invoice.*                     tests/tests/build/shop.rs:18
    ");
    let alone = Router::builder().only::<shop::pause>().build().unwrap();
    insta::assert_snapshot!(alone.explain("charge.failed"), @r"
    charge.failed
    no handler would run; the event would be answered with 200, and logged
    HANDLER                                        EVENT TYPE                    SOURCE
    build::shop::pause  is for another event type  customer.subscription.paused  tests/tests/build/shop.rs:21
    ");

    let explanation = router.explain("invoice.paid");
    let verdicts: Vec<_> = explanation.handlers.iter().map(|(_, verdict)| *verdict).collect();
    use Match::{OtherEventType, RunsForSome};
    assert_eq!(verdicts, [RunsForSome, RunsForSome, RunsForSome, OtherEventType]);
}

#[test]
fn a_router_tells_what_it_was_built_of_and_what_is_doubtful() {
    let router = shop::doubtful().build().unwrap();
    insta::assert_snapshot!(router.startup_report(), @r"
    handlers: 1 by hand, 4 in router-tests 0.1.0
    left out: tests/tests/build/shop.rs:12  `orders.fulfil`  on payment_intent.succeeded
    left out: tests/tests/build/shop.rs:27  `build::shop::rest`  on (unhandled)
    warning: no handler takes the state of type `build::shop::Db` that tests/tests/build/shop.rs:58 gives: is a handler missing, or does it take another type?
    warning: tests/tests/build/shop.rs:24  `orders.fulfil`  on coffee.made, invoice.piad: Stripe is not known to send `coffee.made` (as of API version 2026-10-28.endive)
    warning: tests/tests/build/shop.rs:24  `orders.fulfil`  on coffee.made, invoice.piad: Stripe is not known to send `invoice.piad` (as of API version 2026-10-28.endive); did you mean `invoice.paid`?
    ");
    let warnings = &router.startup_report().warnings;
    assert!(matches!(warnings[0], Warning::UnusedState { .. }), "{warnings:?}");
    assert!(shop::correct().build().unwrap().startup_report().warnings.is_empty());
}

#[test]
fn handlers_are_left_out_and_added_by_name() {
    let names = |builder: RouterBuilder| {
        let router = builder.state(Db).state(Mailer).build().unwrap();
        router.routes().iter().map(|route| route.handler.clone()).collect::<Vec<_>>().join(" ")
    };
    let by_hand = || Router::builder().handler("hand", ["*"], async |_: Event| {});
    assert_eq!(names(by_hand().without_linked()), "hand");
    assert_eq!(names(by_hand().without_linked().add::<shop::receipt>()), "hand receipts.send");
    assert_eq!(names(by_hand().only::<shop::receipt>()), "hand receipts.send");
    let receipt = by_hand().only::<shop::receipt>().add::<shop::receipt>();
    assert_eq!(names(receipt), "hand receipts.send", "added once");
    let both = by_hand().only::<shop::receipt>().add::<shop::pause>();
    assert_eq!(names(both), "hand build::shop::pause receipts.send build::shop::pause");
    let by_only = by_hand().without_linked().only::<shop::receipt>().only::<shop::fulfil>();
    assert_eq!(names(by_only), "hand receipts.send orders.fulfil");
    let without = by_hand().only::<shop::receipt>().without::<shop::receipt>();
    assert_eq!(names(without), "hand");
}
