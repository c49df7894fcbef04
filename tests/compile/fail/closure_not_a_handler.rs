use router_core::{Event, Router};

fn main() {
    let _ = Router::builder()
        .handler("plain", ["*"], |event: Event| println!("{}", event.id()))
        .handler("by_reference", ["*"], async |event: &Event| println!("{}", event.id()));
}
