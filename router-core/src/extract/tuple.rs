//! Several arguments as one: so that an extractor of a user's own can be made of others.

use router_catalog::Kind;

use super::{FromEvent, Rejection};
use crate::event::Event;

macro_rules! tuple {
    ($($part:ident)+) => {
        // A list of what can be taken need not name eight of these.
        #[diagnostic::do_not_recommend]
        impl<$($part: FromEvent),+> FromEvent for ($($part,)+) {
            type Needs = ($($part::Needs,)+);

            const KIND: Option<Kind> = first_of(&[$($part::KIND),+]);

            #[expect(non_snake_case, reason = "a part is named as its type")]
            async fn from_event(
                event: &Event,
                ($($part,)+): Self::Needs,
            ) -> Result<Self, Rejection> {
                Ok(($($part::from_event(event, $part).await?,)+))
            }
        }
    };
}

for_each_tuple!(tuple);

const fn first_of(kinds: &[Option<Kind>]) -> Option<Kind> {
    let mut at = 0;
    while at < kinds.len() {
        if kinds[at].is_some() {
            return kinds[at];
        }
        at += 1;
    }
    None
}
