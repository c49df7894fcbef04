//! Writes the registration that stands beside the function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Expr, ExprLit, FnArg, Lit, Meta, ReturnType, Type, ext::IdentExt as _,
    spanned::Spanned as _,
};

use crate::parse::{Function, OnEvent};

pub(crate) fn registration(attribute: &OnEvent, function: &Function) -> TokenStream {
    let core = attribute.core.as_ref().map_or_else(|| quote!(::router_core), |path| quote!(#path));
    let ident = &function.signature.ident;
    let patterns = &attribute.patterns;
    let function_name = ident.unraw().to_string();
    let name = match &attribute.name {
        Some(name) => quote!(#name),
        None => quote!(::core::concat!(::core::module_path!(), "::", #function_name)),
    };
    let doc = first_doc_line(&function.attributes);
    let cfgs = function.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let caller = caller(function);

    quote! {
        #(#cfgs)*
        const _: () = {
            // Named once, so that a path that leads nowhere is one error.
            use #core::private as __router_core;

            #caller

            __router_core::submit! {
                __router_core::Registration {
                    package: ::core::env!("CARGO_PKG_NAME"),
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    function: #function_name,
                    file: ::core::file!(),
                    line: ::core::line!(),
                    doc: #doc,
                    name: #name,
                    patterns: &[#(#patterns),*],
                    call: __router_core_call,
                }
            }
        };
    }
}

/// The function that makes the arguments and calls the handler. What the compiler checks here
/// carries the spans of what the user wrote, so that its errors point there.
fn caller(function: &Function) -> TokenStream {
    let ident = &function.signature.ident;
    // Local names that no name of the user's can be mistaken for.
    let event = Ident::new("event", Span::mixed_site());
    let types = function.signature.inputs.iter().filter_map(|argument| match argument {
        FnArg::Typed(typed) => Some(&*typed.ty),
        FnArg::Receiver(_) => None,
    });
    let arguments: Vec<(Ident, TokenStream)> = types
        .enumerate()
        .map(|(index, ty)| {
            let argument = Ident::new(&format!("argument_{index}"), Span::mixed_site());
            let make = extraction(&argument, ty, &event);
            (argument, make)
        })
        .collect();
    let names = arguments.iter().map(|(name, _)| name);
    let makes = arguments.iter().map(|(_, make)| make);
    let wait = function.signature.asyncness.map(|_| quote_spanned!(ident.span()=> .await));
    let call = quote_spanned!(ident.span()=> #ident(#(#names),*)#wait);
    let outcome = outcome(&function.signature.output, ident, &call);
    let boxed = quote_spanned! {ident.span()=>
        ::std::boxed::Box::pin(async move {
            #(#makes)*
            #outcome
        })
    };
    quote! {
        #[allow(deprecated, unused_variables, clippy::unit_arg, clippy::let_unit_value)]
        fn __router_core_call(#event: __router_core::Event) -> __router_core::HandlerFuture {
            #boxed
        }
    }
}

/// `let argument = …` for one argument, every token where its type begins: two places would be two
/// errors for one mistake.
fn extraction(argument: &Ident, ty: &Type, event: &Ident) -> TokenStream {
    quote_spanned! {ty.span()=>
        let #argument = match <#ty as __router_core::FromEvent>::from_event(&#event).await {
            ::core::result::Result::Ok(#argument) => #argument,
            ::core::result::Result::Err(failure) => return ::core::result::Result::Err(failure),
        };
    }
}

/// The outcome of the call, checked where the return type begins. As a function of its own, because
/// in a call the compiler would point at the argument.
fn outcome(output: &ReturnType, ident: &Ident, call: &TokenStream) -> TokenStream {
    let span = match output {
        ReturnType::Default => ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let into_outcome = Ident::new("into_outcome", Span::mixed_site());
    let path = quote_spanned!(span=> __router_core::IntoOutcome::into_outcome);
    quote! {
        let #into_outcome: fn(_) -> _ = #path;
        #into_outcome(#call)
    }
}

fn first_doc_line(attributes: &[Attribute]) -> String {
    let first = attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    first.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}
