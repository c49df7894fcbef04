//! What the expansion of `#[on_event]` uses. No user does: it changes without notice.

pub use crate::{
    build::registry::{Registration, submit},
    event::Event,
    extract::FromEvent,
    handler::{HandlerFuture, IntoOutcome},
};
