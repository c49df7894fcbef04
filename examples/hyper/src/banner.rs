//! The startup banner: the startup report, the routes, the addresses, and the command to send a
//! test event.

use std::net::SocketAddr;

use crate::{backend::Backend, options::InboxUrl};

/// The address that `event-router send` uses by default.
const DEFAULT_ADDRESS: &str = "127.0.0.1:4242";

/// Prints the banner to stdout.
pub(crate) fn print(
    backend: &Backend,
    inbox: &InboxUrl,
    address: SocketAddr,
    internal_address: SocketAddr,
    secret_was_given: bool,
) {
    println!("{}\n", backend.report);
    println!("{}", backend.routes);
    println!("listening on http://{address}/webhook");
    match inbox {
        InboxUrl::Sqlite(url) => println!("events are stored in {url} before they are handled"),
        // Not the URLs of these two, which may contain a password.
        InboxUrl::Postgres(_) => {
            println!("events are stored in PostgreSQL before they are handled");
        }
        InboxUrl::JetStream(_) => {
            println!("events are stored in NATS JetStream before they are handled");
        }
        InboxUrl::Off => println!("events are handled while Stripe waits"),
    }
    match &backend.shop {
        Some(shop) => {
            println!(
                "orders, subscriptions and disputes are shown at http://{internal_address}/shop"
            );
            println!("mails go to {}", shop.mailer.destination());
        }
        None => println!("the shop is left out: its tables need an inbox in SQLite or PostgreSQL"),
    }
    println!("metrics at http://{internal_address}/metrics");
    println!("routes for `event-router doctor --routes` at http://{internal_address}/routes");
    println!();
    let with_secret = match secret_was_given {
        true => ", with the same STRIPE_WEBHOOK_SECRET",
        false => {
            println!(
                "STRIPE_WEBHOOK_SECRET is not set: the endpoint accepts events that are signed with your \
                 development secret."
            );
            ""
        }
    };
    let to_option = match address.to_string() {
        address if address == DEFAULT_ADDRESS => String::new(),
        address => format!(" --to http://{address}/webhook"),
    };
    println!("To send a test event, run in another terminal{with_secret}:\n");
    println!("cargo run -p router-cli -- send payment_intent.succeeded{to_option}\n");
    if backend.shop.is_some() {
        println!(
            "To send an order, replace `send payment_intent.succeeded` by `scenario checkout`.\n"
        );
    }
}
