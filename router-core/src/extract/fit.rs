//! Whether what a handler takes is what its events carry: asked while the handler is compiled.

#![expect(missing_docs, reason = "only the macro uses it")]

use std::{marker::PhantomData, str};

use router_catalog::{Kind, Pattern};

use super::{Object, Rejection, StripeObject};

/// An argument's type, asked for the name of the object that it decodes. Where that is not known,
/// `AnyObject`'s constant answers: an inherent one comes first, and is there for a
/// [`StripeObject`] only.
#[derive(Debug)]
pub struct Argument<A>(PhantomData<A>);

impl<T: StripeObject> Argument<Object<T>> {
    pub const OBJECT: Option<&'static str> = Some(T::OBJECT);
}

impl<T: StripeObject> Argument<Option<Object<T>>> {
    pub const OBJECT: Option<&'static str> = Some(T::OBJECT);
}

impl<T: StripeObject> Argument<Result<Object<T>, Rejection>> {
    pub const OBJECT: Option<&'static str> = Some(T::OBJECT);
}

pub trait AnyObject {
    const OBJECT: Option<&'static str> = None;
}

impl<A> AnyObject for Argument<A> {}

/// Why an argument for this kind of event, or that decodes this object, cannot be made from every
/// event of these patterns. An event type that the catalogue does not know fits everything.
pub const fn misfit(
    kind: Option<Kind>,
    object: Option<&'static str>,
    patterns: &[&str],
) -> Option<Message> {
    let mut at = 0;
    while at < patterns.len() {
        let mut known = Pattern::form(patterns[at]).known();
        while let [event_type, rest @ ..] = known {
            if let Some(kind) = kind
                && kind as u8 != event_type.kind as u8
            {
                return Some(wrong_kind(kind, event_type.name));
            }
            if let Some(object) = object
                && matches!(event_type.kind, Kind::Snapshot)
                && !event_type.carries_only(object)
            {
                return Some(wrong_object(object, event_type.object, event_type.name));
            }
            known = rest;
        }
        at += 1;
    }
    None
}

/// Why a pattern that was given as a constant is for nothing.
pub const fn no_event_type(pattern: &str, unlisted: bool) -> Option<Message> {
    if unlisted || !Pattern::form(pattern).known().is_empty() {
        return None;
    }
    let message = Message::new().add("Stripe sends no event type \"").add(pattern);
    let message = message.add("\" (as of API version ").add(router_catalog::API_VERSION);
    Some(message.add(
        "); `router_core::event_type` has a constant for each; if it is newer than that, write \
         `unlisted` beside it",
    ))
}

const fn wrong_object(takes: &str, carries: Option<&str>, event_type: &str) -> Message {
    let message = Message::new().add("this decodes the object `").add(takes).add("`, and `");
    let message = message.add(event_type).add("` carries ");
    match carries {
        Some(objects) if !is_several(objects) => {
            message.add("`").add(objects).add("`: decode that, or name another event type")
        }
        Some(objects) => {
            message.add("one of `").add(objects).add("`: decode them as an enum of yours")
        }
        None => message.add("no object"),
    }
}

/// Alternatives are joined by `|`.
const fn is_several(objects: &str) -> bool {
    let mut rest = objects.as_bytes();
    while let [first, others @ ..] = rest {
        if *first == b'|' {
            return true;
        }
        rest = others;
    }
    false
}

const fn wrong_kind(takes: Kind, event_type: &str) -> Message {
    let message = Message::new();
    match takes {
        Kind::Snapshot => message
            .add("`")
            .add(event_type)
            .add("` is a thin event, which carries no object: take a `RelatedObject` and fetch it, or an `Option` of this"),
        Kind::Thin => message
            .add("`")
            .add(event_type)
            .add("` is a snapshot event, which carries its object: take an `Object<T>`, or an `Option` of this"),
    }
}

/// A text that is put together while the program is compiled.
#[derive(Debug)]
pub struct Message {
    text: [u8; 512],
    length: usize,
}

impl Message {
    const fn new() -> Self {
        Self { text: [0; 512], length: 0 }
    }

    const fn add(mut self, part: &str) -> Self {
        let part = part.as_bytes();
        let mut at = 0;
        while at < part.len() && self.length < self.text.len() {
            self.text[self.length] = part[at];
            self.length += 1;
            at += 1;
        }
        self
    }

    pub const fn text(&self) -> &str {
        match str::from_utf8(self.text.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "what this handler takes is not what its events carry",
        }
    }
}
