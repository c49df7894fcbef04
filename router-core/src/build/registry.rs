//! The registry that the linker fills: every `#[on_event]` of every linked crate. The one file that
//! knows `inventory`.

pub use inventory::submit;

use crate::{event::Event, handler::HandlerFuture};

/// What `#[on_event]` puts beside a function: where it stands, what it handles, how to call it.
///
/// One concrete type: a generic one would share a single list between all its instances.
#[derive(Debug)]
#[expect(missing_docs, reason = "only the macro makes and only `build` reads one")]
pub struct Registration {
    pub package: &'static str,
    pub version: &'static str,
    pub function: &'static str,
    pub file: &'static str,
    pub line: u32,
    /// The first line of the function's documentation.
    pub doc: &'static str,
    /// The stable name.
    pub name: &'static str,
    pub patterns: &'static [&'static str],
    pub call: fn(Event) -> HandlerFuture,
}

inventory::collect!(Registration);

/// Every registration, in the order of the linker: different in each build.
pub(super) fn linked() -> impl Iterator<Item = &'static Registration> {
    inventory::iter::<Registration>()
}
