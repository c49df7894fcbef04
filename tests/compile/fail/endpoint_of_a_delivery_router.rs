use router_core::{Endpoint, Event, SigningSecret, delivery::DeliveryRouter};

fn serve(secret: SigningSecret, router: DeliveryRouter) {
    let _ = Endpoint::new(secret, router);
}

fn answer_with_text(secret: SigningSecret) {
    let _ = Endpoint::new(secret, tower::service_fn(async |_: Event| Ok::<_, std::io::Error>("handled")));
}

fn main() {}
