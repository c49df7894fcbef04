use router_core::{Event, Reply, on_event};

fn decline() -> Reply<bool> {
    Reply(false)
}

#[on_event("invoice.paid", deadline = "1s")]
async fn paid(_: Event) {}

#[on_event("invoice.voided", default_reply = decline)]
async fn voided(_: Event) -> Result<(), std::io::Error> {
    Ok(())
}

fn main() {}
