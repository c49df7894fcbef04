//! The macros of router-core: `#[on_event]`, `#[on_unhandled]` and `#[derive(StripeObject)]`.
//!
//! An attribute is parsed (`parse.rs`), checked (`check.rs`) and expanded (`expand.rs`). `keys.rs`
//! has the tables of keys, and `values.rs` the parsers of their values. router-core re-exports the
//! macros and has their documentation.

mod check;
mod errors;
mod expand;
mod keys;
mod object;
mod parse;
mod values;

use proc_macro2::TokenStream;

use crate::{
    errors::Errors,
    parse::{Arguments, Function},
};

#[expect(missing_docs, reason = "documented where router-core re-exports it")]
#[proc_macro_attribute]
pub fn on_event(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    register("on_event", check::on_event, expand::on_event, arguments.into(), item.into()).into()
}

#[expect(missing_docs, reason = "documented where router-core re-exports it")]
#[proc_macro_attribute]
pub fn on_unhandled(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    let check = check::on_unhandled;
    register("on_unhandled", check, expand::on_unhandled, arguments.into(), item.into()).into()
}

#[expect(missing_docs, reason = "documented where router-core re-exports it")]
#[proc_macro_derive(StripeObject, attributes(stripe))]
pub fn stripe_object(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    object::derive(item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Returns the function unchanged, followed by its registration or by all compile errors.
fn register(
    attribute: &str,
    check: fn(&Arguments, &mut Errors),
    expand: fn(&Arguments, &Function) -> TokenStream,
    arguments: TokenStream,
    item: TokenStream,
) -> TokenStream {
    let mut errors = Errors::default();
    let arguments = parse::arguments(attribute, arguments, &mut errors);
    let function = errors.catch(parse::function(attribute, item.clone()));
    check(&arguments, &mut errors);
    if let Some(function) = &function {
        check::function(attribute, &arguments, function, &mut errors);
    }
    let generated = match (function, errors.finish()) {
        (_, Err(error)) => error.into_compile_error(),
        (Some(function), Ok(())) => expand(&arguments, &function),
        (None, Ok(())) => TokenStream::new(),
    };
    item.into_iter().chain(generated).collect()
}
