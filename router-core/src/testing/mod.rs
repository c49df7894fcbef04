#![doc = include_str!("../docs/testing.md")]

pub(crate) mod assert_registered;
mod chaos;
mod clock;
mod payload;
mod router;
mod synthetic;

pub use router_catalog::samples::PathError;

#[doc(hidden)]
pub use self::assert_registered::__assert_all_registered;
pub use self::{
    chaos::{Chaos, ChaosService, Injected},
    clock::ManualClock,
    payload::Payload,
    router::{TestResponse, TestRouter},
    synthetic::{SyntheticError, SyntheticEvent},
};
