//! The HTTP endpoint: from a request to a verified event, and from its outcome to a response.

mod api_version;
mod body;
mod budget;
mod event_service;
mod limit;
mod pipeline;
mod refusal;
mod request_facts;
mod response;
mod secret_provider;
mod service;

#[cfg(feature = "server")]
pub(crate) use self::pipeline::Authentic;
pub use self::{
    body::FullBody,
    event_service::EventService,
    refusal::Refusal,
    response::{Answer, Response},
    secret_provider::SecretProvider,
    service::Endpoint,
};
