use router_core::{Event, on_event};

struct Shop;

impl Shop {
    #[on_event("invoice.paid")]
    async fn paid(&self, event: Event) {
        println!("{}", event.id());
    }
}

fn main() {}
