//! [`EventService`], the bound on the inner service of an endpoint.

use tower_service::Service;

use super::Answer;
use crate::{event::Event, handler::BoxError};

/// The inner service of an [`Endpoint`](super::Endpoint): a tower `Service<Event>`, such as a
/// [`Router`](crate::Router), an inbox, or either with layers around it.
///
/// Every `Service<Event>` has this trait if its response converts into an [`Answer`] and its error
/// into a [`BoxError`].
#[diagnostic::on_unimplemented(
    message = "an endpoint cannot pass its events to `{Self}`",
    label = "not a `Service<Event>` with an `Answer`",
    note = "an endpoint takes a `Router`, an `Inbox`, or a `Service<Event>` around one of them",
    note = "a `DeliveryRouter` (`.delivered_by(...)`) runs the deliveries of an inbox: put the inbox between, as in `Endpoint::new(secret, Inbox::new(store, router))`"
)]
pub trait EventService: Service<Event, Response: Into<Answer>, Error: Into<BoxError>> {}

// Lets the compiler show the messages above instead of the bounds of this implementation.
#[diagnostic::do_not_recommend]
impl<S> EventService for S where S: Service<Event, Response: Into<Answer>, Error: Into<BoxError>> {}
