//! The `#[on_event]` attribute of router-core: parse, check, expand, a file each. Its documentation
//! is in router-core, where users meet it.

mod check;
mod errors;
mod expand;
mod parse;

use proc_macro::TokenStream;

#[expect(missing_docs, reason = "router-core documents it, where users meet it")]
#[proc_macro_attribute]
pub fn on_event(attribute: TokenStream, item: TokenStream) -> TokenStream {
    on_event_tokens(attribute.into(), item.into()).into()
}

/// The function as it was written, and beside it its registration, or everything that is wrong.
fn on_event_tokens(
    attribute: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> proc_macro2::TokenStream {
    let mut errors = errors::Errors::default();
    let attribute = parse::attribute(attribute, &mut errors);
    let function = errors.catch(parse::function(item.clone()));
    check::attribute(&attribute, &mut errors);
    if let Some(function) = &function {
        check::function(function, &mut errors);
    }
    let beside = match (function, errors.finish()) {
        (_, Err(error)) => error.into_compile_error(),
        (Some(function), Ok(())) => expand::registration(&attribute, &function),
        (None, Ok(())) => proc_macro2::TokenStream::new(),
    };
    item.into_iter().chain(beside).collect()
}
