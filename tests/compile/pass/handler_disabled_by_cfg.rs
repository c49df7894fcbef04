#![deny(warnings)]
#![allow(clippy::non_minimal_cfg, reason = "conditions that are never and always true")]

use router_core::{Event, Router, on_event};

#[on_event("invoice.paid")]
#[cfg(any())]
async fn off_below(_: Event, _: TypeThatIsNotThere) {}

#[cfg(any())]
#[on_event("invoice.paid")]
async fn off_above(_: Event, _: TypeThatIsNotThere) {}

#[on_event("invoice.paid")]
#[cfg(all())]
async fn on(_: Event) {}

#[cfg_attr(any(), on_event("invoice.paid"))]
async fn attribute_off(_: Event) {}

#[cfg_attr(all(), on_event("invoice.paid"))]
async fn attribute_on(_: Event) {}

fn main() {
    let _ = attribute_off;
    let router = Router::builder().build().unwrap();
    let names: Vec<&str> = router.routes().iter().map(|route| &*route.handler).collect();
    assert_eq!(names, [concat!(module_path!(), "::attribute_on"), concat!(module_path!(), "::on")]);
}
