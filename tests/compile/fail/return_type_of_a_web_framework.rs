use axum::response::IntoResponse;
use http::StatusCode;
use router_core::on_event;

#[on_event("invoice.paid")]
async fn status_error() -> Result<(), StatusCode> {
    Err(StatusCode::INTERNAL_SERVER_ERROR)
}

#[on_event("invoice.paid")]
async fn status() -> StatusCode {
    StatusCode::OK
}

#[on_event("invoice.paid")]
async fn opaque() -> impl IntoResponse {
    "handled"
}

#[on_event("invoice.paid")]
async fn html() -> Result<axum::response::Html<&'static str>, std::io::Error> {
    Ok(axum::response::Html("handled"))
}

fn main() {}
