//! HTTP in, HTTP out.

mod api_version;
mod limit;
mod refusal;
mod response;
mod secret_provider;
mod service;
mod walk;

pub use self::{
    refusal::Refusal,
    response::{Answer, Response},
    secret_provider::SecretProvider,
    service::Endpoint,
};
