//! Parses the attribute's arguments and the function's signature.
//!
//! The function's body is not parsed: it may be incomplete while the user types, and the compiler
//! reports its errors.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Ident, LitBool, LitInt, LitStr, Path, Signature, Token, Visibility,
    ext::IdentExt as _,
    parse::{Parse, ParseStream, Parser as _},
};

use crate::errors::Errors;

/// The attribute's arguments: event types and keys.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) patterns: Vec<Pattern>,
    pub(crate) name: Option<LitStr>,
    pub(crate) endpoint: Option<LitStr>,
    pub(crate) livemode: Option<LitBool>,
    pub(crate) order: Option<Order>,
    pub(crate) timeout: Option<LitStr>,
    pub(crate) deadline: Option<LitStr>,
    pub(crate) default_reply: Option<Path>,
    pub(crate) exclusive: Option<Ident>,
    pub(crate) ordered: Option<Ordered>,
    pub(crate) formerly: Option<LitStr>,
    pub(crate) attempts: Option<LitInt>,
    pub(crate) backoff: Option<LitStr>,
    pub(crate) max_backoff: Option<LitStr>,
    pub(crate) concurrency: Option<LitInt>,
    pub(crate) blocking: Option<Ident>,
    pub(crate) unlisted: Option<Ident>,
    pub(crate) core: Option<Path>,
}

/// An event type or a wildcard.
pub(crate) enum Pattern {
    Literal(LitStr),
    /// The path of a constant that holds the pattern.
    Constant(Path),
}

/// The value of the `order` key, with its tokens.
pub(crate) struct Order {
    pub(crate) value: i32,
    tokens: TokenStream,
}

/// The value of the `ordered` key, with its token.
pub(crate) enum Ordered {
    /// `ordered`
    OldestFirst(Ident),
    /// `ordered = "newest"`
    NewestOnly(LitStr),
}

/// The annotated function without its body.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
}

const KEYS: [&str; 17] = [
    "name",
    "formerly",
    "endpoint",
    "livemode",
    "order",
    "timeout",
    "deadline",
    "default_reply",
    "exclusive",
    "ordered",
    "attempts",
    "backoff",
    "max_backoff",
    "concurrency",
    "blocking",
    "unlisted",
    "crate",
];

const ORDERED_FORMS: &str = "`ordered` has two forms: write `ordered` to deliver the oldest waiting event first, \
                             or `ordered = \"newest\"` to deliver the newest one and skip older ones";

enum Item {
    Pattern(Pattern),
    Name(Ident, LitStr),
    Endpoint(Ident, LitStr),
    Livemode(Ident, LitBool),
    Order(Ident, Order),
    Timeout(Ident, LitStr),
    Deadline(Ident, LitStr),
    DefaultReply(Ident, Path),
    Exclusive(Ident),
    Ordered(Ident, Ordered),
    Formerly(Ident, LitStr),
    Attempts(Ident, LitInt),
    Backoff(Ident, LitStr),
    MaxBackoff(Ident, LitStr),
    Concurrency(Ident, LitInt),
    Blocking(Ident),
    Unlisted(Ident),
    Crate(Ident, Path),
}

