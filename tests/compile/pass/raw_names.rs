#![deny(warnings)]

use router_core::{Event, Router, on_event};

#[on_event("invoice.paid")]
async fn r#type(r#match: Event) {
    println!("{}", r#match.id());
}

mod r#async {
    use super::{Event, on_event};

    #[on_event("invoice.paid")]
    async fn r#fn(_: Event) {}
}

fn main() {
    let router = Router::builder().build().unwrap();
    let names: Vec<&str> = router.routes().iter().map(|route| &*route.handler).collect();
    assert_eq!(
        names,
        [concat!(module_path!(), "::r#async::fn"), concat!(module_path!(), "::type")]
    );
}
