use std::{future::ready, rc::Rc};

use router_core::{Event, on_event};

#[on_event("invoice.paid")]
async fn paid(event: Event) {
    let shared = Rc::new(event);
    ready(()).await;
    println!("{}", shared.id());
}

fn main() {}
