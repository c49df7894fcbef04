//! Parses the attribute's arguments and the function's signature.
//!
//! The function's body is not parsed: it may be incomplete while the user types, and the compiler
//! reports its errors.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Error, Ident, LitStr, Path, Signature, Token, Visibility,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
};

use crate::{
    errors::Errors,
    keys::{
        HandlerKeys, KeyTable as _, RetryKeys, UNHANDLED_KEYS, parse_items, parse_key,
        split_at_commas,
    },
};

/// The attribute's arguments: event types and keys.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) keys: HandlerKeys,
}

/// An event type or a wildcard.
pub(crate) enum Pattern {
    Literal(LitStr),
    /// The path of a constant that holds the pattern.
    Constant(Path),
}

/// The annotated function without its body.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
}

/// Parses every valid item, and records an error for each of the others.
pub(crate) fn arguments(attribute: &str, tokens: TokenStream, errors: &mut Errors) -> Arguments {
    let (names, place) = match attribute {
        "on_unhandled" => (UNHANDLED_KEYS, " in `#[on_unhandled]`"),
        _ => (HandlerKeys::NAMES, ""),
    };
    let mut arguments = Arguments::default();
    parse_items(split_at_commas(tokens), errors, |input| arguments.parse_item(names, place, input));
    arguments
}

pub(crate) fn function(attribute: &str, tokens: TokenStream) -> syn::Result<Function> {
    let is_fn = |token: TokenTree| matches!(token, TokenTree::Ident(word) if word == "fn");
    if !tokens.clone().into_iter().any(is_fn) {
        let message = format!("`#[{attribute}]` can only be applied to a free `fn` or `async fn`");
        return Err(Error::new_spanned(tokens, message));
    }
    let parser = |input: ParseStream<'_>| {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(Function { attributes, visibility, signature })
    };
    parser.parse2(tokens).map_err(|error| {
        let message = format!("`#[{attribute}]` cannot parse the function's signature here");
        Error::new(error.span(), message)
    })
}

impl Arguments {
    fn parse_item(
        &mut self,
        names: &[&'static str],
        place: &str,
        input: ParseStream<'_>,
    ) -> syn::Result<()> {
        if input.peek(LitStr) {
            self.patterns.push(Pattern::Literal(input.parse()?));
        } else if is_constant(input) {
            self.patterns.push(Pattern::Constant(input.parse()?));
        } else if let Some(error) = list_in_brackets(input).or_else(|| not_a_key(names, input)) {
            return Err(error);
        } else {
            return parse_key(&mut self.keys, names, place, input);
        }
        Ok(())
    }
}

/// Returns the error for event types in brackets, as in `["invoice.paid", "charge.failed"]`.
fn list_in_brackets(input: ParseStream<'_>) -> Option<syn::Error> {
    let fork = input.fork();
    let reference: Option<Token![&]> = fork.parse().ok()?;
    let TokenTree::Group(list) = fork.parse().ok()? else { return None };
    if list.delimiter() == Delimiter::None || list.stream().is_empty() {
        return None;
    }
    let items = split_at_commas(list.stream()).into_iter().map(|item| item.to_string());
    let items = items.collect::<Vec<_>>().join(", ").replace(" :: ", "::");
    let message = format!("leave out the brackets: `#[on_event({items})]`");
    Some(Error::new_spanned(quote!(#reference #list), message))
}

/// Returns whether the input starts with a constant: a path, or a name in upper case.
fn is_constant(input: ParseStream<'_>) -> bool {
    let fork = input.fork();
    if fork.parse::<Option<Token![::]>>().is_ok_and(|colons| colons.is_some()) {
        return true;
    }
    let Ok(word) = fork.call(Ident::parse_any) else { return false };
    let word = word.to_string();
    fork.peek(Token![::])
        || (!fork.peek(Token![.]) && !fork.peek(Token![=]))
            && word.starts_with(|first: char| first.is_ascii_uppercase())
            && !word.contains(|letter: char| letter.is_ascii_lowercase())
}

/// Returns the error for an event type without quotes, or for a key of `retry(…)` outside of it.
fn not_a_key(names: &[&str], input: ParseStream<'_>) -> Option<Error> {
    let fork = input.fork();
    let Ok(key) = fork.call(Ident::parse_any) else {
        let message = "expected an event type in quotes, as in `#[on_event(\"invoice.paid\")]`";
        return Some(input.error(message));
    };
    let (is_dotted, rest) = (fork.peek(Token![.]), fork.parse::<TokenStream>().ok()?);
    if is_dotted {
        let event_type = format!("{key}{rest}").replace(char::is_whitespace, "");
        let message = format!("event types must be in quotes: `\"{event_type}\"`");
        return Some(Error::new_spanned(quote!(#key #rest), message));
    }
    let name = key.to_string();
    if name.starts_with("event") {
        let message = "event types have no key: write `#[on_event(\"invoice.paid\")]`, and separate \
                       several with commas";
        return Some(Error::new(key.span(), message));
    }
    let in_group = if name == "attempts" { "max_attempts" } else { &name };
    if !names.contains(&"retry") || !RetryKeys::NAMES.contains(&in_group) {
        return None;
    }
    let value = if rest.is_empty() { "= …".to_owned() } else { rest.to_string() };
    let message = format!(
        "unknown key `{key}`: write `retry({in_group} {value})`, with all keys of retries in \
                           one group"
    );
    Some(Error::new(key.span(), message))
}

impl ToTokens for Pattern {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Literal(literal) => literal.to_tokens(tokens),
            Self::Constant(path) => path.to_tokens(tokens),
        }
    }
}
