//! The two tests that every crate with handlers should have: nothing that is in the source is lost,
//! and a change of what is routed where is seen in a review.

use router_core::Router;

#[test]
fn every_handler_is_registered() {
    router_core::assert_all_registered!(handlers::PLUGIN);
}

#[test]
fn what_is_routed_where() {
    let router = Router::builder().plugins([handlers::PLUGIN]).build().unwrap();
    insta::assert_snapshot!(router.routes(), @r"
    EVENT TYPE                HANDLER                   SOURCE
    payment_intent.succeeded  payments.succeeded        handlers/src/payments.rs:29  Logs the amount that was paid.
    payment_method.attached   payments.method_attached  handlers/src/payments.rs:36  Logs the customer who can now be charged.
    ");
}
