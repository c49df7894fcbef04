#![deny(warnings)]

use router_core::{Event, Router, on_event};

#[on_event(
    "invoice.paid",
    "v2.core.account[identity].updated",
    "customer.subscription.*",
    name = "orders.changed"
)]
async fn changed(_: Event) {}

#[on_event(name = "everything", "*")]
async fn everything(_: Event) {}

#[on_event("coffee_machine.descaled", "coffee_machine.*", r"invoice.paid", unlisted)]
async fn newer_than_the_catalog(_: Event) {}

fn main() {
    let router = Router::builder().build().unwrap();
    let routes: Vec<_> =
        router.routes().iter().map(|route| (&*route.pattern, &*route.handler)).collect();
    let newer = concat!(module_path!(), "::newer_than_the_catalog");
    assert_eq!(
        routes,
        [
            ("*", "everything"),
            ("coffee_machine.*", newer),
            ("coffee_machine.descaled", newer),
            ("customer.subscription.*", "orders.changed"),
            ("invoice.paid", "orders.changed"),
            ("invoice.paid", newer),
            ("v2.core.account[identity].updated", "orders.changed"),
        ]
    );
}
