//! A webhook endpoint in an axum application:
//! `STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p example-axum`.

use std::error::Error;

use router_core::{Endpoint, Router, Secrets, server::shutdown_signal};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();

    let router = Router::builder().plugins([handlers::PLUGIN]).build()?;
    print!("{}", router.routes());

    let endpoint = Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, router.clone());
    let app = axum::Router::new()
        .route_service("/webhook", endpoint)
        .route("/healthz", axum::routing::get(|| async { "ok" }));

    let listener = TcpListener::bind("127.0.0.1:4242").await?;
    println!("listening on http://{}/webhook", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(shutdown_signal()?).await?;

    // Handlers may still be running for clients that disconnected.
    router.close();
    router.drained().await;
    Ok(())
}
