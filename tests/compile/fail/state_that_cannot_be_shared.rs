use std::cell::RefCell;

use router_core::{State, on_event};

struct Counter(RefCell<u64>);

#[on_event("invoice.paid")]
async fn count(counter: State<Counter>) {
    *counter.0.0.borrow_mut() += 1;
}

fn main() {}
