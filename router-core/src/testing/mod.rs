#![doc = include_str!("../docs/testing.md")]

mod chaos;
mod clock;
mod payload;
mod router;
pub(crate) mod sources;
mod synthetic;

#[doc(hidden)]
pub use self::sources::__assert_all_registered;
pub use self::{
    chaos::{Chaos, ChaosService, Injected},
    clock::ManualClock,
    payload::Payload,
    router::{TestResponse, TestRouter},
    synthetic::{SyntheticError, SyntheticEvent},
};
