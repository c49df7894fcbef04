use router_core::{Event, FromEvent, Rejection};

struct Customer;

impl FromEvent for Customer {
    async fn from_event(_: &Event) -> Result<Self, Rejection> {
        Ok(Self)
    }
}

fn main() {}
