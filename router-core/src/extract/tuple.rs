//! Tuples of extractors, with which a user's extractor can be built on several others.

use super::{FromEvent, Rejection};
use crate::event::{Event, Kind};

macro_rules! tuple {
    ($($part:ident)+) => {
        // Keeps the eight tuple implementations out of the compiler's list of candidates.
        #[diagnostic::do_not_recommend]
        impl<$($part: FromEvent),+> FromEvent for ($($part,)+) {
            type Needs = ($($part::Needs,)+);

            const KIND: Option<Kind> = first_some(&[$($part::KIND),+]);

            #[expect(non_snake_case, reason = "each variable has the name of its type parameter")]
            async fn from_event(
                event: &Event,
                ($($part,)+): Self::Needs,
            ) -> Result<Self, Rejection> {
                Ok(($(
                    $part::from_event(event, $part).await.map_err(Rejection::of_argument::<$part>)?,
                )+))
            }
        }
    };
}

for_each_tuple!(tuple);

const fn first_some(kinds: &[Option<Kind>]) -> Option<Kind> {
    let mut index = 0;
    while index < kinds.len() {
        if kinds[index].is_some() {
            return kinds[index];
        }
        index += 1;
    }
    None
}
