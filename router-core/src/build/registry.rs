//! The link-time registry of every `#[on_event]` function of every linked crate.
//!
//! No other module uses `inventory`.

use std::time::Duration;

pub use inventory::submit;

use crate::{
    delivery::DeliveryOrder,
    event::Event,
    extract::needs::{Need, Supplies},
    handler::{HandlerFuture, HandlerResult},
};

/// The registration of a handler, which `#[on_event]` submits to the registry.
///
/// The type is not generic, because `inventory` would collect all instances of a generic type in
/// one list.
#[derive(Debug)]
#[expect(missing_docs, reason = "only used by the macro and by `build`")]
pub struct Registration {
    pub package: &'static str,
    pub version: &'static str,
    /// The module path and the function's name. The default for the stable name.
    pub path: &'static str,
    pub function: &'static str,
    pub file: &'static str,
    pub line: u32,
    /// The first line of the function's documentation.
    pub doc: &'static str,
    pub name: Option<&'static str>,
    pub formerly: Option<&'static str>,
    pub handles: Handles,
    pub endpoint: Option<&'static str>,
    pub livemode: Option<bool>,
    pub order: i32,
    /// The maximum duration of a call. For a handler that replies, Stripe waits this long.
    pub timeout: Option<Duration>,
    pub replies: bool,
    pub default_reply: Option<fn() -> HandlerResult>,
    pub exclusive: bool,
    pub blocking: bool,
    pub delivered: DeliveryKeys,
    pub needs: fn(&mut Vec<Need>),
    pub call: LinkedCall,
}

/// The keys of `#[on_event]` for a service that stores deliveries and retries them.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "only used by the macro and by `build`")]
pub struct DeliveryKeys {
    pub order: Option<DeliveryOrder>,
    pub attempts: Option<u32>,
    pub backoff: Option<Duration>,
    pub max_backoff: Option<Duration>,
    pub concurrency: Option<u32>,
}

impl DeliveryKeys {
    /// Returns the names of the keys that are set, without `ordered`.
    pub(super) fn set_without_order(&self) -> Vec<&'static str> {
        let Self { order: _, attempts, backoff, max_backoff, concurrency } = self;
        let keys = [
            ("attempts", attempts.is_some()),
            ("backoff", backoff.is_some()),
            ("max_backoff", max_backoff.is_some()),
            ("concurrency", concurrency.is_some()),
        ];
        keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
    }
}

/// The generated function that calls a linked handler.
pub(crate) type LinkedCall = fn(Event, &mut Supplies<'_>) -> HandlerFuture;

/// The events that a handler is registered for.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "only used by the macro and by `build`")]
pub enum Handles {
    Patterns(&'static [&'static str]),
    /// Events that no other handler handles.
    Unhandled,
}

/// A function annotated with `#[on_event]`, as a type of the same name, which the macro generates.
///
/// Methods such as [`RouterBuilder::only`](crate::RouterBuilder::only) take it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "no function of this name has `#[on_event]`",
    note = "pass a function annotated with `#[on_event(...)]`, as in `.only::<fulfil>()`"
)]
pub trait Registered {
    #[doc(hidden)]
    const REGISTRATION: Registration;
}

inventory::collect!(Registration);

/// Returns every registration, in the linker's order, which may differ from build to build.
pub(crate) fn linked() -> impl Iterator<Item = &'static Registration> {
    inventory::iter::<Registration>()
}
