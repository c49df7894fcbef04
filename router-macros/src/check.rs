//! Checks the parsed attribute and signature, and reports each error at the user's own token.

use std::collections::HashSet;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use router_catalog::Pattern;
use syn::{Attribute, Error, FnArg, Safety, Type};

use crate::{
    errors::Errors,
    parse::{self, Arguments, Function},
};

/// Checks the arguments of `#[on_event]`.
pub(crate) fn on_event(arguments: &Arguments, errors: &mut Errors) {
    // After a parse error the missing event type may be the item that failed to parse.
    if arguments.patterns.is_empty() && errors.is_empty() {
        errors.push(Error::new(
            Span::call_site(),
            "missing event type: write `#[on_event(\"invoice.paid\")]`; separate several with commas; \
             `customer.*` matches all event types with that prefix, `*` matches every event type",
        ));
    }
    let mut seen = HashSet::new();
    for given in &arguments.patterns {
        let text = match given {
            parse::Pattern::Literal(literal) => literal.value(),
            parse::Pattern::Constant(path) => path.to_token_stream().to_string(),
        };
        let problem = match given {
            parse::Pattern::Literal(_) => check_pattern(&text, arguments.keys.unlisted.is_some()),
            // The expansion checks the value when constants are evaluated.
            parse::Pattern::Constant(_) => Ok(()),
        };
        if let Err(problem) = problem {
            errors.push(Error::new_spanned(given, problem));
        } else if !seen.insert(text) {
            errors.push(Error::new_spanned(given, "duplicate event type"));
        }
    }
    check_keys(arguments, errors);
}

/// Checks the arguments of `#[on_unhandled]`.
pub(crate) fn on_unhandled(arguments: &Arguments, errors: &mut Errors) {
    for pattern in &arguments.patterns {
        let message = "`#[on_unhandled]` takes no event types, because it handles the events that no other \
                       handler takes; use `#[on_event(...)]` to handle certain event types";
        errors.push(Error::new_spanned(pattern, message));
    }
}

/// Checks that the keys do not contradict each other.
fn check_keys(arguments: &Arguments, errors: &mut Errors) {
    if let (Some(timeout), Some(_)) = (&arguments.keys.timeout, &arguments.keys.deadline) {
        let message = "a handler cannot have both: use `deadline` if it returns a `Reply`, otherwise `timeout`";
        errors.push(Error::new(timeout.key.span(), message));
    }
}

/// Checks a pattern. With `unlisted`, event types that the catalog does not know are valid too.
fn check_pattern(text: &str, unlisted: bool) -> Result<(), String> {
    let pattern = Pattern::parse(text).map_err(|error| error.to_string())?;
    if unlisted || !pattern.known().is_empty() {
        return Ok(());
    }
    let version = router_catalog::API_VERSION;
    match pattern {
        Pattern::Exact(_) => {
            let suggestion = match router_catalog::nearest(text) {
                Some(nearest) => format!("did you mean \"{nearest}\"?\n"),
                None => String::new(),
            };
            Err(format!(
                "Stripe sends no event type \"{text}\" (as of API version {version})\n{suggestion}\
                 if it is newer, write `#[on_event(\"{text}\", unlisted)]`"
            ))
        }
        _ => Err(format!(
            "Stripe sends no event type that begins with \"{}\" (as of API version {version})\n\
             if one is newer, write `#[on_event(\"{text}\", unlisted)]`",
            text.trim_end_matches('*'),
        )),
    }
}

/// Checks the function's signature.
pub(crate) fn function(
    attribute: &str,
    arguments: &Arguments,
    function: &Function,
    errors: &mut Errors,
) {
    let signature = &function.signature;
    let mut reject =
        |tokens: &dyn ToTokens, message: &str| errors.push(Error::new_spanned(tokens, message));
    for second in &function.attributes {
        if let Some(message) = check_second(attribute, second) {
            reject(second, message);
        }
    }
    if let Some(receiver) = signature.receiver() {
        let message = format!(
            "`#[{attribute}]` cannot be applied to a method, because the router has no `self` to call \
             it with: use a free function that takes what it needs as arguments"
        );
        reject(receiver, &message);
    }
    if let (Some(blocking), Some(_)) = (&arguments.keys.blocking, &signature.asyncness) {
        reject(
            &blocking.key,
            "`blocking` requires a plain `fn`, which then runs on a thread that may block; an \
             `async fn` must not block: remove `blocking` or `async`",
        );
    }
    if !signature.generics.params.is_empty() {
        reject(
            &signature.generics.params,
            "a handler cannot be generic: the router cannot infer the type parameters",
        );
    }
    if let Some(where_clause) = &signature.generics.where_clause {
        reject(where_clause, "a handler cannot have a `where` clause");
    }
    if let Some(constness) = &signature.constness {
        reject(constness, "a handler cannot be `const`");
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        reject(unsafety, "a handler cannot be `unsafe`: the router calls it from safe code");
    }
    if let Some(abi) = &signature.abi {
        reject(abi, "a handler cannot be `extern`: write a plain Rust function");
    }
    for argument in &signature.inputs {
        let FnArg::Typed(typed) = argument else { continue };
        match &*typed.ty {
            Type::ImplTrait(_) => {
                reject(&typed.ty, "a handler's argument must have a named type, not `impl …`");
            }
            Type::Reference(reference) => reject(
                reference,
                "a handler takes its arguments by value: remove the `&`; an `Event` is cheap to clone",
            ),
            ty => {
                if let Some(lifetime) = find_lifetime(ty.to_token_stream()) {
                    reject(
                        &lifetime,
                        "a handler's arguments cannot borrow: use a type without a lifetime, for \
                         example with `String` instead of `&str`",
                    );
                }
            }
        }
    }
}

/// Returns the error for a further handler attribute on the function. Each attribute would define
/// the handler's hidden type again.
fn check_second(attribute: &str, second: &Attribute) -> Option<&'static str> {
    let name = second.path().segments.last()?.ident.to_string();
    match (attribute, name.as_str()) {
        ("on_event", "on_event") => Some(
            "a function can have only one `#[on_event]`: list all event types in it, as in \
             `#[on_event(\"invoice.paid\", \"charge.failed\")]`; if the keys differ, write a second \
             function that calls this one",
        ),
        ("on_event" | "on_unhandled", "on_event" | "on_unhandled") => Some(
            "a function can have only one `#[on_event]` or `#[on_unhandled]`: write a second \
             function that calls this one",
        ),
        _ => None,
    }
}

/// Returns whether a type contains an `impl …`.
pub(crate) fn has_impl(ty: &Type) -> bool {
    fn search(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(ident) => ident == "impl",
            TokenTree::Group(group) => search(group.stream()),
            _ => false,
        })
    }
    search(ty.to_token_stream())
}

/// Returns the first lifetime in a type other than `'static`.
fn find_lifetime(tokens: TokenStream) -> Option<TokenStream> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match (token, tokens.peek()) {
            (TokenTree::Group(group), _) => {
                if let Some(lifetime) = find_lifetime(group.stream()) {
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
