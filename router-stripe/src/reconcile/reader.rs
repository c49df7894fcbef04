//! Reads a list of events, the oldest first, in bounded memory.

use std::{
    ops::Range,
    time::{Duration, Instant, SystemTime},
};

use router_core::Event;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::EventSource;
use crate::{Client, Error};

/// Maximum number of events in a batch, unless more were created within one second.
const MAX_EVENTS: usize = 1_000;

/// Length of the first window, in seconds.
const FIRST_WINDOW: u64 = 60 * 60;

/// Minimum time between the starts of two list requests: at most 10 per second, of Stripe's limit
/// of 100 for all requests of an account.
const REQUEST_INTERVAL: Duration = Duration::from_millis(100);

/// Maximum difference between the date of an answer and the client's clock. A faulty proxy, for
/// example, sends a date further away. With a date in the future, a checkpoint would pass events
/// that do not exist yet.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(24 * 60 * 60);

/// Age beyond which Stripe lists no events: <https://docs.stripe.com/api/events/list>.
pub(super) const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Maximum age of an event that no inbox has purged: half a day less than the shortest retention,
/// because clocks differ, and a pass takes time.
///
/// An event that is older and not in the inbox may have been handled and purged.
pub const SAFE_AGE: Duration = Duration::from_secs(84 * 60 * 60);

/// Reads the events of an [`EventSource`] in batches, the oldest first.
///
/// Stripe lists the newest event first, so the reader lists the events of one window of time after
/// the other. A window with more than 1,000 events is halved, unless it is a second long. Each
/// batch has the events of a window. The reader sends at most 10 requests a second.
///
/// By default the reader reads from 30 days ago, which is as far as Stripe lists events, until a
/// minute ago. Both are by the clock of Stripe, as in the header `Date` of an answer, because the
/// times of creation are too.
#[derive(Debug)]
pub struct EventReader {
    client: Client,
    source: EventSource,
    since: Option<SystemTime>,
    until: Option<SystemTime>,
    max_age: Duration,
    min_age: Duration,
    /// The seconds that are still to be read, since the Unix epoch. `None` until Stripe's time is
    /// known.
    rest: Option<Range<u64>>,
    /// The length of the next window in seconds.
    window: u64,
    last_request: Option<Instant>,
}

/// The events of a window of time.
#[derive(Debug)]
#[non_exhaustive]
pub struct EventBatch {
    /// The events, the oldest first.
    pub events: Vec<Event>,
    /// The end of the window. All earlier events of the list have been read.
    pub until: SystemTime,
    /// The ids of the items that are not events in a known form.
    pub unreadable: Vec<String>,
}

impl EventReader {
    /// Creates a reader of this source.
    #[must_use]
    pub fn new(client: &Client, source: EventSource) -> Self {
        Self {
            client: client.clone(),
            source,
            since: None,
            until: None,
            max_age: MAX_AGE,
            min_age: Duration::from_secs(60),
            rest: None,
            window: FIRST_WINDOW,
            last_request: None,
        }
    }

    /// Sets the time from which on events are read, in whole seconds. The
    /// [maximum age](Self::max_age) applies too.
    #[must_use]
    pub fn since(self, since: SystemTime) -> Self {
        Self { since: Some(since), ..self }
    }

    /// Sets the time before which events are read, in whole seconds. The
    /// [minimum age](Self::min_age) applies too.
    #[must_use]
    pub fn until(self, until: SystemTime) -> Self {
        Self { until: Some(until), ..self }
    }

