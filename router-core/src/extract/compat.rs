//! Compile-time checks that a handler's arguments match the events of its patterns.

#![expect(missing_docs, reason = "used only by the macro")]

use std::{marker::PhantomData, str};

use router_catalog::{Kind, Pattern};

use super::{Object, Rejection, StripeObject};

/// A wrapper for an argument's type. Its constant `OBJECT` is the name of the object that the
/// argument decodes, if it is known.
///
/// The inherent constant exists only for arguments with a [`StripeObject`] and takes precedence.
/// For all other types, `OBJECT` resolves to the constant of the trait [`AnyObject`].
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

/// Checks that an argument can be extracted from every event of these patterns, and returns the
/// error message if not. `kind` and `object` are the kind of event and the object that the argument
/// requires, if any. An event type that is not in the catalog passes every check.
pub const fn check_argument(
    kind: Option<Kind>,
    object: Option<&'static str>,
    patterns: &[&str],
) -> Option<Message> {
    let mut index = 0;
    while index < patterns.len() {
        let mut known = Pattern::parse_unchecked(patterns[index]).known();
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
        index += 1;
    }
    None
}

/// Checks that a pattern given as a constant matches an event type, and returns the error message
/// if not.
pub const fn check_pattern(pattern: &str, unlisted: bool) -> Option<Message> {
    if unlisted || !Pattern::parse_unchecked(pattern).known().is_empty() {
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
    let message =
        Message::new().add("this argument decodes the object `").add(takes).add("`, but `");
    let message = message.add(event_type).add("` carries ");
    match carries {
        Some(objects) if !is_several(objects) => {
            message.add("`").add(objects).add("`: decode that object, or name another event type")
        }
        Some(objects) => message
            .add("one of `")
            .add(objects)
            .add("`: decode an enum of your own, without `#[derive(StripeObject)]`"),
        None => message.add("no object"),
    }
}

/// Returns whether `objects` names several objects, separated by `|`.
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
            .add("` is a thin event, which carries no object: take a `RelatedObject` and fetch the object, or take an `Option` of this argument"),
        Kind::Thin => message
            .add("`")
            .add(event_type)
            .add("` is a snapshot event, which carries its object: take an `Object<T>`, or an `Option` of this argument"),
    }
}

/// A text that is assembled at compile time. It is truncated at 512 bytes.
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
        let mut index = 0;
        while index < part.len() && self.length < self.text.len() {
            self.text[self.length] = part[index];
            self.length += 1;
            index += 1;
        }
        self
    }

    pub const fn text(&self) -> &str {
        match str::from_utf8(self.text.split_at(self.length).0) {
            Ok(text) => text,
            Err(_) => "the arguments of this handler do not match its events",
        }
    }
}
