//! Compile-time checks that a handler's arguments match the events of its patterns.

#![expect(missing_docs, reason = "used only by the macro")]

use std::{marker::PhantomData, str};

use router_catalog::{EventType, Kind, Pattern};

use super::{ObjectArgument, StripeObject};

/// A wrapper for an argument's type. Its constant `OBJECT` is the object that the argument decodes,
/// if it is known.
///
/// The inherent constant exists only for arguments with a [`StripeObject`] and takes precedence.
/// For all other types, `OBJECT` resolves to the constant of the trait [`AnyObject`].
#[derive(Debug)]
pub struct Argument<A>(PhantomData<A>);

/// The object that an argument decodes.
#[derive(Debug, Clone, Copy)]
pub struct DecodedObject {
    name: &'static str,
    /// See [`ObjectArgument::CHECKS_THIN_EVENTS`].
    checks_thin_events: bool,
}

impl<A: ObjectArgument<Decoded: StripeObject>> Argument<A> {
    pub const OBJECT: Option<DecodedObject> = Some(DecodedObject {
        name: <A::Decoded as StripeObject>::OBJECT,
        checks_thin_events: A::CHECKS_THIN_EVENTS,
    });
}

pub trait AnyObject {
    const OBJECT: Option<DecodedObject> = None;
}

impl<A> AnyObject for Argument<A> {}

/// Checks that an argument can be extracted from every event of these patterns, and returns the
/// error message if not. `kind` and `object` are the kind of event and the object that the argument
/// requires, if any. An event type that is not in the catalog passes every check.
pub const fn check_argument(
    kind: Option<Kind>,
    object: Option<DecodedObject>,
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
            if let Some(DecodedObject { name, checks_thin_events }) = object {
                let is_checked = match event_type.kind {
                    Kind::Snapshot => true,
                    Kind::Thin => checks_thin_events && event_type.object.is_some(),
                };
                if is_checked && !event_type.carries_only(name) {
                    return Some(wrong_object(name, event_type));
                }
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

const fn wrong_object(takes: &str, event_type: &EventType) -> Message {
    let message =
        Message::new().add("this argument decodes the object `").add(takes).add("`, but `");
    let message = message.add(event_type.name).add(match event_type.kind {
        Kind::Snapshot => "` carries ",
        Kind::Thin => "` is about ",
    });
    match event_type.object {
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
            .add("` is a thin event, which carries no object: take a `Fetched<T>` of router_stripe, a `RelatedObject`, or an `Option` of this argument"),
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
