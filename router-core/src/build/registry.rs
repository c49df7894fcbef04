//! The registry that the linker fills: every `#[on_event]` of every linked crate. The one file that
//! knows `inventory`.

use std::time::Duration;

pub use inventory::submit;

use crate::{
    event::Event,
    extract::needs::{Need, Supplies},
    handler::{HandlerFuture, HandlerResult},
};

/// What `#[on_event]` puts beside a function: where it stands, what it handles, how to call it.
///
/// One concrete type: a generic one would share a single list between all its instances.
#[derive(Debug)]
#[expect(missing_docs, reason = "only the macro makes and only `build` reads one")]
pub struct Registration {
    pub package: &'static str,
    pub version: &'static str,
    /// Module path and function: the stable name, unless another is given.
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
    /// The deadline, of one that replies.
    pub timeout: Option<Duration>,
    pub replies: bool,
    pub default_reply: Option<fn() -> HandlerResult>,
    pub exclusive: bool,
    pub blocking: bool,
    pub delivered: DeliveryKeys,
    pub needs: fn(&mut Vec<Need>),
    pub call: LinkedCall,
}

/// The keys that are for whoever keeps deliveries and tries them again.
#[derive(Debug, Clone, Copy, Default)]
#[expect(missing_docs, reason = "only the macro makes and only `build` reads one")]
pub struct DeliveryKeys {
    pub ordered: bool,
    pub attempts: Option<u32>,
    pub backoff: Option<Duration>,
    pub max_backoff: Option<Duration>,
    pub concurrency: Option<u32>,
}

/// How a linked handler is called.
pub(crate) type LinkedCall = fn(Event, &mut Supplies<'_>) -> HandlerFuture;

/// What a handler is for.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "only the macro makes and only `build` reads one")]
pub enum Handles {
    Patterns(&'static [&'static str]),
    /// Events that no other handler is for.
    Unhandled,
}

/// A function under `#[on_event]`, as a type: the macro makes one of the function's name.
///
/// [`RouterBuilder::only`](crate::RouterBuilder::only) and its like take it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "no `#[on_event]` stands over a function of this name",
    note = "name a function that has `#[on_event(...)]` over it, as in `.only::<fulfil>()`"
)]
pub trait Registered {
    #[doc(hidden)]
    const REGISTRATION: Registration;
}

inventory::collect!(Registration);

/// Every registration, in the order of the linker: different in each build.
pub(crate) fn linked() -> impl Iterator<Item = &'static Registration> {
    inventory::iter::<Registration>()
}
