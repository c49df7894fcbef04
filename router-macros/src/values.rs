//! The parsers of the keys' values. Each checks its tokens and returns the setting to generate.

use std::{num::NonZeroU32, time::Duration};

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use router_catalog::check_name;
use syn::{
    Error, LitBool, LitInt, LitStr, Path, Token,
    parse::{Parse, ParseStream},
    spanned::Spanned as _,
};

/// A setting, as an expression.
type Parsed = syn::Result<TokenStream>;

/// A wait between two attempts.
pub(crate) struct Backoff(pub(crate) Duration);

pub(crate) fn handler_name(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    valid_name(&assigned(key, example, input)?, "a handler's name", "for example \"orders.fulfil\"")
}

pub(crate) fn endpoint_name(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    let hint = "it is the name given with the endpoint's signing secret, as in `connect=whsec_…`";
    valid_name(&assigned(key, example, input)?, "an endpoint's name", hint)
}

pub(crate) fn boolean(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    assigned::<LitBool>(key, example, input).map(some)
}

pub(crate) fn integer(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    let number: LitInt = assigned(key, example, input)?;
    let message = format!("expected an integer from {} to {}", i32::MIN, i32::MAX);
    let error = |_| Error::new(number.span(), message);
    number.base10_parse::<i32>().map(|number| number.to_token_stream()).map_err(error)
}

pub(crate) fn count(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    let number: LitInt = assigned(key, example, input)?;
    let message = format!("expected an integer from 1 to {}", u32::MAX);
    let error = |_| Error::new(number.span(), message);
    number.base10_parse::<NonZeroU32>().map(|number| some(number.get())).map_err(error)
}

pub(crate) fn timeout(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    let (zero, examples) = ("the handler would always time out", "\"5s\", \"500ms\" or \"2m 30s\"");
    duration(&assigned(key, example, input)?, zero, examples).map(some_duration)
}

pub(crate) fn backoff(key: &Ident, example: &str, input: ParseStream<'_>) -> syn::Result<Backoff> {
    let (zero, examples) = ("without a wait all retries would run at once", "\"15s\" or \"12h\"");
    duration(&assigned(key, example, input)?, zero, examples).map(Backoff)
}

pub(crate) fn max_delay(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    let (zero, examples) = ("the handler could not return `Outcome::later`", "\"12h\" or \"7d\"");
    duration(&assigned(key, example, input)?, zero, examples).map(some_duration)
}

/// Parses the maximum time for which the answer to Stripe waits. Stripe Checkout waits
/// [at most 10 s][fulfillment] for the answer before it redirects the customer.
///
/// [fulfillment]: https://docs.stripe.com/checkout/fulfillment
pub(crate) fn answer_after(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    let literal: LitStr = assigned(key, example, input)?;
    let zero = "without the key, Stripe is answered at once";
    let time = duration(&literal, zero, "\"8s\" or \"2500ms\"")?;
    if time > Duration::from_secs(10) {
        let message = "must be at most 10s: Stripe Checkout waits no longer for the answer before it \
                       redirects the customer";
        return Err(Error::new(literal.span(), message));
    }
    Ok(some_duration(time))
}

pub(crate) fn path(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    assigned::<Path>(key, example, input).map(|path| path.to_token_stream())
}

/// Parses the path of a function that makes a reply.
pub(crate) fn reply_function(key: &Ident, example: &str, input: ParseStream<'_>) -> Parsed {
    let path: Path = assigned(key, example, input)?;
    Ok(some(quote_spanned!(path.span()=> || __router_core::default_reply(#path))))
}

/// Parses a key without a value.
pub(crate) fn flag(key: &Ident, _: &str, input: ParseStream<'_>) -> Parsed {
    if input.is_empty() {
        return Ok(quote!(true));
    }
    Err(input.error(format!("`{key}` takes no value: write only `{key}`")))
}

/// Parses `ordered`, or `ordered = "newest"`.
pub(crate) fn ordered(key: &Ident, _: &str, input: ParseStream<'_>) -> Parsed {
    if input.is_empty() {
        return Ok(some(quote!(__router_core::DeliveryOrder::OldestFirst)));
    }
    let equals: Option<Token![=]> = input.parse()?;
    let span = if input.is_empty() { key.span() } else { input.span() };
    match input.parse::<LitStr>() {
        Ok(order) if equals.is_some() && order.value() == "newest" => {
            Ok(some(quote!(__router_core::DeliveryOrder::NewestOnly)))
        }
        _ => Err(Error::new(
            span,
            "`ordered` has two forms: write `ordered` to deliver the oldest waiting event first, \
             or `ordered = \"newest\"` to deliver the newest one and skip older ones",
        )),
    }
}

/// Parses `= value`.
fn assigned<T: Parse>(key: &Ident, example: &str, input: ParseStream<'_>) -> syn::Result<T> {
    let message = format!("expected a value, for example `{key} = {example}`");
    let equals: Option<Token![=]> = input.parse()?;
    if equals.is_none() || input.is_empty() {
        return Err(Error::new(key.span(), message));
    }
    input.parse().map_err(|error| Error::new(error.span(), message))
}

/// Checks a name. `subject` and `hint` are parts of the error message.
fn valid_name(name: &LitStr, subject: &str, hint: &str) -> Parsed {
    match check_name(&name.value()) {
        Ok(()) => Ok(some(name)),
        Err(error) => Err(Error::new(name.span(), format!("{subject} {error}; {hint}"))),
    }
}

/// Parses a duration. `zero` is the consequence of a duration of zero.
fn duration(literal: &LitStr, zero: &str, examples: &str) -> syn::Result<Duration> {
    let message = match humantime::parse_duration(&literal.value()) {
        Ok(Duration::ZERO) => format!("must be greater than zero: {zero}"),
        Ok(duration) => return Ok(duration),
        Err(error) => format!("{error}; write a duration such as {examples}"),
    };
    Err(Error::new(literal.span(), message))
}

fn some(value: impl ToTokens) -> TokenStream {
    quote!(::core::option::Option::Some(#value))
}

fn some_duration(duration: Duration) -> TokenStream {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    some(quote!(::core::time::Duration::new(#seconds, #nanos)))
}

impl ToTokens for Backoff {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(some_duration(self.0));
    }
}
