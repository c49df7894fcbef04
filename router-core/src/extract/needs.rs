//! What an extractor needs beside the event, declared as a type: it gets that and nothing else, so
//! a need that `build()` does not know of cannot exist.

use std::any::{TypeId, type_name};

use super::state::{State, States};

/// What an extractor can need. Implemented for `()`, [`State<T>`](State), `Option<State<T>>`, and
/// tuples of these; it cannot be implemented elsewhere.
#[diagnostic::on_unimplemented(
    message = "an extractor cannot need `{Self}`",
    label = "not a need",
    note = "`FromEvent::Needs` is `()`, a `State<T>`, an `Option<State<T>>`, or a tuple of these"
)]
pub trait Needs: sealed::Needs + Send {}

pub(crate) mod sealed {
    #![expect(missing_docs, reason = "only the macro uses it")]

    pub trait Needs: Sized {
        fn declare(needs: &mut Vec<super::Need>);

        fn take(supplies: &mut super::Supplies<'_>) -> Self;
    }
}

/// One thing that a handler needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub(crate) state: TypeId,
    pub(crate) type_name: &'static str,
    /// Without it the handler cannot be called.
    pub(crate) required: bool,
}

/// What one call of a handler can be given.
#[derive(Debug)]
pub struct Supplies<'r> {
    pub(crate) states: &'r States,
}

impl Need {
    fn state<T: ?Sized + 'static>(required: bool) -> Self {
        Self { state: TypeId::of::<T>(), type_name: type_name::<T>(), required }
    }
}

impl<T: ?Sized + Send + Sync + 'static> Needs for State<T> {}

impl<T: ?Sized + Send + Sync + 'static> sealed::Needs for State<T> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::state::<T>(true));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.states.get().expect("`build()` refuses a router without it")
    }
}

impl<T: ?Sized + Send + Sync + 'static> Needs for Option<State<T>> {}

impl<T: ?Sized + Send + Sync + 'static> sealed::Needs for Option<State<T>> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::state::<T>(false));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.states.get()
    }
}

impl Needs for () {}

impl sealed::Needs for () {
    fn declare(_: &mut Vec<Need>) {}

    fn take(_: &mut Supplies<'_>) -> Self {}
}

macro_rules! tuple {
    ($($part:ident)+) => {
        impl<$($part: Needs),+> Needs for ($($part,)+) {}

        impl<$($part: Needs),+> sealed::Needs for ($($part,)+) {
            fn declare(needs: &mut Vec<Need>) {
                $($part::declare(needs);)+
            }

            fn take(supplies: &mut Supplies<'_>) -> Self {
                ($($part::take(supplies),)+)
            }
        }
    };
}

for_each_tuple!(tuple);
