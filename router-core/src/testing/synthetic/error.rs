//! The error of building a synthetic event.

use router_catalog::samples::PathError;

use crate::event::EnvelopeError;

/// The reason why a synthetic event cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// The catalog has no such event type.
    #[error("Stripe has no event type `{event_type}`{}", match .nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => " in API version ".to_owned() + router_catalog::API_VERSION + "; `SyntheticEvent::unlisted` makes an event of any type",
    })]
    UnknownType {
        /// The requested event type.
        event_type: String,
        /// The most similar event type, if one is similar enough.
        nearest: Option<&'static str>,
    },
    /// Events of this type cannot carry the requested object.
    #[error("`{event_type}` cannot carry `{object}`, only {}", .carries.replace('|', " or "))]
    OtherObject {
        /// The event type.
        event_type: String,
        /// The requested object.
        object: String,
        /// The objects that the event type can carry, joined by `|`.
        carries: &'static str,
    },
    /// Stripe sends events of this type only as snapshot events.
    #[error("there is no thin event for `{event_type}`")]
    NoThin {
        /// The event type.
        event_type: String,
    },
    /// The object has no such field.
    #[error("{event_type}: {error}")]
    Field {
        /// The event type.
        event_type: String,
        /// The field, and what the object has instead.
        #[source]
        error: PathError,
    },
    /// A value cannot be serialized to JSON.
    #[error("{event_type}: the value for `{path}` cannot be serialized to JSON: {error}")]
    Value {
        /// The event type.
        event_type: String,
        /// The field.
        path: String,
        /// The text of the serialization error.
        error: String,
    },
    /// The values that were set make the JSON invalid as an event; its id may be a number, for
    /// example.
    #[error("{event_type}: {error}")]
    NoEvent {
        /// The event type.
        event_type: String,
        /// The problem with the envelope.
        #[source]
        error: EnvelopeError,
    },
}
