#![deny(warnings)]

use router_core::{Event, Object, Outcome, Router, on_event};

/// `#[on_event]` receives each kind of fragment in an invisible group.
macro_rules! handlers {
    ($($(#[$attribute:meta])* $vis:vis $name:ident($object:ty) -> $output:ty: $($event_type:literal)+;)+) => {
        $(
            $(#[$attribute])*
            #[on_event($($event_type),+)]
            $vis async fn $name(event: Event, object: Object<$object>) -> $output {
                let event = (event, object);
                Outcome::ignored(event.0.id().to_owned())
            }
        )+
    };
}

handlers! {
    /// The first.
    pub(crate) paid(String) -> Outcome: "invoice.paid";
}

macro_rules! items {
    ($($item:item)+) => { $(#[on_event("charge.refunded")] $item)+ };
}

items! {
    async fn refunded(_: Event) {}
}

macro_rules! bodies {
    ($name:ident $body:block $argument:pat, $type:path) => {
        #[on_event("charge.captured")]
        fn $name($argument: $type) $body
    };
}

bodies!(captured { } _, router_core::Event);

macro_rules! named {
    ($name:literal) => {
        const _: () = {
            #[on_event("charge.failed", name = $name)]
            async fn failed(_: Event) {}
        };
    };
}

named!("first");
named!("second");

fn main() {
    let router = Router::builder().build().unwrap();
    let names: Vec<&str> = router.routes().iter().map(|route| &*route.handler).collect();
    assert_eq!(
        names,
        [
            concat!(module_path!(), "::captured"),
            "first",
            "second",
            concat!(module_path!(), "::refunded"),
            concat!(module_path!(), "::paid")
        ]
    );
}
