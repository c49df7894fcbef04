//! Handlers registered by hand.

use std::{any::type_name, fmt, future::Future, sync::Arc};

use super::{Handler, HandlerFuture, IntoOutcome};
use crate::{
    event::{Event, Kind},
    extract::{
        FromEvent, Rejection, for_each_tuple,
        needs::{Need, Supplies, sealed},
    },
};

/// A handler that [`RouterBuilder::handler`](crate::build::RouterBuilder::handler) accepts: a
/// function or closure with up to eight [extractors](FromEvent) as arguments, as with
/// `#[on_event]`, or an `impl` [`Handler`].
///
/// The compiler infers `Arguments`, for a function the tuple of its argument types. This trait
/// cannot be implemented outside this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not a handler",
    note = "a handler is an `async` function or closure whose arguments are up to eight extractors by value, such as `Event`, `Object<T>` and `State<T>`, and that returns `()`, an `Outcome`, a `Reply<T>` or a `Result` of one of these; or an `impl Handler`",
    note = "to see which argument or return type is wrong, annotate the function with `#[on_event(\"*\")]`"
)]
pub trait IntoHandler<Arguments>: Sized {
    #[doc(hidden)]
    fn into_handler(self) -> ManualHandler;
}

/// The `Arguments` of an `impl` [`Handler`], which takes the event alone.
#[derive(Debug)]
pub enum Implemented {}

/// A handler registered by hand, with the facts that `build()` checks.
#[derive(Debug)]
pub struct ManualHandler {
    pub(crate) replies: bool,
    pub(crate) needs: Vec<Need>,
    pub(crate) arguments: Vec<ManualArgument>,
    pub(crate) callable: Callable,
}

/// An argument of a handler registered by hand.
#[derive(Debug)]
pub(crate) struct ManualArgument {
    pub(crate) type_name: &'static str,
    /// The kind of event from which the argument can be extracted, if only one kind.
    pub(crate) kind: Option<Kind>,
}

/// The call of a handler, with the extraction of its arguments.
pub(crate) struct Callable(Box<Call>);

type Call = dyn Fn(Event, &mut Supplies<'_>) -> HandlerFuture + Send + Sync;

impl Callable {
    pub(crate) fn new(
        call: impl Fn(Event, &mut Supplies<'_>) -> HandlerFuture + Send + Sync + 'static,
    ) -> Self {
        Self(Box::new(call))
    }

    pub(crate) fn call(&self, event: Event, supplies: &mut Supplies<'_>) -> HandlerFuture {
        (self.0)(event, supplies)
    }
}

impl fmt::Debug for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callable").finish_non_exhaustive()
    }
}

impl<H: Handler> IntoHandler<Implemented> for H {
    fn into_handler(self) -> ManualHandler {
        let (replies, handler) = (self.replies(), Arc::new(self));
        let callable = Callable::new(move |event, _| {
            let handler = handler.clone();
            // Called inside the future, so that a panic before the first await is caught there.
            Box::pin(async move { handler.call(event).await })
        });
        ManualHandler { replies, needs: Vec::new(), arguments: Vec::new(), callable }
    }
}

macro_rules! function {
    ($($argument:ident)*) => {
        impl<Function, Output, $($argument),*> IntoHandler<($($argument,)*)> for Function
        where
            Function: Fn($($argument),*) -> Output + Send + Sync + 'static,
            Output: Future<Output: IntoOutcome> + Send + 'static,
            $($argument: FromEvent + 'static,)*
        {
            #[allow(
                non_snake_case,
                unused_mut,
                unused_variables,
                reason = "each variable has the name of its type parameter, and there may be none"
            )]
            fn into_handler(self) -> ManualHandler {
                let mut needs = Vec::new();
                $(<$argument::Needs as sealed::Needs>::declare(&mut needs);)*
                let arguments = vec![$(ManualArgument {
                    type_name: type_name::<$argument>(),
                    kind: $argument::KIND,
                }),*];
                let function = Arc::new(self);
                let callable = Callable::new(move |event, supplies| {
                    let function = function.clone();
                    $(let $argument = <$argument::Needs as sealed::Needs>::take(supplies);)*
                    Box::pin(async move {
                        $(
                            let $argument = $argument::from_event(&event, $argument)
                                .await
                                .map_err(Rejection::of_argument::<$argument>)?;
                        )*
                        function($($argument),*).await.into_outcome()
                    })
                });
                let replies = <Output::Output as IntoOutcome>::REPLIES;
                ManualHandler { replies, needs, arguments, callable }
            }
        }
    };
}

function!();
for_each_tuple!(function);
