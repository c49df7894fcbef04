use axum::extract::Request;
use router_core::on_event;

struct Db;

#[on_event("invoice.paid")]
async fn state(_: axum::extract::State<Db>) {}

#[on_event("invoice.paid")]
async fn extension(_: axum::Extension<Db>) {}

#[on_event("invoice.paid")]
async fn request(_: Request) {}

#[on_event("invoice.paid")]
async fn headers(_: http::HeaderMap) {}

fn main() {}
