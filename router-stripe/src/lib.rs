//! A small client of [Stripe's API](https://docs.stripe.com/api): any path, with retries, limits
//! and errors that name the request.
//!
//! ```no_run
//! use router_stripe::{ApiKey, Client};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder(ApiKey::from_env("STRIPE_API_KEY")?).build()?;
//! let response = client.get("/v1/invoices/in_1MtHbELkdIwHu7ix").account("acct_1").send().await?;
//! let invoice: serde_json::Value = response.json()?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Request`] is for one path of the API v1 or v2, and its [`Response`] has the JSON of the
//! body. [`Pages`] reads a list. An [`Error`] states the request, Stripe's message and Stripe's
//! request id. The [`Client`] retries failed requests and limits their time and number. The
//! extractor [`Fetched`] is the event's object in its current state.
//!
//! [`doctor`] compares the event types that a program handles with those that Stripe sends.
//! [`reconcile`] finds the events that Stripe could not deliver.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `inbox` | `reconcile::Reconcile`, which hands missed events to an inbox; needs Rust 1.94 |
//! | `testing` | `testing::StubStripe`, a stub of Stripe's API on a local port, with faults |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod api_key;
mod client;
pub mod doctor;
mod error;
mod fetched;
mod object_path;
mod pages;
pub mod reconcile;
mod request;
mod response;
#[cfg(feature = "testing")]
pub mod testing;

pub use self::{
    api_key::{ApiKey, ApiKeyError},
    client::{Client, ClientBuilder, ClientError},
    error::{Error, ErrorKind},
    fetched::Fetched,
    pages::Pages,
    request::Request,
    response::Response,
};
