//! What can be found wrong before the compiler looks: each error on the user's own token.

use std::collections::HashSet;

use proc_macro2::Span;
use quote::ToTokens;
use router_catalog::Pattern;
use syn::{Error, FnArg, LitStr, Safety, Type};

use crate::{
    errors::Errors,
    parse::{Function, OnEvent},
};

pub(crate) fn attribute(attribute: &OnEvent, errors: &mut Errors) {
    // An item that could not be read was perhaps meant to be one.
    if attribute.patterns.is_empty() && errors.is_empty() {
        errors.push(Error::new(
            Span::call_site(),
            "say for which event types: `#[on_event(\"invoice.paid\")]`; several with commas \
             between; `customer.*` for all that begin so; `*` for every one",
        ));
    }
    let mut seen = HashSet::new();
    for literal in &attribute.patterns {
        let text = literal.value();
        if let Err(problem) = pattern(&text, attribute.unlisted.is_some()) {
            errors.push(Error::new(literal.span(), problem));
        } else if !seen.insert(text) {
            errors.push(Error::new(literal.span(), "this event type stands here twice"));
        }
    }
    if let Some(name) = &attribute.name {
        stable_name(name, errors);
    }
}

/// `unlisted` lets an event type pass that the catalogue does not know.
fn pattern(text: &str, unlisted: bool) -> Result<(), String> {
    let pattern = Pattern::parse(text).map_err(|error| error.to_string())?;
    if unlisted || !pattern.known().is_empty() {
        return Ok(());
    }
    let version = router_catalog::API_VERSION;
    match pattern {
        Pattern::Exact(_) => {
            let help = match router_catalog::nearest(text) {
                Some(nearest) => format!("did you mean \"{nearest}\"?\n"),
                None => String::new(),
            };
            Err(format!(
                "Stripe sends no event type \"{text}\" (as of API version {version})\n{help}\
                 if it is newer than that: `#[on_event(\"{text}\", unlisted)]`"
            ))
        }
        _ => Err(format!(
            "no event type of Stripe's begins with \"{}\" (as of API version {version})\n\
             if one is newer than that: `#[on_event(\"{text}\", unlisted)]`",
            text.trim_end_matches('*'),
        )),
    }
}

/// The name is kept in databases and shown in tables.
fn stable_name(name: &LitStr, errors: &mut Errors) {
    let text = name.value();
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        errors.push(Error::new(
            name.span(),
            "a handler's name is one word without white space, as in \"orders.fulfil\"",
        ));
    }
}

pub(crate) fn function(function: &Function, errors: &mut Errors) {
    let signature = &function.signature;
    let mut refuse = |what: &dyn ToTokens, why: &str| errors.push(Error::new_spanned(what, why));
    if let Some(receiver) = signature.receiver() {
        refuse(
            receiver,
            "`#[on_event]` goes over a free function: nobody is there to give `self`; what a \
             handler needs, it takes as arguments",
        );
    }
    if !signature.generics.params.is_empty() {
        refuse(
            &signature.generics.params,
            "a handler cannot be generic: nobody is there to choose the types",
        );
    }
    if let Some(where_clause) = &signature.generics.where_clause {
        refuse(where_clause, "a handler cannot have a `where` clause");
    }
    if let Some(constness) = &signature.constness {
        refuse(constness, "a handler cannot be `const`");
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        refuse(unsafety, "a handler cannot be `unsafe`: it is called with whatever comes");
    }
    if let Some(abi) = &signature.abi {
        refuse(abi, "a handler is a plain Rust function, without `extern`");
    }
    for argument in &signature.inputs {
        let FnArg::Typed(typed) = argument else { continue };
        match &*typed.ty {
            Type::ImplTrait(_) => {
                refuse(&typed.ty, "a handler's argument has a type of its own, not `impl …`");
            }
            Type::Reference(reference) => refuse(
                reference,
                "a handler's arguments are its own: take it without the `&`; an `Event` is cheap to clone",
            ),
            _ => {}
        }
    }
}