/// Parses every valid item, and records an error for each of the others.
pub(crate) fn arguments(tokens: TokenStream, errors: &mut Errors) -> Arguments {
    let mut arguments = Arguments::default();
    for item in split_at_commas(tokens) {
        match errors.catch(syn::parse2(item)) {
            None => {}
            Some(Item::Pattern(pattern)) => arguments.patterns.push(pattern),
            Some(Item::Name(key, name)) => set(&mut arguments.name, &key, name, errors),
            Some(Item::Endpoint(key, name)) => set(&mut arguments.endpoint, &key, name, errors),
            Some(Item::Livemode(key, live)) => set(&mut arguments.livemode, &key, live, errors),
            Some(Item::Order(key, order)) => set(&mut arguments.order, &key, order, errors),
            Some(Item::Timeout(key, time)) => set(&mut arguments.timeout, &key, time, errors),
            Some(Item::Deadline(key, time)) => set(&mut arguments.deadline, &key, time, errors),
            Some(Item::DefaultReply(key, path)) => {
                set(&mut arguments.default_reply, &key, path, errors);
            }
            Some(Item::Exclusive(key)) => {
                set(&mut arguments.exclusive, &key.clone(), key, errors);
            }
            Some(Item::Ordered(key, ordered)) => set(&mut arguments.ordered, &key, ordered, errors),
            Some(Item::Formerly(key, name)) => set(&mut arguments.formerly, &key, name, errors),
            Some(Item::Attempts(key, number)) => set(&mut arguments.attempts, &key, number, errors),
            Some(Item::Backoff(key, time)) => set(&mut arguments.backoff, &key, time, errors),
            Some(Item::MaxBackoff(key, time)) => {
                set(&mut arguments.max_backoff, &key, time, errors);
            }
            Some(Item::Concurrency(key, number)) => {
                set(&mut arguments.concurrency, &key, number, errors);
            }
            Some(Item::Blocking(key)) => set(&mut arguments.blocking, &key.clone(), key, errors),
            Some(Item::Unlisted(key)) => set(&mut arguments.unlisted, &key.clone(), key, errors),
            Some(Item::Crate(key, path)) => set(&mut arguments.core, &key, path, errors),
        }
    }
    arguments
}

pub(crate) fn function(attribute: &str, tokens: TokenStream) -> syn::Result<Function> {
    let is_fn = |token: TokenTree| matches!(token, TokenTree::Ident(word) if word == "fn");
    if !tokens.clone().into_iter().any(is_fn) {
        let message = format!("`#[{attribute}]` can only be applied to a free `fn` or `async fn`");
        return Err(syn::Error::new_spanned(tokens, message));
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
        syn::Error::new(error.span(), message)
    })
}

fn set<T>(slot: &mut Option<T>, key: &Ident, value: T, errors: &mut Errors) {
    if slot.replace(value).is_some() {
        errors.push(syn::Error::new(key.span(), format!("duplicate key `{key}`")));
    }
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let item = Self::parse_one(input)?;
        if input.is_empty() {
            return Ok(item);
        }
        Err(input.error(match item {
            Self::Unlisted(_) => "`unlisted` takes no value",
            Self::Blocking(_) => "`blocking` takes no value",
            Self::Exclusive(_) => "`exclusive` takes no value",
            Self::Ordered(_, Ordered::OldestFirst(_)) => ORDERED_FORMS,
            _ => "expected a comma before this",
        }))
    }
}

