//! What is printed at start: what the router is made of, the routes, the addresses, and how to send a
//! first event.

use std::net::SocketAddr;

use crate::{behind::Behind, options::InboxUrl};

/// Where `event-router send` sends to, if it is not told.
const DEFAULT: &str = "127.0.0.1:4242";

pub(crate) fn print(
    behind: &Behind,
    inbox: &InboxUrl,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    secret_was_given: bool,
) {
    println!("{}\n", behind.report);
    println!("{}", behind.routes);
    println!("listening on http://{address}/webhook");
    match inbox {
        InboxUrl::Sqlite(url) => println!("events are stored in {url}, and then handled"),
        // These URLs may hold a password.
        InboxUrl::Postgres(_) => println!("events are stored in PostgreSQL, and then handled"),
        InboxUrl::JetStream(_) => println!("events are stored in NATS JetStream, and then handled"),
        InboxUrl::Off => println!("events are handled while Stripe waits"),
    }
    if let Some(address) = metrics_address {
        println!("metrics at http://{address}/metrics");
    }
    println!();
    let with_secret = match secret_was_given {
        true => ", with STRIPE_WEBHOOK_SECRET set as it is here",
        false => {
            println!(
                "No STRIPE_WEBHOOK_SECRET is set: events count as Stripe's if they are signed with your \
                 development secret."
            );
            ""
        }
    };
    let to = match address.to_string() {
        address if address == DEFAULT => String::new(),
        address => format!(" --to http://{address}/webhook"),
    };
    println!("To send one, in another terminal{with_secret}:\n");
    println!("cargo run -p router-cli -- send payment_intent.succeeded{to}\n");
}
