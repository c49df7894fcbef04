use router_core::{Event, on_event};

#[on_event("invoice.paid", timeout = "soon", order = "first", livemode = "yes", endpoint = "")]
async fn of_wrong_kinds(_: Event) {}

#[on_event("invoice.paid", timeout = "0s", order = 3000000000, blocking = true)]
fn out_of_range(_: Event) {}

fn main() {}
