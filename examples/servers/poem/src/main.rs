//! A webhook endpoint in a poem application:
//! `STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p example-poem`.
//!
//! `compat()` (poem's feature `tower-compat`) makes a poem endpoint of a tower service. The body
//! reaches the service as a stream, so the limits of the `Endpoint` apply.

use std::{env, error::Error, time::Duration};

use poem::{Route, Server, endpoint::TowerCompatExt as _, listener::TcpAcceptor, post};
use router_core::{Endpoint, Router, Secrets, server::shutdown_signal};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();

    let router = Router::builder().plugins([handlers::PLUGIN]).build()?;
    let endpoint = Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, router.clone());
    // A middleware in front, such as one for compression, must not read or change the body.
    let app = Route::new().at("/webhook", post(endpoint.compat()));

    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:4242".into());
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}/webhook", listener.local_addr()?);
    // Less than the 30 s after which Kubernetes kills a process.
    let (shutdown, grace) = (shutdown_signal()?, Duration::from_secs(25));
    Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?)
        .run_with_graceful_shutdown(app, shutdown, Some(grace))
        .await?;
    // Handlers may still be running for clients that disconnected.
    router.close();
    router.drained().await;
    Ok(())
}
