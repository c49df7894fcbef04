//! The expansion does not violate lints that a strict crate enables.

#![forbid(unsafe_code, unused_must_use)]
#![deny(
    warnings,
    future_incompatible,
    keyword_idents,
    let_underscore,
    missing_debug_implementations,
    missing_docs,
    nonstandard_style,
    refining_impl_trait,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    unused
)]
#![deny(
    absolute_paths_not_starting_with_crate,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    let_underscore_drop,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_copy_implementations,
    non_ascii_idents,
    redundant_imports,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unused_crate_dependencies,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
// trybuild links dependencies that this file does not use.
#![allow(unused_crate_dependencies)]

use router_core::{Event, Failure, Object, Outcome, Router, on_event};

/// In a private module, and public.
mod orders {
    use super::{Event, Object, Outcome, on_event};

    /// Takes nothing.
    #[on_event("invoice.paid")]
    pub(crate) async fn paid() {}

    #[on_event("invoice.voided", "invoice.*", name = "orders.voided")]
    fn voided(_: Event, intent: Object<String>) -> Outcome {
        Outcome::ignored(intent.0)
    }
}

/// Says whether it worked.
#[on_event("*")]
async fn all(event: Event, _: Option<Object<()>>) -> Result<(), Failure> {
    let _length: i32 = event.id().parse()?;
    Ok(())
}

fn main() {
    assert_eq!(Router::builder().build().unwrap().routes().iter().count(), 4);
}
