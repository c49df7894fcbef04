use router_core::{Event, FromEvent, Rejection, State};

struct Db;
struct Customer;

impl FromEvent for Customer {
    type Needs = (State<Db>, Db);

    async fn from_event(_: &Event, _: Self::Needs) -> Result<Self, Rejection> {
        Ok(Self)
    }
}

fn main() {}
