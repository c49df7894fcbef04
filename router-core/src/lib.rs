#![doc = include_str!("docs/tour.md")]

mod build;
pub mod clock;
mod endpoint;
pub mod event;
mod extract;
mod handler;
#[doc(hidden)]
pub mod private;
mod routing;
#[cfg(feature = "server")]
pub mod server;
pub mod signature;
#[cfg(feature = "testing")]
pub mod testing;

#[doc = include_str!("docs/on_event.md")]
pub use router_macros::on_event;

pub use crate::{
    build::{BuildError, Place, Plugin, Problem, Route, RouterBuilder, Routes},
    endpoint::{Answer, Endpoint, Refusal, Response, SecretProvider},
    event::Event,
    extract::{FromEvent, Object},
    handler::{
        BoxError, Failure, Handler, HandlerFuture, HandlerReport, HandlerResult, IntoOutcome,
        Outcome, Report,
    },
    routing::{Closed, Router},
    signature::{Secrets, SigningSecret, Tolerance},
};
