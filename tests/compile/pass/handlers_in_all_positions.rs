#![deny(warnings)]

use router_core::{Event, Router, on_event};

#[on_event("invoice.paid")]
async fn first(_: Event) {}

#[on_event("invoice.paid")]
async fn second(_: Event) {}

mod private {
    mod deeper {
        use router_core::{Event, on_event};

        #[on_event("invoice.paid")]
        async fn in_a_private_module(_: Event) {}
    }
}

struct Shop;

impl Shop {
    fn open() {
        #[on_event("invoice.paid")]
        async fn in_a_method(_: Event) {}
    }
}

const _: () = {
    #[on_event("invoice.paid")]
    async fn in_a_constant(_: Event) {}
};

fn main() {
    #[on_event("invoice.paid")]
    async fn in_main(event: Event) {
        #[on_event("invoice.paid")]
        async fn in_a_handler(_: Event) {}

        println!("{}", event.id());
    }

    Shop::open();
    let router = Router::builder().build().unwrap();
    let names: Vec<&str> = router.routes().iter().map(|route| &*route.handler).collect();
    assert_eq!(
        names,
        [
            concat!(module_path!(), "::first"),
            concat!(module_path!(), "::in_a_constant"),
            concat!(module_path!(), "::in_a_handler"),
            concat!(module_path!(), "::in_a_method"),
            concat!(module_path!(), "::in_main"),
            concat!(module_path!(), "::private::deeper::in_a_private_module"),
            concat!(module_path!(), "::second"),
        ]
    );
}
