//! Writes messages to the stream: a single one, or several as an atomic batch.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request, client::RequestErrorKind, header};
use bytes::Bytes;
use router_core::clock::{Clock as _, SystemClock};
use serde::Deserialize;

use super::{
    connect::{Address, Server},
    event_meta::EventMeta,
    record::Record,
};
use crate::{StoreError, store::StoreErrorKind};

/// A message to write, with the preconditions under which the server accepts it.
#[derive(Debug, Clone)]
pub(super) struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

/// The reason why a write did not succeed.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The precondition of a message was not met. Nothing was written.
    Conflict,
    /// The write failed otherwise. Its outcome is unknown: it may have been applied.
    Failed(StoreError),
}

/// The maximum number of messages in an atomic batch. The server's limit is 1,000.
pub(super) const MAX_BATCH: usize = 900;

/// Limit for the server's acknowledgement of a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time after which tombstones expire. Followers of the stream must have read them by then.
const TOMBSTONE_TTL: Duration = Duration::from_secs(60);

/// Maximum time after which the server deletes a message. The server rejects a time that overflows
/// its 64-bit nanoseconds (292 years).
const MAX_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The header of a payload message that contains the event's metadata.
pub(super) const META_HEADER: &str = "Inbox-Event";

/// The server's error code for a precondition that is not met.
const WRONG_LAST_SEQUENCE: u64 = 10_071;

/// The server's error codes for too many concurrent batches. It accepts 50 at a time in a stream.
const TOO_MANY_BATCHES: [u64; 2] = [10_176, 10_210];

/// Maximum number of retries after too many concurrent batches.
const MAX_BATCH_RETRIES: u32 = 6;

/// Upper bound for the random delay of the first retry. The bound doubles with each retry.
const INITIAL_BATCH_BACKOFF: Duration = Duration::from_millis(20);

impl Message {
    pub(super) fn new(subject: String, payload: impl Into<Bytes>) -> Self {
        Self { subject, headers: HeaderMap::new(), payload: payload.into() }
    }

    pub(super) fn event(
        subject: String,
        meta: &EventMeta,
        payload: Bytes,
    ) -> Result<Self, StoreError> {
        let meta = serde_json::to_string(meta).map_err(StoreError::corrupt)?;
        let mut message = Self::new(subject, payload);
        message.headers.insert(META_HEADER, meta);
        Ok(message)
    }

    pub(super) fn record(subject: String, record: &Record) -> Result<Self, StoreError> {
        Ok(Self::new(subject, serde_json::to_vec(record).map_err(StoreError::corrupt)?))
    }

    /// Creates a tombstone, which empties a subject and then expires.
    pub(super) fn tombstone(subject: String) -> Self {
        Self::new(subject, Bytes::new()).expire_after(TOMBSTONE_TTL)
    }

    /// Makes the server delete the message after this time, rounded up to whole seconds: at least
    /// one second, and at most [`MAX_TTL`].
    pub(super) fn expire_after(mut self, ttl: Duration) -> Self {
        let seconds = ttl.min(MAX_TTL).as_millis().div_ceil(1_000).max(1);
        self.headers.insert(header::NATS_MESSAGE_TTL, format!("{seconds}s"));
        self
    }

    /// Requires that the subject's last message has this sequence; 0 requires an empty subject.
    pub(super) fn expect_revision(mut self, sequence: u64) -> Self {
        self.headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
        self
    }

    /// Requires that the last message of these subjects has this sequence. Replaces the
    /// requirement for the message's own subject.
    ///
    /// In a cluster, the server checks a subject also against messages that a majority of the
    /// replicas does not have yet. It checks a filter with a wildcard only against the others.
    pub(super) fn expect_last_of(self, subjects: &str, sequence: u64) -> Self {
        let mut message = self.expect_revision(sequence);
        message.headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", subjects);
        message
    }

    fn set_batch_position(&mut self, batch: &str, number: usize) {
        self.headers.insert(header::NATS_BATCH_ID, batch);
        self.headers.insert(header::NATS_BATCH_SEQUENCE, number.to_string());
    }
}

/// The server's acknowledgement of a write.
#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<Rejected>,
}