impl Item {
    fn parse_one(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitStr) {
            return Ok(Self::Pattern(Pattern::Literal(input.parse()?)));
        }
        if is_constant(input) {
            return Ok(Self::Pattern(Pattern::Constant(input.parse()?)));
        }
        if let Some(error) = list_in_brackets(input) {
            return Err(error);
        }
        if !input.peek(Ident::peek_any) {
            return Err(input
                .error("expected an event type in quotes, as in `#[on_event(\"invoice.paid\")]`"));
        }
        let key = input.call(Ident::parse_any)?;
        match key.to_string().as_str() {
            "name" => Ok(Self::Name(key.clone(), value(&key, "\"orders.fulfil\"", input)?)),
            "endpoint" => Ok(Self::Endpoint(key.clone(), value(&key, "\"connect\"", input)?)),
            "livemode" => Ok(Self::Livemode(key.clone(), value(&key, "true", input)?)),
            "order" => Ok(Self::Order(key.clone(), value(&key, "10", input)?)),
            "timeout" => Ok(Self::Timeout(key.clone(), value(&key, "\"5s\"", input)?)),
            "deadline" => Ok(Self::Deadline(key.clone(), value(&key, "\"1s\"", input)?)),
            "default_reply" => {
                Ok(Self::DefaultReply(key.clone(), value(&key, "path::to::function", input)?))
            }
            "exclusive" => Ok(Self::Exclusive(key)),
            "ordered" => Ok(Self::Ordered(key.clone(), Ordered::parse(key, input)?)),
            "formerly" => Ok(Self::Formerly(key.clone(), value(&key, "\"old::path\"", input)?)),
            "attempts" => Ok(Self::Attempts(key.clone(), value(&key, "12", input)?)),
            "backoff" => Ok(Self::Backoff(key.clone(), value(&key, "\"15s\"", input)?)),
            "max_backoff" => Ok(Self::MaxBackoff(key.clone(), value(&key, "\"12h\"", input)?)),
            "concurrency" => Ok(Self::Concurrency(key.clone(), value(&key, "4", input)?)),
            "blocking" => Ok(Self::Blocking(key)),
            "unlisted" => Ok(Self::Unlisted(key)),
            "crate" => Ok(Self::Crate(key.clone(), value(&key, "path::to::router_core", input)?)),
            _ => Err(unknown_key(&key, input.parse()?)),
        }
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
    Some(syn::Error::new_spanned(quote!(#reference #list), message))
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

/// Parses `= value`, which follows the key.
fn value<T: Parse>(key: &Ident, example: &str, input: ParseStream<'_>) -> syn::Result<T> {
    let message = format!("expected a value, for example `{key} = {example}`");
    let equals: Option<Token![=]> = input.parse()?;
    if equals.is_none() || input.is_empty() {
        return Err(syn::Error::new(key.span(), message));
    }
    input.parse().map_err(|error| syn::Error::new(error.span(), message))
}

/// Returns the error for an unknown key, or for an event type without quotes. `rest` are the tokens
/// that follow `key`.
fn unknown_key(key: &Ident, rest: TokenStream) -> syn::Error {
    if rest.clone().into_iter().next().is_some_and(|token| token.to_string() == ".") {
        let event_type = format!("{key}{rest}").replace(char::is_whitespace, "");
        let message = format!("event types must be in quotes: `\"{event_type}\"`");
        return syn::Error::new_spanned(quote!(#key #rest), message);
    }
    if key.to_string().starts_with("event") {
        let message = "event types have no key: write `#[on_event(\"invoice.paid\")]`, and separate \
                       several with commas";
        return syn::Error::new(key.span(), message);
    }
    let keys = KEYS.map(|key| format!("`{key}`")).join(", ");
    let message = match router_catalog::nearest_of(&key.to_string(), KEYS) {
        Some(nearest) => format!("unknown key `{key}`; did you mean `{nearest}`?"),
        None => format!("unknown key `{key}`; the keys are {keys}"),
    };
    syn::Error::new(key.span(), message)
}

impl Parse for Order {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let (minus, digits): (Option<Token![-]>, LitInt) = (input.parse()?, input.parse()?);
        let sign = if minus.is_some() { "-" } else { "" };
        let tokens = quote!(#minus #digits);
        let value = format!("{sign}{}", digits.base10_digits()).parse();
        let value = value.map_err(|error| syn::Error::new_spanned(&tokens, error))?;
        Ok(Self { value, tokens })
    }
}

impl Ordered {
    /// Parses what follows the key: nothing, or `= "newest"`.
    fn parse(key: Ident, input: ParseStream<'_>) -> syn::Result<Self> {
        let equals: Option<Token![=]> = input.parse()?;
        if equals.is_none() {
            return Ok(Self::OldestFirst(key));
        }
        let span = if input.is_empty() { key.span() } else { input.span() };
        match input.parse::<LitStr>() {
            Ok(order) if order.value() == "newest" => Ok(Self::NewestOnly(order)),
            _ => Err(syn::Error::new(span, ORDERED_FORMS)),
        }
    }
}

impl ToTokens for Ordered {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::OldestFirst(key) => key.to_tokens(tokens),
            Self::NewestOnly(value) => value.to_tokens(tokens),
        }
    }
}

impl ToTokens for Order {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.tokens.to_tokens(tokens);
    }
}

impl ToTokens for Pattern {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Literal(literal) => literal.to_tokens(tokens),
            Self::Constant(path) => path.to_tokens(tokens),
        }
    }
}

/// Splits the tokens at top-level commas, so that an invalid item does not affect the next one.
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
