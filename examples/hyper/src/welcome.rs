//! What is printed at start: what the router is made of, the routes, the addresses, and how to send a
//! first event.

use std::net::SocketAddr;

use router_core::Router;

pub(crate) fn print(
    router: &Router,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    development_secret: Option<&str>,
) {
    println!("{}\n", router.startup_report());
    println!("{}", router.routes());
    println!("listening on http://{address}/webhook");
    if let Some(address) = metrics_address {
        println!("metrics at http://{address}/metrics");
    }
    println!();
    let secret = match development_secret {
        Some(secret) => {
            println!(
                "No STRIPE_WEBHOOK_SECRET is set, so this run has a secret of its own: {secret}"
            );
            secret
        }
        None => "…the secret that this server was given…",
    };
    println!("To send a signed event, paste this into another terminal:\n");
    println!(
        "{}",
        include_str!("send.sh")
            .replace("ADDRESS", &address.to_string())
            .replace("SECRET_TEXT", secret)
    );
}
