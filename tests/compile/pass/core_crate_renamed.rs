#![deny(warnings)]

mod core_again {
    pub(crate) use router_core as renamed;
}

use core_again::renamed::{Event, Router, on_event};

#[on_event("invoice.paid", crate = core_again::renamed)]
async fn relative(_: Event) {}

#[on_event("invoice.paid", crate = crate::core_again::renamed)]
async fn absolute(_: Event) {}

mod orders {
    #[super::on_event("invoice.paid", crate = super::core_again::renamed)]
    async fn from_above(_: super::Event) {}
}

/// A macro of a framework that re-exports router-core.
macro_rules! handler {
    ($name:ident) => {
        #[on_event("invoice.paid", crate = $crate::core_again::renamed)]
        async fn $name(_: Event) {}
    };
}

handler!(from_a_macro);

fn main() {
    assert_eq!(Router::builder().build().unwrap().routes().iter().count(), 4);
}
