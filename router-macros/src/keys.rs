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
        Backoff, backoff, boolean, count, endpoint_name, flag, handler_name, integer, ordered,
        path, reply_function, timeout,
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

    /// Returns the keys that were given.
    fn given(&self) -> impl Iterator<Item = &Ident>;
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

            fn given(&self) -> impl Iterator<Item = &Ident> {
                [$(self.$field.as_ref().map(|given| &given.key)),*].into_iter().flatten()
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
        retry: retry("max_attempts = 12, backoff = \"15s\", max_backoff = \"12h\"") => retry,
        concurrency: count("4") => concurrency,
        blocking: flag() => blocking,
        unlisted: flag(),
        core("crate"): path("path::to::router_core"),
    }
}

keys! {
    /// The keys of the group `retry(…)`.
    RetryKeys => RetryOverrides {
        max_attempts: count("12") => max_attempts,
        backoff: backoff("\"15s\"") => backoff as Backoff,
        max_backoff: backoff("\"12h\"") => max_backoff as Backoff,
    }
}

/// Parses an item of an attribute or of a group of keys: a key and its value. `place` is the end of
/// the sentence "unknown key …".
pub(crate) fn parse_item<K: KeyTable>(
    keys: &mut K,
    place: &str,
    input: ParseStream<'_>,
) -> syn::Result<()> {
    if !input.peek(Ident::peek_any) {
        return Err(input.error(format!("expected one of the keys {}", names::<K>())));
    }
    let key = input.call(Ident::parse_any)?;
    if !keys.parse_value(&key, input)? {
        input.parse::<TokenStream>()?;
        let message = match nearest::<K>(&key.to_string()) {
            Some(nearest) => format!("unknown key `{key}`{place}; did you mean `{nearest}`?"),
            None => format!("unknown key `{key}`{place}; the keys are {}", names::<K>()),
        };
        return Err(Error::new(key.span(), message));
    }
    if input.is_empty() { Ok(()) } else { Err(input.error("expected a comma before this")) }
}

/// Returns the known key that is closest to an unknown one, if one is close.
fn nearest<K: KeyTable>(unknown: &str) -> Option<&'static str> {
    // A key without its first words, such as `attempts`, differs too much for `nearest_of`.
    let is_end = |name: &&&str| name.strip_suffix(unknown).is_some_and(|rest| rest.ends_with('_'));
    let longer = K::NAMES.iter().find(is_end);
    longer.copied().or_else(|| router_catalog::nearest_of(unknown, K::NAMES.iter().copied()))
}

fn names<K: KeyTable>() -> String {
    K::NAMES.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
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
    for item in items {
        let parser = |input: ParseStream<'_>| parse_item(&mut keys, &place, input);
        errors.catch(parser.parse2(item));
    }
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
