use router_core::{Event, Router};

struct NotAHandler;

async fn takes_text(_: Event, _: String) {}

async fn returns_a_number(_: Event) -> u8 {
    7
}

fn is_not_async(_: Event) {}

fn main() {
    let _ = Router::builder()
        .handler("text", ["*"], takes_text)
        .handler("number", ["*"], returns_a_number)
        .handler("sync", ["*"], is_not_async)
        .handler("value", ["*"], NotAHandler);
}