#[derive(Debug, Deserialize, thiserror::Error)]
#[error("the NATS server rejected a message: {description} ({err_code})")]
struct Rejected {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

impl Rejected {
    /// Returns the kind, by the server's
    /// [error code](https://github.com/nats-io/nats-server/blob/main/server/errors.json).
    fn kind(&self) -> StoreErrorKind {
        match self.err_code {
            // The message or the batch exceeds a limit of the server.
            10_054 | 10_097 | 10_199 => StoreErrorKind::Rejected,
            // Too many batches or too many requests.
            code if TOO_MANY_BATCHES.contains(&code) => StoreErrorKind::Busy,
            _ => StoreErrorKind::Unavailable,
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum NoAck {
    #[error(
        "no answer from {0} within {WRITE_TIMEOUT:?}: the server is overloaded, or the cluster has \
         no quorum; see `nats stream report`"
    )]
    Timeout(Server),
    #[error(
        "{0} does not serve the stream at the moment: a server is down, or the cluster is electing \
         a leader; see `nats stream report`"
    )]
    NoResponders(Server),
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the event's message has {size} bytes, but {server} accepts at most {max}; raise `max_payload` \
     in the server's configuration"
)]
pub(super) struct TooLarge {
    pub(super) size: usize,
    pub(super) max: usize,
    pub(super) server: Server,
}

/// Writes messages atomically. Their sequences are consecutive; returns that of the last.
pub(super) async fn write(
    client: &Client,
    address: &Address,
    messages: &[Message],
) -> Result<u64, WriteError> {
    let mut retries = 0;
    loop {
        let publish = publish(client, &address.server, messages);
        let ack = address.unless_disconnected(client, publish).await;
        let ack = ack.map_err(StoreError::unavailable)??;
        let Some(rejected) = ack.error else { return Ok(ack.seq) };
        match rejected.err_code {
            WRONG_LAST_SEQUENCE => return Err(WriteError::Conflict),
            code if TOO_MANY_BATCHES.contains(&code) && retries < MAX_BATCH_RETRIES => {
                let backoff = INITIAL_BATCH_BACKOFF.mul_f64(fastrand::f64()) * 2_u32.pow(retries);
                SystemClock.sleep(backoff).await;
                retries += 1;
            }
            _ => return Err(StoreError::new(rejected.kind(), rejected).into()),
        }
    }
}

/// Splits items into groups that each fit into one atomic batch. The messages of one item are never
/// split.
pub(super) fn batches<T>(items: &[T], messages_of: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let (mut batches, mut remaining) = (Vec::new(), items);
    while !remaining.is_empty() {
        let mut messages = 0;
        let fitting = remaining.iter().take_while(|item| {
            messages += messages_of(item);
            messages <= MAX_BATCH
        });
        let (batch, rest) = remaining.split_at(fitting.count().max(1));
        batches.push(batch);
        remaining = rest;
    }
    batches
}

/// Publishes messages, several as an atomic batch, and waits for the acknowledgement of the last.
async fn publish(
    client: &Client,
    server: &Server,
    messages: &[Message],
) -> Result<Ack, StoreError> {
    let Some((last, others)) = messages.split_last() else {
        return Ok(Ack { seq: 0, error: None });
    };
    let mut last = last.clone();
    if !others.is_empty() {
        let batch = format!("{:032x}", fastrand::u128(..));
        last.set_batch_position(&batch, messages.len());
        last.headers.insert(header::NATS_BATCH_COMMIT, header::NATS_BATCH_COMMIT_FINAL);
        for (index, message) in others.iter().enumerate() {
            let mut message = message.clone();
            message.set_batch_position(&batch, index + 1);
            let Message { subject, headers, payload } = message;
            let published = client.publish_with_headers(subject, headers, payload).await;
            published.map_err(StoreError::unavailable)?;
        }
    }
    let Message { subject, headers, payload } = last;
    let request = Request::new().headers(headers).payload(payload).timeout(Some(WRITE_TIMEOUT));
    let ack = client.send_request(subject, request).await;
    let ack = ack.map_err(|error| match error.kind() {
        RequestErrorKind::TimedOut => StoreError::unavailable(NoAck::Timeout(server.clone())),
        RequestErrorKind::NoResponders => {
            StoreError::unavailable(NoAck::NoResponders(server.clone()))
        }
        _ => StoreError::unavailable(error),
    })?;
    serde_json::from_slice(&ack.payload).map_err(StoreError::corrupt)
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BATCH, batches};

    #[test]
    fn batches_hold_as_many_items_as_fit() {
        let half = MAX_BATCH / 2;
        let items = [half, half, 1, half, half, 2 * MAX_BATCH, 3];
        let expected: [&[usize]; 5] = [&[half, half], &[1, half], &[half], &[2 * MAX_BATCH], &[3]];
        assert_eq!(batches(&items, |messages| *messages), expected);
    }
}
