//! A webhook endpoint in an actix-web application:
//! `STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p example-actix-web`.
//!
//! actix-web has request and response types of its own, so the endpoint is called with the
//! signature and the body.

use std::{env, error::Error};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpResponseBuilder, HttpServer, http::StatusCode, web,
};
use futures_util::TryStreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use router_core::{Endpoint, Router, Secrets};

/// Takes the raw `Payload`. A `web::Json` would not keep the signed bytes, and `web::Bytes` refuses
/// more than 256 KiB and waits for a slow body without a limit. `receive_body` reads the body under
/// the endpoint's limits.
async fn webhook(
    request: HttpRequest,
    payload: web::Payload,
    endpoint: web::Data<Endpoint<Router>>,
) -> HttpResponse {
    let signature = request.headers().get("stripe-signature").map(|value| value.as_bytes());
    let body = StreamBody::new(payload.map_ok(Frame::data));
    let (answer, body) = endpoint.receive_body(signature, body).await.into_parts();
    // actix-web has the types of `http` 0.2, so the status and the headers are converted.
    let status = StatusCode::from_u16(answer.status.as_u16()).expect("the status is valid");
    let mut response = HttpResponseBuilder::new(status);
    for (name, value) in &answer.headers {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    response.body(body)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();

    let router = Router::builder().plugins([handlers::PLUGIN]).build()?;
    let endpoint = Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, router);
    // Created here and shared: an endpoint made in the closure would be one for each worker thread.
    let endpoint = web::Data::new(endpoint);
    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:4242".into());
    let server = HttpServer::new(move || {
        App::new().app_data(endpoint.clone()).route("/webhook", web::post().to(webhook))
    })
    .shutdown_timeout(25) // seconds, and less than the 30 s after which Kubernetes kills a process
    .bind(listen)?;
    println!("listening on http://{}/webhook", server.addrs()[0]);
    // Ends at SIGINT or SIGTERM, once the requests in flight are answered. Handlers run on the
    // server's worker threads, so those of a client that has disconnected stop with the server.
    // Stripe then redelivers the event.
    server.run().await?;
    Ok(())
}
