//! Delivers stored events, one handler at a time: the router, the settings of a delivery, and the
//! traits and types for a delivery service such as an inbox.

mod retry;
mod router;
mod service;
mod spec;
mod timeout_pause;

pub use self::{
    retry::RetryPolicy,
    router::{Delivery, DeliveryRouter},
    service::{DeliveryService, ProvidedType},
    spec::{DeliveryOrder, HandlerSpec},
    timeout_pause::{PausedTimeout, TimeoutPause},
};
pub(crate) use self::{service::PerDeliveryValues, timeout_pause::within_unless_paused};
