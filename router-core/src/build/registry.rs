//! The link-time registry of every `#[on_event]` function of every linked crate.
//!
//! No other module uses `inventory`.

pub use inventory::submit;

use crate::{
    event::Event,
    extract::needs::{Need, Supplies},
    handler::{HandlerFuture, HandlerSettings},
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
    pub handles: Handles,
    pub replies: bool,
    pub settings: HandlerSettings,
    pub needs: fn(&mut Vec<Need>),
    pub call: LinkedCall,
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
/// Methods such as [`RouterBuilder::only`](crate::build::RouterBuilder::only) take it.
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
