//! What can be found wrong before the compiler looks: each error on the user's own token.

use std::{collections::HashSet, num::NonZeroU32, time::Duration};

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use router_catalog::Pattern;
use syn::{Error, FnArg, LitStr, Safety, Type};

use crate::{
    errors::Errors,
    parse::{self, Arguments, Function},
};

/// The arguments of `#[on_event]`.
pub(crate) fn on_event(arguments: &Arguments, errors: &mut Errors) {
    // An item that could not be read was perhaps meant to be one.
    if arguments.patterns.is_empty() && errors.is_empty() {
        errors.push(Error::new(
            Span::call_site(),
            "say for which event types: `#[on_event(\"invoice.paid\")]`; several with commas \
             between; `customer.*` for all that begin so; `*` for every one",
        ));
    }
    let mut seen = HashSet::new();
    for given in &arguments.patterns {
        let text = match given {
            parse::Pattern::Literal(literal) => literal.value(),
            parse::Pattern::Constant(path) => path.to_token_stream().to_string(),
        };
        let problem = match given {
            parse::Pattern::Literal(_) => pattern(&text, arguments.unlisted.is_some()),
            // Its value is looked at when constants are evaluated.
            parse::Pattern::Constant(_) => Ok(()),
        };
        if let Err(problem) = problem {
            errors.push(Error::new_spanned(given, problem));
        } else if !seen.insert(text) {
            errors.push(Error::new_spanned(given, "this event type stands here twice"));
        }
    }
    keys(arguments, errors);
}

/// The arguments of `#[on_unhandled]`, which has fewer keys.
pub(crate) fn on_unhandled(arguments: &Arguments, errors: &mut Errors) {
    let Arguments {
        patterns,
        endpoint,
        livemode,
        order,
        deadline,
        default_reply,
        exclusive,
        ordered,
        formerly,
        attempts,
        backoff,
        max_backoff,
        concurrency,
        unlisted,
        ..
    } = arguments;
    let mut refuse = |what: &dyn ToTokens, why: &str| errors.push(Error::new_spanned(what, why));
    for pattern in patterns {
        refuse(
            pattern,
            "`#[on_unhandled]` is for what no handler is for, so it names no event types; \
             `#[on_event(...)]` does",
        );
    }
    let strange = "`#[on_unhandled]` has only the keys `name`, `timeout`, `blocking` and `crate`";
    let keys_given = [
        endpoint.as_ref().map(|key| key as &dyn ToTokens),
        livemode.as_ref().map(|key| key as _),
        order.as_ref().map(|key| key as _),
        deadline.as_ref().map(|key| key as _),
        default_reply.as_ref().map(|key| key as _),
        exclusive.as_ref().map(|key| key as _),
        ordered.as_ref().map(|key| key as _),
        formerly.as_ref().map(|key| key as _),
        attempts.as_ref().map(|key| key as _),
        backoff.as_ref().map(|key| key as _),
        max_backoff.as_ref().map(|key| key as _),
        concurrency.as_ref().map(|key| key as _),
        unlisted.as_ref().map(|key| key as _),
    ];
    keys_given.into_iter().flatten().for_each(|key| refuse(key, strange));
    keys(arguments, errors);
}

