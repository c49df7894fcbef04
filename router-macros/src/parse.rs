//! Reads the attribute and the function's signature. Never the function's body: it may be
//! half-typed, and what is wrong with it is for the compiler to say.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::{
    Attribute, Ident, LitStr, Path, Signature, Token, Visibility,
    ext::IdentExt as _,
    parse::{Parse, ParseStream, Parser as _},
};

use crate::errors::Errors;

/// What stands in the brackets: event types, and keys.
#[derive(Default)]
pub(crate) struct OnEvent {
    pub(crate) patterns: Vec<LitStr>,
    pub(crate) name: Option<LitStr>,
    pub(crate) unlisted: Option<Ident>,
    pub(crate) core: Option<Path>,
}

/// The function under the attribute.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) signature: Signature,
}

const KEYS: [&str; 3] = ["name", "unlisted", "crate"];

enum Item {
    Pattern(LitStr),
    Name(Ident, LitStr),
    Unlisted(Ident),
    Crate(Ident, Path),
}

/// Reads every item that can be read, and notes what is wrong with the others.
pub(crate) fn attribute(tokens: TokenStream, errors: &mut Errors) -> OnEvent {
    let mut attribute = OnEvent::default();
    for item in split_at_commas(tokens) {
        match errors.catch(syn::parse2(item)) {
            None => {}
            Some(Item::Pattern(pattern)) => attribute.patterns.push(pattern),
            Some(Item::Name(key, name)) => set(&mut attribute.name, &key, name, errors),
            Some(Item::Unlisted(key)) => set(&mut attribute.unlisted, &key.clone(), key, errors),
            Some(Item::Crate(key, path)) => set(&mut attribute.core, &key, path, errors),
        }
    }
    attribute
}

pub(crate) fn function(tokens: TokenStream) -> syn::Result<Function> {
    let is_fn = |token: TokenTree| matches!(token, TokenTree::Ident(word) if word == "fn");
    if !tokens.clone().into_iter().any(is_fn) {
        return Err(syn::Error::new_spanned(
            tokens,
            "`#[on_event]` goes over a free `fn` or `async fn`",
        ));
    }
    let parser = |input: ParseStream<'_>| {
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let signature = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(Function { attributes, signature })
    };
    parser.parse2(tokens)
}

fn set<T>(slot: &mut Option<T>, key: &Ident, value: T, errors: &mut Errors) {
    if slot.replace(value).is_some() {
        errors.push(syn::Error::new(key.span(), format!("`{key}` stands here twice")));
    }
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let item = Self::first(input)?;
        if input.is_empty() {
            return Ok(item);
        }
        Err(input.error(match item {
            Self::Unlisted(_) => "write `unlisted` alone: it takes no value",
            _ => "a comma is missing before this",
        }))
    }
}

impl Item {
    fn first(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitStr) {
            return Ok(Self::Pattern(input.parse()?));
        }
        if !input.peek(Ident::peek_any) {
            return Err(input
                .error("expected an event type in quotes, as in `#[on_event(\"invoice.paid\")]`"));
        }
        let key = input.call(Ident::parse_any)?;
        match key.to_string().as_str() {
            "unlisted" => Ok(Self::Unlisted(key)),
            "name" => Ok(Self::Name(key.clone(), value(&key, "\"orders.fulfil\"", input)?)),
            "crate" => Ok(Self::Crate(key.clone(), value(&key, "path::to::router_core", input)?)),
            _ => Err(unknown_key(&key, input.parse()?)),
        }
    }
}

/// What follows `key =`.
fn value<T: Parse>(key: &Ident, example: &str, input: ParseStream<'_>) -> syn::Result<T> {
    let wanted = format!("write `{key} = {example}`");
    let equals: Option<Token![=]> = input.parse()?;
    if equals.is_none() || input.is_empty() {
        return Err(syn::Error::new(key.span(), wanted));
    }
    input.parse().map_err(|error| syn::Error::new(error.span(), wanted))
}

/// A word that is no key: perhaps an event type whose quotes were forgotten. `rest` follows it.
fn unknown_key(key: &Ident, rest: TokenStream) -> syn::Error {
    let next = rest.clone().into_iter().next().map(|token| token.to_string());
    if let Some("." | ":") = next.as_deref() {
        let text = format!("{key}{rest}").replace(char::is_whitespace, "");
        let event_type = if text.contains(':') { "invoice.paid" } else { &text };
        let message = format!("an event type is written in quotes: `\"{event_type}\"`");
        return syn::Error::new_spanned(quote!(#key #rest), message);
    }
    let keys = KEYS.map(|key| format!("`{key}`")).join(", ");
    let message = match router_catalog::nearest_of(&key.to_string(), KEYS) {
        Some(nearest) => format!("there is no key `{key}`; did you mean `{nearest}`?"),
        None => format!("there is no key `{key}`; the keys are {keys}"),
    };
    syn::Error::new(key.span(), message)
}

/// Splits where a comma stands outside every bracket, so that one bad item does not spoil the next.
fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
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
