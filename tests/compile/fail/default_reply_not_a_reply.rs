use router_core::{Event, Reply, on_event};

fn decline() -> bool {
    false
}

#[on_event("issuing_authorization.request", default_reply = decline)]
async fn authorize(_: Event) -> Reply<bool> {
    Reply(true)
}

#[on_event("issuing_authorization.request", default_reply = accept)]
async fn misspelt(_: Event) -> Reply<bool> {
    Reply(true)
}

fn main() {}
