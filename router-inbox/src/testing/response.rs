//! [`InboxResponse`], the response to a delivered event.

use router_core::{endpoint::Refusal, testing::TestResponse};

use crate::Receipt;

/// The response to a delivered event, with the receipt or the refusal behind it.
#[derive(Debug)]
pub struct InboxResponse(pub(super) TestResponse);

impl InboxResponse {
    /// Returns the HTTP status that Stripe would get.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status()
    }

    /// Returns the outcome as one word: the [receipt's](Receipt::outcome), or `refused`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.stored().map_or("refused", Receipt::outcome)
    }

    /// Returns the refusal, or `None` if the request was not refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.0.refusal()
    }

    /// Returns the inbox's receipt.
    ///
    /// # Panics
    ///
    /// Panics if the event was refused. The message has the reason.
    #[track_caller]
    pub fn receipt(&self) -> &Receipt {
        self.stored().unwrap_or_else(|| match self.refusal() {
            Some(refusal) => panic!("the event was not stored: {refusal}"),
            None => panic!("the event was not stored: status {}", self.status()),
        })
    }

    /// Returns the JSON with which a handler [replied](router_core::Reply), or its default reply.
    #[must_use]
    pub fn reply(&self) -> Option<&[u8]> {
        Some(self.stored()?.reply()?.reply()?)
    }

    fn stored(&self) -> Option<&Receipt> {
        self.0.response().extensions().get()
    }
}
