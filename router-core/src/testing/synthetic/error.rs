//! Why no event can be made.

use router_catalog::samples::PathError;

use crate::event::EnvelopeError;

/// Why no event can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// The catalogue has no such event type.
    #[error("Stripe has no event type `{event_type}`{}", match .nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => " in API version ".to_owned() + router_catalog::API_VERSION + "; `SyntheticEvent::unlisted` makes an event of any type",
    })]
    UnknownType {
        /// The event type that was asked for.
        event_type: String,
        /// The event type that was most likely meant.
        nearest: Option<&'static str>,
    },
    /// The event type cannot carry that object.
    #[error("`{event_type}` carries no `{object}`, but {}", .carries.replace('|', " or "))]
    OtherObject {
        /// The event type.
        event_type: String,
        /// The object that was asked for.
        object: String,
        /// The objects that it can carry, joined by `|`.
        carries: &'static str,
    },
    /// Stripe sends events of this type as snapshots only.
    #[error("there is no thin event for `{event_type}`")]
    NoThin {
        /// The event type.
        event_type: String,
    },
    /// There is no such field.
    #[error("{event_type}: {error}")]
    Field {
        /// The event type.
        event_type: String,
        /// The field, and what is there instead.
        #[source]
        error: PathError,
    },
    /// A value cannot be written as JSON.
    #[error("{event_type}: the value for `{path}` is no JSON: {error}")]
    Value {
        /// The event type.
        event_type: String,
        /// The field.
        path: String,
        /// Why not.
        error: String,
    },
    /// What was set has made it something that is no event: its id is a number, or its type is gone.
    #[error("{event_type}: {error}")]
    NoEvent {
        /// The event type.
        event_type: String,
        /// What is wrong with it.
        #[source]
        error: EnvelopeError,
    },
}