fn keys(arguments: &Arguments, errors: &mut Errors) {
    for name in arguments.name.iter().chain(&arguments.formerly) {
        word(
            name,
            "a handler's name is one word without white space, as in \"orders.fulfil\"",
            errors,
        );
    }
    if let Some(endpoint) = &arguments.endpoint {
        let message = "an endpoint's name is one word without white space: the one that its secret \
                       was given, as in `connect=whsec_…`";
        word(endpoint, message, errors);
    }
    for time in arguments.timeout.iter().chain(&arguments.deadline) {
        if let Err(message) = self::time(time) {
            errors.push(Error::new(time.span(), message));
        }
    }
    for wait in arguments.backoff.iter().chain(&arguments.max_backoff) {
        if let Err(message) = backoff(wait) {
            errors.push(Error::new(wait.span(), message));
        }
    }
    if let (Some(first), Some(most)) = (&arguments.backoff, &arguments.max_backoff)
        && let (Ok(wait), Ok(at_most)) = (backoff(first), backoff(most))
        && at_most < wait
    {
        let message =
            "this is less than `backoff`, the shortest wait: make it longer, or take it away";
        errors.push(Error::new(most.span(), message));
    }
    for number in arguments.attempts.iter().chain(&arguments.concurrency) {
        if number.base10_parse::<NonZeroU32>().is_err() {
            errors.push(Error::new(number.span(), "write a number from 1 on"));
        }
    }
    if let (Some(timeout), Some(_)) = (&arguments.timeout, &arguments.deadline) {
        let message = "a handler has a `deadline` if it replies to Stripe, and a `timeout` if not: take away one";
        errors.push(Error::new(timeout.span(), message));
    }
}

/// The time that a `backoff` or a `max_backoff` gives.
pub(crate) fn backoff(literal: &LitStr) -> Result<Duration, String> {
    match humantime::parse_duration(&literal.value()) {
        Ok(Duration::ZERO) => {
            Err("without a wait every attempt is made at once, and none of them helps".to_owned())
        }
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; write a time as in \"15s\" or \"12h\"")),
    }
}

/// The time that a `timeout` or a `deadline` gives.
pub(crate) fn time(literal: &LitStr) -> Result<Duration, String> {
    match humantime::parse_duration(&literal.value()) {
        Ok(Duration::ZERO) => Err("a handler with no time at all would never be done".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; write a time as in \"5s\", \"500ms\" or \"2m 30s\"")),
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

/// A name that is kept in databases and shown in tables.
fn word(name: &LitStr, message: &str, errors: &mut Errors) {
    let text = name.value();
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        errors.push(Error::new(name.span(), message));
    }
}

pub(crate) fn function(
    attribute: &str,
    arguments: &Arguments,
    function: &Function,
    errors: &mut Errors,
) {
    let signature = &function.signature;
    let mut refuse = |what: &dyn ToTokens, why: &str| errors.push(Error::new_spanned(what, why));
    if let Some(receiver) = signature.receiver() {
        let message = format!(
            "`#[{attribute}]` goes over a free function: nobody is there to give `self`; what a \
             handler needs, it takes as arguments"
        );
        refuse(receiver, &message);
    }
    if let (Some(blocking), Some(_)) = (&arguments.blocking, &signature.asyncness) {
        refuse(
            blocking,
            "`blocking` is for a plain `fn`, which then runs where it may block; an `async fn` must not block: \
             take away one of the two",
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
            ty => {
                if let Some(lifetime) = lifetime(ty.to_token_stream()) {
                    refuse(
                        &lifetime,
                        "a handler's arguments are its own and borrow nothing: take a type without \
                         a lifetime, with `String` where it has `&str`",
                    );
                }
            }
        }
    }
}

/// Whether there is an `impl …` in a type.
pub(crate) fn has_impl(ty: &Type) -> bool {
    fn search(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(word) => word == "impl",
            TokenTree::Group(group) => search(group.stream()),
            _ => false,
        })
    }
    search(ty.to_token_stream())
}

/// The first lifetime in a type that does not live for ever.
fn lifetime(tokens: TokenStream) -> Option<TokenStream> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match (token, tokens.peek()) {
            (TokenTree::Group(group), _) => {
                if let Some(lifetime) = lifetime(group.stream()) {
                    return Some(lifetime);
                }
            }
            (TokenTree::Punct(quote), Some(name))
                if quote.as_char() == '\'' && name.to_string() != "static" =>
            {
                return Some([TokenTree::Punct(quote), name.clone()].into_iter().collect());
            }
            _ => {}
        }
    }
    None
}
