use router_core::{Event, Reply, on_event};

#[on_event("issuing_authorization.request", timeout = "1s")]
async fn authorize(_: Event) -> Reply<bool> {
    Reply(true)
}

#[on_event("issuing_authorization.request", timeout = "1s", deadline = "1s")]
async fn both(_: Event) -> Reply<bool> {
    Reply(true)
}

#[on_event("issuing_authorization.request", answer_after = "1s")]
async fn waits(_: Event) -> Reply<bool> {
    Reply(true)
}

fn main() {}
