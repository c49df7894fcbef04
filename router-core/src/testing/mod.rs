//! For tests: a clock that the test moves, faults on purpose, and a net for handlers that are in the
//! source and not in the program.

mod chaos;
mod clock;
pub(crate) mod sources;

#[doc(hidden)]
pub use self::sources::__assert_all_registered;
pub use self::{
    chaos::{Chaos, ChaosService, Injected},
    clock::ManualClock,
};
