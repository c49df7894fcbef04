//! A webhook endpoint in a Rocket application:
//! `STRIPE_WEBHOOK_SECRET=whsec_… ROCKET_PORT=4242 cargo run -p example-rocket`.
//!
//! Rocket has request and response types of its own, so the endpoint is called with the signature
//! and the body. A `Handler` sees both; `#[post]` would need a request guard for the header.

use std::{error::Error, io::Cursor};

use futures_util::TryStreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use rocket::{
    Data, Request, Response, Route,
    data::ToByteUnit as _,
    http::{Method, Status},
    route::{Handler, Outcome},
};
use router_core::{Endpoint, Router, Secrets};
use tokio_util::io::ReaderStream;

#[derive(Clone)]
struct Webhook(Endpoint<Router>);

#[rocket::async_trait]
impl Handler for Webhook {
    /// Takes the raw `Data`. A `Json<T>` would not keep the signed bytes, and a `Vec<u8>` refuses
    /// more than 8 KiB. `receive_body` reads the body under the endpoint's limits.
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        let signature = request.headers().get_one("stripe-signature").map(str::as_bytes);
        // Rocket cuts off a body at this size without an error. The size is above the endpoint's
        // limit of 1 MiB, so the endpoint answers a larger body with 413.
        let stream = ReaderStream::new(data.open(2.mebibytes()));
        let body = StreamBody::new(stream.map_ok(Frame::data));
        let (answer, body) = self.0.receive_body(signature, body).await.into_parts();
        let mut response = Response::build();
        response.status(Status::new(answer.status.as_u16()));
        for (name, value) in &answer.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            response.raw_header_adjoin(name.to_string(), value);
        }
        Outcome::Success(response.sized_body(body.len(), Cursor::new(body)).finalize())
    }
}

#[rocket::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();

    let router = Router::builder().plugins([handlers::PLUGIN]).build()?;
    let endpoint = Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, router.clone());
    let route = Route::new(Method::Post, "/webhook", Webhook(endpoint));
    // Ends at SIGINT or SIGTERM. Rocket gives requests in flight 2 s for their answers; the setting
    // `shutdown.grace` raises that.
    rocket::build().mount("/", [route]).launch().await?;
    // Handlers may still be running for clients that disconnected.
    router.close();
    router.drained().await;
    Ok(())
}