    /// Sets the maximum age of the events, by Stripe's clock. Default: 30 days.
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }

    /// Sets the minimum age of the events, by Stripe's clock. Default: one minute, so that an event
    /// whose first delivery is in progress is not taken for a missed one.
    #[must_use]
    pub fn min_age(self, min_age: Duration) -> Self {
        Self { min_age, ..self }
    }

    /// Returns the source.
    #[must_use]
    pub fn source(&self) -> &EventSource {
        &self.source
    }

    /// Returns the times of creation that are still to be read. The first call asks Stripe for its
    /// time. Cancel safe.
    ///
    /// # Errors
    ///
    /// Fails if the request fails, or if its answer has no date. Fails too if the date is more than
    /// a day away from the client's clock.
    pub async fn range(&mut self) -> Result<Range<SystemTime>, Error> {
        let Range { start, end } = self.rest().await?;
        Ok(time(start)..time(end))
    }

    /// Reads the next batch, which may be empty. Returns `None` after the last one. Cancel safe.
    ///
    /// An item that is not an event in a known form is logged, and its id is part of the batch.
    ///
    /// # Errors
    ///
    /// Fails if a request fails. The call can be repeated, and then reads the same batch.
    pub async fn next(&mut self) -> Result<Option<EventBatch>, Error> {
        let rest = self.rest().await?;
        if rest.is_empty() {
            return Ok(None);
        }
        loop {
            let window = rest.start..rest.start.saturating_add(self.window).min(rest.end);
            let length = window.end - window.start;
            let limit = if length > 1 { MAX_EVENTS } else { usize::MAX };
            let Some(items) = self.list(&window, limit).await? else {
                self.window = length / 2;
                continue;
            };
            // Doubled only if the next window probably need not be halved, which wastes requests.
            if items.len() < MAX_EVENTS / 3 {
                self.window = self.window.saturating_mul(2);
            }
            self.rest = Some(window.end..rest.end);
            return Ok(Some(self.batch(items, time(window.end))));
        }
    }

    /// Returns the seconds that are still to be read.
    async fn rest(&mut self) -> Result<Range<u64>, Error> {
        if let Some(rest) = &self.rest {
            return Ok(rest.clone());
        }
        self.wait_for_turn().await;
        let request = self.source.request(&self.client).query("limit", "1");
        let response = request.send().await?;
        let now = response.date().ok_or_else(|| {
            response.unreadable("the answer has no `Date`, which events are listed by".to_owned())
        })?;
        let local = self.client.clock().wall();
        if now.max(local) > now.min(local) + MAX_CLOCK_SKEW {
            let date = humantime::format_rfc3339_seconds(now);
            return Err(response.unreadable(format!(
                "the answer is from {date}, more than a day away from this machine's clock; check the \
                 clock, and the proxy"
            )));
        }
        let latest = now.checked_sub(self.min_age).unwrap_or(SystemTime::UNIX_EPOCH);
        let earliest = now.checked_sub(self.max_age).unwrap_or(SystemTime::UNIX_EPOCH);
        let since = self.since.map_or(earliest, |since| since.max(earliest));
        let until = self.until.map_or(latest, |until| until.min(latest));
        Ok(self.rest.insert(seconds(since)..seconds(until)).clone())
    }

    /// Lists the items of a window, the newest first. Returns `None` if there are more than
    /// `limit`.
    async fn list(
        &mut self,
        window: &Range<u64>,
        limit: usize,
    ) -> Result<Option<Vec<Box<RawValue>>>, Error> {
        let mut pages = self
            .source
            .request(&self.client)
            .query("created[gte]", self.source.time(window.start))
            .query("created[lt]", self.source.time(window.end))
            .pages();
        let mut items = Vec::new();
        loop {
            self.wait_for_turn().await;
            match pages.next().await? {
                None => return Ok(Some(items)),
                Some(page) => items.extend(page),
            }
            if items.len() > limit {
                return Ok(None);
            }
        }
    }

    fn batch(&self, items: Vec<Box<RawValue>>, until: SystemTime) -> EventBatch {
        let (mut events, mut unreadable) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items.into_iter().rev() {
            let id = id(&item);
            match self.source.event(item) {
                Ok(event) => events.push(event),
                Err(error) => {
                    tracing::error!(
                        event.id = id,
                        source = %self.source,
                        %error,
                        "an event in Stripe's list cannot be read, and is skipped; look it up in \
                         Stripe's dashboard"
                    );
                    unreadable.push(id);
                }
            }
        }
        EventBatch { events, until, unreadable }
    }

    /// Waits until the next list request may be sent.
    async fn wait_for_turn(&mut self) {
        let clock = self.client.clock();
        if let Some(last) = self.last_request {
            clock.sleep_until(last + REQUEST_INTERVAL).await;
        }
        self.last_request = Some(clock.monotonic());
    }
}

/// Returns the id of an item, or a note that it has none.
fn id(item: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Item {
        id: String,
    }
    serde_json::from_str(item.get()).map_or_else(|_| "(without id)".to_owned(), |Item { id }| id)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
