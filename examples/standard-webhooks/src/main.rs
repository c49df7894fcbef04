//! Webhooks of another provider on the same router. OpenAI signs them by the scheme of [Standard
//! Webhooks](https://www.standardwebhooks.com):
//! `OPENAI_WEBHOOK_SECRET=whsec_… cargo run -p example-standard-webhooks`.

use std::{env, error::Error, str, sync::Arc, time::Duration, time::UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::{extract::State, response::IntoResponse as _, response::Response, routing::post};
use router_core::endpoint::{Answer, Refusal};
use router_core::event::{AlreadyAuthenticated, Wrapper, decode_json};
use router_core::server::{Server, shutdown_signal};
use router_core::{BoxError, Event, Object, Router, on_event};
use standardwebhooks::Webhook;
use tower::ServiceExt as _;
use tower_http::timeout::TimeoutLayer;

#[cfg(test)]
mod tests;

/// The fields of a webhook's body that this program needs.
#[derive(serde::Deserialize)]
struct Body {
    r#type: String,
    created_at: u32,
    data: Data,
}

#[derive(serde::Deserialize)]
struct Data {
    id: Option<String>,
}

/// The object of the event is the whole body of the webhook.
#[on_event("openai.response.completed", unlisted, name = "responses.log")]
async fn log(body: Object<Body>) {
    tracing::info!(response = body.data.id, "response completed");
}

router_core::plugin!();

/// Verifies a request, and makes an event of it.
fn verified(webhook: &Webhook, headers: &HeaderMap, body: Bytes) -> Result<Event, BoxError> {
    // The crate subtracts this time, which can overflow and panic if it is negative.
    let time = headers.get("webhook-timestamp").ok_or("no webhook-timestamp")?;
    time.to_str()?.parse::<u32>()?;
    webhook.verify(&body, headers)?;
    // Unlike serde_json's own errors, those of `decode_json` show no values.
    let Body { r#type, created_at, data } = decode_json("body", str::from_utf8(&body)?)?;
    let id = headers.get("webhook-id").ok_or("no webhook-id")?.to_str()?;
    let created = UNIX_EPOCH + Duration::from_secs(created_at.into());
    let wrapper =
        Wrapper::new("openai", id, &r#type).created(created).object_id(data.id.as_deref());
    Ok(Event::wrapped(AlreadyAuthenticated::by_its_signature(body), wrapper)?)
}

async fn receive(
    State((webhook, router)): State<(Arc<Webhook>, Router)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match verified(&webhook, &headers, body) {
        Ok(event) => match router.oneshot(event).await {
            // 500 if a handler failed, so that the provider sends the webhook again.
            Ok(report) => Answer::from(report).into(),
            Err(error) => Refusal::unavailable(error).into(),
        },
        Err(error) => {
            tracing::warn!(%error, "request refused");
            (StatusCode::BAD_REQUEST, "not a valid webhook").into_response()
        }
    }
}

/// Anyone can send a body, and its signature can be checked only once all of it has arrived. axum
/// limits its size to 2 MB, and this layer the time. Handlers that have started keep running.
fn app(webhook: Webhook, router: Router, limit: Duration) -> axum::Router {
    let state = (Arc::new(webhook), router);
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, limit);
    axum::Router::new().route("/webhook/openai", post(receive)).layer(timeout).with_state(state)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let secret = env::var("OPENAI_WEBHOOK_SECRET")?;
    // The crate accepts an empty secret, with which anyone can sign.
    if matches!(&*secret, "" | "whsec_") {
        return Err("OPENAI_WEBHOOK_SECRET is empty".into());
    }
    let router = Router::builder().plugins([PLUGIN]).build()?;
    let app = app(Webhook::new(&secret)?, router.clone(), Duration::from_secs(30));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4242").await?;
    println!("listening on http://{}/webhook/openai", listener.local_addr()?);
    // Unlike `axum::serve`, it limits the number of connections and the time of a request's head.
    Server::new(app).serve(listener, shutdown_signal()?).await;
    router.close();
    router.drained().await;
    Ok(())
}
