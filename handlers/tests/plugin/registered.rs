//! Two tests that every crate with handlers should have. The first checks that all handlers in the
//! source are registered; the second makes changes of the routes visible in reviews.

use router_core::Router;

#[test]
fn every_handler_is_registered() {
    router_core::assert_all_registered!(handlers::PLUGIN);
}

#[test]
fn routes_match_snapshot() {
    let router = Router::builder().plugins([handlers::PLUGIN]).build().unwrap();
    insta::assert_snapshot!(router.routes(), @r"
    EVENT TYPE                HANDLER                   SOURCE
    payment_intent.succeeded  payments.succeeded        handlers/src/payments.rs:30  Logs the amount of the payment.
    payment_method.attached   payments.method_attached  handlers/src/payments.rs:37  Logs the customer who can now be charged.
    ");
}
