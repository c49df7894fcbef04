//! A handler replies if its return type contains a `Reply`, also behind an alias.

use router_core::{Event, Object, Outcome, Reply, handler::IntoOutcome, on_event};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Authorization {
    amount: i64,
}

#[derive(Serialize)]
struct Decision {
    approved: bool,
}

type Answer = Result<Reply<Decision>, std::io::Error>;

mod defaults {
    use super::{Decision, Reply};

    pub(crate) fn decline() -> Reply<Decision> {
        Reply(Decision { approved: false })
    }
}

#[on_event(
    "issuing_authorization.request",
    endpoint = "platform",
    deadline = "800ms",
    default_reply = defaults::decline,
    exclusive
)]
async fn authorize(request: Object<Authorization>) -> Answer {
    Ok(Reply(Decision { approved: request.amount < 100 }))
}

#[on_event(
    "issuing_authorization.request",
    endpoint = "connect",
    blocking,
    default_reply = defaults::decline
)]
fn in_a_thread(_: Event) -> Reply<Decision> {
    Reply(Decision { approved: true })
}

// An opaque return type counts as no reply. If it returned one, the router would report an error.
#[on_event("invoice.paid", timeout = "1s")]
async fn hidden(_: Event) -> impl IntoOutcome {
    Outcome::Done
}

fn main() {
    let router = router_core::Router::builder().build().unwrap();
    let replying = router.routes().iter().filter(|route| route.replies).count();
    assert_eq!(replying, 2);
}
