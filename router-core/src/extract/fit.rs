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

/// Panics, with words for the user, if an argument for this kind of event, or that decodes this
/// object, cannot be made from an event of these patterns. An event type that the catalogue does not
/// know fits everything.
pub const fn fits(kind: Option<Kind>, object: Option<&'static str>, patterns: &[&str]) {
    let mut at = 0;
    while at < patterns.len() {
        let mut known = Pattern::form(patterns[at]).known();
        while let [event_type, rest @ ..] = known {
            if let Some(kind) = kind
                && kind as u8 != event_type.kind as u8
            {
                wrong_kind(kind, event_type.name).panic();
            }
            if let Some(object) = object
                && matches!(event_type.kind, Kind::Snapshot)
                && !event_type.carries(object)
            {
                wrong_object(object, event_type.object, event_type.name).panic();
            }
            known = rest;
        }
        at += 1;
    }
}

/// Panics, with words for the user, if a pattern that was given as a constant means no event type.
pub const fn means_something(pattern: &str, unlisted: bool) {
    if Pattern::form(pattern).known().is_empty() && !unlisted {
        Message::new()
            .add("Stripe sends no event type \"")
            .add(pattern)
            .add("\" (as of API version ")
            .add(router_catalog::API_VERSION)
            .add("); `router_core::event_type` has a constant for each; for a newer one write `unlisted` beside it")
            .panic();
    }
}

const fn wrong_object(takes: &str, carries: Option<&str>, event_type: &str) -> Message {
    let message = Message::new().add("this handler takes a `").add(takes).add("`, and `");
    let message = message.add(event_type).add("` carries ");
    match carries {
        Some(object) => message.add("a `").add(object).add("`"),
        None => message.add("no object"),
    }
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
struct Message {
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

    const fn panic(&self) -> ! {
        match str::from_utf8(self.text.split_at(self.length).0) {
            Ok(text) => panic!("{}", text),
            Err(_) => panic!("what this handler takes is not what its events carry"),
        }
    }
}
