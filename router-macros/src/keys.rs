//! The keys of the attributes, in two tables. Parsing, the lists in error messages and expansion
//! are generated from them.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Error,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
};

use crate::{
    errors::Errors,
    values::{
        Backoff, answer_after, backoff, boolean, count, endpoint_name, flag, handler_name, integer,
        max_delay, ordered, path, reply_function, timeout,
    },
};

/// A key that was given, with its value.
pub(crate) struct Given<V> {
    pub(crate) key: Ident,
    pub(crate) value: V,
}

/// A table of keys, declared with `keys!`. Expands to the struct of router-core with the settings
/// that were given.
pub(crate) trait KeyTable: Default + ToTokens {
    const NAMES: &'static [&'static str];

    /// Parses the value after the key, and stores it. Returns `false` if the key is unknown.
    fn parse_value(&mut self, key: &Ident, input: ParseStream<'_>) -> syn::Result<bool>;
}

/// Declares a table, which expands to a struct of router-core. In a row:
///
/// - the field of the table, with the key's name; if the names differ, the key's is in parentheses
/// - the parser of the value, with an example for error messages
/// - `=> …`: the field of the struct of router-core
/// - `as …`: the type of the value, if the parser does not return tokens
macro_rules! keys {
    ($(#[$doc:meta])* $Table:ident => $Settings:ident {
        $(
            $field:ident $(($name:literal))?: $parse:ident($($example:literal)?)
                $(=> $setting:ident)? $(as $Value:ty)?,
        )*
    }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(crate) struct $Table {
            $(pub(crate) $field: Option<Given<keys!(@type $($Value)?)>>,)*
        }

        impl KeyTable for $Table {
            const NAMES: &'static [&'static str] = &[$(keys!(@name $field $($name)?)),*];

            fn parse_value(&mut self, key: &Ident, input: ParseStream<'_>) -> syn::Result<bool> {
                $(if key == keys!(@name $field $($name)?) {
                    let value = $parse(key, concat!($($example)?), input)?;
                    return match self.$field.replace(Given { key: key.clone(), value }) {
                        None => Ok(true),
                        Some(_) => Err(Error::new(key.span(), format!("duplicate key `{key}`"))),
                    };
                })*
                Ok(false)
            }
        }

        impl ToTokens for $Table {
            fn to_tokens(&self, tokens: &mut TokenStream) {
                let mut fields = TokenStream::new();
                $($(if let Some(Given { value, .. }) = &self.$field {
                    fields.extend(quote!($setting: #value,));
                })?)*
                tokens.extend(quote! {
                    __router_core::$Settings { #fields ..__router_core::$Settings::DEFAULT }
                });
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (@type) => { TokenStream };
    (@type $Value:ty) => { $Value };
}

keys! {
    /// The keys of `#[on_event]` and `#[on_unhandled]`.
    HandlerKeys => HandlerSettings {
        name: handler_name("\"orders.fulfil\"") => name,
        formerly: handler_name("\"old::path\"") => formerly,
        endpoint: endpoint_name("\"connect\"") => endpoint,
        livemode: boolean("true") => livemode,
        order: integer("10") => order,
        timeout: timeout("\"5s\"") => timeout,
        deadline: timeout("\"1s\"") => timeout,
        default_reply: reply_function("path::to::function") => default_reply,
        exclusive: flag() => exclusive,
        ordered: ordered() => ordered,
        retry: retry("max_attempts = 12, backoff = \"15s\", max_backoff = \"12h\", max_delay = \"7d\"") => retry,
        concurrency: count("4") => concurrency,
        answer_after: answer_after("\"8s\"") => answer_after,
        blocking: flag() => blocking,
        observer: flag() => observer,
        unlisted: flag(),
        core("crate"): path("path::to::router_core"),
    }
}

/// The keys of `#[on_unhandled]`.
pub(crate) const UNHANDLED_KEYS: &[&str] = &["name", "timeout", "blocking", "crate"];

keys! {
    /// The keys of the group `retry(…)`.
    RetryKeys => RetryOverrides {
        max_attempts: count("12") => max_attempts,
        backoff: backoff("\"15s\"") => backoff as Backoff,
        max_backoff: backoff("\"12h\"") => max_backoff as Backoff,
        max_delay: max_delay("\"7d\"") => max_delay,
    }
}

/// Parses the items between the commas, and records an error for each invalid one.
pub(crate) fn parse_items(
    items: Vec<TokenStream>,
    errors: &mut Errors,
    mut parse: impl FnMut(ParseStream<'_>) -> syn::Result<()>,
) {
    for item in items {
        let parser = |input: ParseStream<'_>| {
            parse(input)?;
            if input.is_empty() { Ok(()) } else { Err(input.error("expected a comma before this")) }
        };
        errors.catch(parser.parse2(item));
    }
}

/// Parses a key and its value. `names` are the keys of the table that are accepted here. `place` is
/// the end of the sentence "unknown key …".
pub(crate) fn parse_key(
    keys: &mut impl KeyTable,
    names: &[&'static str],
    place: &str,
    input: ParseStream<'_>,
) -> syn::Result<()> {
    let list = || names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if !input.peek(Ident::peek_any) {
        return Err(input.error(format!("expected one of the keys {}", list())));
    }
    let key = input.call(Ident::parse_any)?;
    if names.iter().any(|name| key == name) && keys.parse_value(&key, input)? {
        return Ok(());
    }
    input.parse::<TokenStream>()?;
    let message = match nearest(&key.to_string(), names) {
        Some(nearest) => format!("unknown key `{key}`{place}; did you mean `{nearest}`?"),
        None => format!("unknown key `{key}`{place}; the keys are {}", list()),
    };
    Err(Error::new(key.span(), message))
}

/// Returns the known key that is closest to an unknown one, if one is close.
fn nearest(unknown: &str, names: &[&'static str]) -> Option<&'static str> {
    // A key without its first words, such as `attempts`, differs too much for `nearest_of`.
    let is_end = |name: &&&str| name.strip_suffix(unknown).is_some_and(|rest| rest.ends_with('_'));
    let longer = names.iter().find(is_end);
    longer.copied().or_else(|| router_catalog::nearest_of(unknown, names.iter().copied()))
}

/// Parses the keys in `retry(…)`, and reports all errors in them.
fn retry(key: &Ident, example: &str, input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let span = if input.is_empty() { key.span() } else { input.span() };
    let items = match input.parse::<Group>() {
        Ok(group) if group.delimiter() == Delimiter::Parenthesis => split_at_commas(group.stream()),
        _ => Vec::new(),
    };
    if items.is_empty() {
        let message = format!("expected keys in parentheses, for example `{key}({example})`");
        return Err(Error::new(span, message));
    }
    let (mut keys, mut errors) = (RetryKeys::default(), Errors::default());
    let place = format!(" in `{key}`");
    parse_items(items, &mut errors, |input| parse_key(&mut keys, RetryKeys::NAMES, &place, input));
    if let (Some(initial), Some(max)) = (&keys.backoff, &keys.max_backoff)
        && max.value.0 < initial.value.0
    {
        let message = "`max_backoff` is shorter than `backoff`: increase it or remove it";
        errors.push(Error::new(max.key.span(), message));
    }
    errors.finish().map(|()| keys.to_token_stream())
}

/// Splits the tokens at top-level commas, so that an invalid item does not affect the next one.
pub(crate) fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut items = vec![TokenStream::new()];
    for token in tokens {
        match (&token, items.last_mut()) {
            (TokenTree::Punct(punct), _) if punct.as_char() == ',' => {
                items.push(TokenStream::new());
            }
            (_, Some(item)) => item.extend([token]),
            (_, None) => {}
        }
    }
    items.retain(|item| !item.is_empty());
    items
}
