//! The pages of a list.

use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Error, Request, Response};

/// Stripe's maximum number of items per page.
const PAGE_SIZE: &str = "100";

/// Reads a list page by page, see [`Request::pages`].
///
/// The items are in the order in which Stripe lists them: the newest first, or the oldest first if
/// the request has the parameter `ending_before`. An item that is added to the list while it is
/// read is not returned, unless the request has `ending_before`.
#[derive(Debug)]
pub struct Pages {
    request: Request,
    is_complete: bool,
    date: Option<SystemTime>,
}

/// A page in the form of the API v1 or v2.
#[derive(Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    /// `true` if there are further items (API v1).
    #[serde(default)]
    has_more: bool,
    /// The path and the query of the next page (API v2).
    #[serde(default)]
    next_page_url: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    id: String,
}

impl Pages {
    pub(crate) fn new(mut request: Request) -> Self {
        if request.parameter("limit").is_none() {
            request.set_parameter("limit", PAGE_SIZE.to_owned());
        }
        Self { request, is_complete: false, date: None }
    }

    /// Returns the time at Stripe when the last page was sent.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        self.date
    }

    /// Reads the next page. Returns its items as JSON, byte for byte, or `None` after the last
    /// page.
    ///
    /// # Errors
    ///
    /// Fails if the request fails. The call can be repeated, and then reads the same page.
    pub async fn next(&mut self) -> Result<Option<Vec<Box<RawValue>>>, Error> {
        if self.is_complete {
            return Ok(None);
        }
        let response = self.request.clone().send().await?;
        self.date = response.date();
        let Page { mut data, has_more, next_page_url } = response.json()?;
        if self.request.is_v2() {
            match next_page_url {
                Some(next) if self.request.is_page(&next) => return Err(endless(&response)),
                Some(next) => self.request.set_next_page(next),
                None => self.is_complete = true,
            }
            return Ok(Some(data));
        }
        self.is_complete = !has_more;
        // With `ending_before`, Stripe returns the items just before that one, newest first.
        let is_backwards = self.request.parameter("ending_before").is_some();
        if is_backwards {
            data.reverse();
        }
        if has_more {
            let last = data.last().and_then(|item| serde_json::from_str::<Item>(item.get()).ok());
            let cursor = if is_backwards { "ending_before" } else { "starting_after" };
            let Some(Item { id }) = last else { return Err(endless(&response)) };
            if self.request.parameter(cursor) == Some(&*id) {
                return Err(endless(&response));
            }
            self.request.set_parameter(cursor, id);
        }
        Ok(Some(data))
    }
}

/// Returns the error of a page that does not lead to another one.
fn endless(response: &Response) -> Error {
    response.unreadable("the list has more items, but does not say where they begin".to_owned())
}
