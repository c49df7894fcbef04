use router_core::on_event;

#[on_event("invoice.paid")]
struct Paid {
    id: String,
}

fn main() {}
