//! For tests: a clock that the test moves, and a net for handlers that are in the source and not in
//! the program.

mod clock;
pub(crate) mod sources;

pub use self::clock::ManualClock;
#[doc(hidden)]
pub use self::sources::__assert_all_registered;
