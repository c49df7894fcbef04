use router_core::{Event, Reply, on_event};

struct Decision;

#[on_event("issuing_authorization.request")]
async fn authorize(_: Event) -> Reply<Decision> {
    Reply(Decision)
}

fn main() {}
