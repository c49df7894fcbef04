//! What an extractor needs beside the event, declared as a type: it gets that and nothing else, so
//! a need that `build()` does not know of cannot exist.

use std::any::{TypeId, type_name};

use super::{
    provided::{PerDelivery, Provisions},
    state::{State, States},
};
use crate::event::Event;

/// What an extractor can need. Implemented for `()`, [`State<T>`](State), [`PerDelivery<T>`](PerDelivery), an
/// `Option` of one of these, [`IdempotencyKey`](super::IdempotencyKey), and tuples of these; it cannot be implemented elsewhere.
#[diagnostic::on_unimplemented(
    message = "an extractor cannot need `{Self}`",
    label = "not a need",
    note = "`FromEvent::Needs` is `()`, a `State<T>`, a `PerDelivery<T>`, an `Option` of one of these, or a tuple of these"
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
    pub(crate) from: From,
    pub(crate) id: TypeId,
    pub(crate) type_name: &'static str,
    /// Without it the handler cannot be called.
    pub(crate) required: bool,
}

/// Who has what a handler needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum From {
    /// The application gave it to the router.
    Application,
    /// Whoever delivers the event gives each call one.
    Delivery,
}

/// What one call of a handler can be given.
#[derive(Debug)]
pub struct Supplies<'r> {
    pub(crate) states: &'r States,
    pub(crate) provisions: &'r mut Provisions,
    pub(crate) event: &'r Event,
    /// The name under which the delivery is known.
    pub(crate) handler: &'r str,
}

impl Need {
    fn of<T: ?Sized + 'static>(from: From, required: bool) -> Self {
        Self { from, id: TypeId::of::<T>(), type_name: type_name::<T>(), required }
    }
}

/// What `build()` has checked.
const CHECKED: &str = "`build()` refuses a router without it";

impl<T: ?Sized + Send + Sync + 'static> Needs for State<T> {}

impl<T: ?Sized + Send + Sync + 'static> sealed::Needs for State<T> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::of::<T>(From::Application, true));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.states.get().expect(CHECKED)
    }
}

impl<T: ?Sized + Send + Sync + 'static> Needs for Option<State<T>> {}

impl<T: ?Sized + Send + Sync + 'static> sealed::Needs for Option<State<T>> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::of::<T>(From::Application, false));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.states.get()
    }
}

impl<T: Send + 'static> Needs for PerDelivery<T> {}

impl<T: Send + 'static> sealed::Needs for PerDelivery<T> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::of::<T>(From::Delivery, true));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.provisions.take().expect(CHECKED)
    }
}

impl<T: Send + 'static> Needs for Option<PerDelivery<T>> {}

impl<T: Send + 'static> sealed::Needs for Option<PerDelivery<T>> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::of::<T>(From::Delivery, false));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.provisions.take()
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
