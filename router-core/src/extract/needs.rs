//! The resources that an extractor needs besides the event, such as a state. An extractor declares
//! its needs as a type and receives only these, so `build()` can check that they are available.

use std::any::{TypeId, type_name};

use super::{
    attempt::Attempt,
    per_delivery::{Either, PerDelivery},
    state::{State, States},
};
use crate::{
    delivery::{PerDeliveryValues, ProvidedType},
    event::Event,
};

/// A resource that an extractor can need.
///
/// This trait is sealed. It is implemented for:
///
/// - [`State<T>`](State) and [`PerDelivery<T>`](PerDelivery), and an `Option` of either
/// - [`Either`] of two `PerDelivery`
/// - [`IdempotencyKey`](super::IdempotencyKey) and [`Attempt`]
/// - `()`, and tuples of these types
#[diagnostic::on_unimplemented(
    message = "an extractor cannot need `{Self}`",
    label = "not a need",
    note = "`FromEvent::Needs` is `()`, a `State<T>`, a `PerDelivery<T>`, an `Option` of one of these, an `Either` of two `PerDelivery`, an `IdempotencyKey`, an `Attempt`, or a tuple of these"
)]
pub trait Needs: sealed::Needs + Send {}

pub(crate) mod sealed {
    #![expect(missing_docs, reason = "used only by the macro")]

    pub trait Needs: Sized {
        fn declare(needs: &mut Vec<super::Need>);

        fn take(supplies: &mut super::Supplies<'_>) -> Self;
    }
}

/// A resource that a handler needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    pub(crate) from: NeedSource,
    pub(crate) id: TypeId,
    pub(crate) type_name: &'static str,
    /// `true` if the handler cannot be called without the resource.
    pub(crate) required: bool,
    /// The resource that a handler takes if the first one is missing.
    pub(crate) alternative: Option<ProvidedType>,
}

/// The source of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NeedSource {
    /// The application: the resource is a state that was added to the router.
    Application,
    /// The delivery service: the resource is a value that it provides for each call.
    Delivery,
}

/// The resources that are available to one call of a handler.
#[derive(Debug)]
pub struct Supplies<'r> {
    pub(crate) states: &'r States,
    pub(crate) per_delivery: &'r mut PerDeliveryValues,
    pub(crate) event: &'r Event,
    /// The handler's stable name, or the former name under which the delivery was stored.
    pub(crate) handler: &'r str,
    pub(crate) attempt: Attempt,
}

impl Need {
    fn new<T: ?Sized + 'static>(from: NeedSource, required: bool) -> Self {
        let (id, type_name) = (TypeId::of::<T>(), type_name::<T>());
        Self { from, id, type_name, required, alternative: None }
    }

    /// Returns the types of the resource and of its alternative.
    pub(crate) fn types(&self) -> impl Iterator<Item = (&'static str, TypeId)> {
        let alternative = self.alternative.map(|provided| (provided.type_name, provided.id));
        [(self.type_name, self.id)].into_iter().chain(alternative)
    }
}

/// The invariant that `build()` has checked for a required resource.
const CHECKED_BY_BUILD: &str = "`build()` fails if a required resource is missing";

impl<T: ?Sized + Send + Sync + 'static> Needs for State<T> {}

impl<T: ?Sized + Send + Sync + 'static> sealed::Needs for State<T> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::new::<T>(NeedSource::Application, true));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.states.get().expect(CHECKED_BY_BUILD)
    }
}

impl<T: ?Sized + Send + Sync + 'static> Needs for Option<State<T>> {}

impl<T: ?Sized + Send + Sync + 'static> sealed::Needs for Option<State<T>> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::new::<T>(NeedSource::Application, false));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.states.get()
    }
}

impl<T: Send + 'static> Needs for PerDelivery<T> {}

impl<T: Send + 'static> sealed::Needs for PerDelivery<T> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::new::<T>(NeedSource::Delivery, true));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        Self(supplies.per_delivery.take().expect(CHECKED_BY_BUILD))
    }
}

impl<T: Send + 'static> Needs for Option<PerDelivery<T>> {}

impl<T: Send + 'static> sealed::Needs for Option<PerDelivery<T>> {
    fn declare(needs: &mut Vec<Need>) {
        needs.push(Need::new::<T>(NeedSource::Delivery, false));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        supplies.per_delivery.take().map(PerDelivery)
    }
}

impl<A: Send + 'static, B: Send + 'static> Needs for Either<PerDelivery<A>, PerDelivery<B>> {}

impl<A: Send + 'static, B: Send + 'static> sealed::Needs
    for Either<PerDelivery<A>, PerDelivery<B>>
{
    fn declare(needs: &mut Vec<Need>) {
        let alternative = Some(ProvidedType::of::<B>());
        needs.push(Need { alternative, ..Need::new::<A>(NeedSource::Delivery, true) });
        // A second argument of this type would find nothing.
        needs.push(Need::new::<B>(NeedSource::Delivery, false));
    }

    fn take(supplies: &mut Supplies<'_>) -> Self {
        match supplies.per_delivery.take() {
            Some(first) => Self::First(PerDelivery(first)),
            None => Self::Second(PerDelivery::take(supplies)),
        }
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
