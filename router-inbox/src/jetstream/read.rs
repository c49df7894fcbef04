//! Reads from the stream: the last message of one subject, or of each subject of a filter.

use std::{error::Error, time::Duration};

use async_nats::jetstream::{
    Context,
    consumer::{AckPolicy, Consumer, DeliverPolicy, pull},
    message::StreamMessage,
    stream::{RawMessageErrorKind, Stream},
};
use futures_util::StreamExt as _;
use router_core::{
    BoxError,
    clock::{Clock as _, SystemClock},
};
use serde::Deserialize;

use super::{event_meta::EventMeta, messages::META_HEADER, time::ServerTime};
use crate::StoreError;

/// Number of messages that the server sends per pull request.
const PULL_BATCH: usize = 1_000;

/// Lifetime of a pull request, and of a consumer that no client reads.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(30);

/// Interval of the idle checks, in which a silent reader asks the server whether existing messages
/// are left.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// Maximum number of idle checks per message. After them, a reader stops waiting for existing
/// messages, even if the server still counts some.
const MAX_IDLE_CHECKS: u32 = 10;

/// Interval between the server's heartbeats while it has no messages to send.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[error("messages of the stream were lost between the server and this process")]
struct Gap;

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the inbox from the NATS server; if this persists, check with `nats stream report` \
     whether its servers are up and the stream has a leader"
)]
struct ReadFailed(#[source] BoxError);

/// Reads the last message of a subject, or of a filter's subjects. Asks the leader, so that the
/// message is the latest.
pub(super) async fn last(
    stream: &Stream,
    subject: &str,
) -> Result<Option<StreamMessage>, StoreError> {
    optional(stream.get_last_raw_message_by_subject(subject).await)
}

/// Reads the message with this sequence.
pub(super) async fn by_sequence(
    stream: &Stream,
    sequence: u64,
) -> Result<Option<StreamMessage>, StoreError> {
    optional(stream.get_raw_message(sequence).await)
}

/// Reads the first message of these subjects whose sequence is at least `sequence`.
pub(super) async fn first_from(
    stream: &Stream,
    subjects: &str,
    sequence: u64,
) -> Result<Option<StreamMessage>, StoreError> {
    optional(stream.get_first_raw_message_by_subject(subjects, sequence).await)
}

fn optional(
    message: Result<StreamMessage, async_nats::error::Error<RawMessageErrorKind>>,
) -> Result<Option<StreamMessage>, StoreError> {
    match message {
        Ok(message) => Ok(Some(message)),
        Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(read_error(error)),
    }
}

/// Returns the metadata from the headers of a payload message. Returns `None` for any other
/// message, such as the tombstone of a purged event.
pub(super) fn event_meta(headers: &async_nats::HeaderMap) -> Option<EventMeta> {
    serde_json::from_str(headers.get(META_HEADER)?.as_str()).ok()
}

/// A message from a [`Reader`].
pub(super) struct ReadMessage {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) headers: async_nats::HeaderMap,
    pub(super) payload: bytes::Bytes,
    /// The number of existing messages after this one.
    pub(super) pending: u64,
}

/// Reads the last message of each subject in the order of their sequences, then new messages.
pub(super) struct Reader {
    stream: Stream,
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    /// The number of messages that existed when the reader was created.
    pub(super) existing: u64,
    delivered: u64,
}

impl Reader {
    pub(super) async fn new(
        stream: &Stream,
        subjects: Vec<String>,
        headers_only: bool,
    ) -> Result<Self, StoreError> {
        let consumer = consumer(stream, subjects, headers_only).await?;
        let existing = consumer.cached_info().num_pending;
        let messages = consumer
            .stream()
            .max_messages_per_batch(PULL_BATCH)
            .expires(CONSUMER_TIMEOUT)
            .heartbeat(HEARTBEAT_INTERVAL)
            .messages()
            .await
            .map_err(read_error)?;
        Ok(Self { stream: stream.clone(), consumer, messages, existing, delivered: 0 })
    }

    /// Returns the next message, and waits for it if necessary. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<ReadMessage, StoreError> {
        let message = self.messages.next().await.ok_or_else(|| StoreError::unavailable(Gap))?;
        let message = message.map_err(read_error)?;
        let info = message.info().map_err(StoreError::unavailable)?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        self.delivered += 1;
        if info.consumer_sequence != self.delivered {
            return Err(StoreError::unavailable(Gap));
        }
        let message = message.message;
        Ok(ReadMessage {
            subject: message.subject.to_string(),
            sequence,
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
            pending,
        })
    }

    /// Returns the next of the messages that existed when the reader was created, then `None`.
    pub(super) async fn next_existing(&mut self) -> Result<Option<ReadMessage>, StoreError> {
        let mut idle_checks = 0;
        while self.delivered < self.existing {
            tokio::select! {
                biased;
                message = self.next() => {
                    let message = message?;
                    if message.pending == 0 {
                        self.existing = self.delivered;
                    }
                    return Ok(Some(message));
                }
                () = SystemClock.sleep(IDLE_CHECK_INTERVAL) => {
                    // The last messages may have expired since they were counted.
                    idle_checks += 1;
                    let info = self.consumer.info().await.map_err(read_error)?;
                    let is_last_check = idle_checks == MAX_IDLE_CHECKS;
                    // Messages on their way are not pending for the server.
                    match info.delivered.consumer_sequence > self.delivered {
                        true if is_last_check => return Err(StoreError::unavailable(Gap)),
                        false if info.num_pending == 0 || is_last_check => {
                            self.existing = self.delivered;
                        }
                        _ => {}
                    }
                }
            }
        }
        Ok(None)
    }

    /// Deletes the consumer, which the server would otherwise do after [`CONSUMER_TIMEOUT`].
    pub(super) async fn close(self) {
        let name = &self.consumer.cached_info().name;
        drop(self.stream.delete_consumer(name).await);
    }
}

/// Returns the number of subjects that match the filter and have a message.
pub(super) async fn count(stream: &Stream, subjects: String) -> Result<u64, StoreError> {
    let consumer = consumer(stream, vec![subjects], true).await?;
    let info = consumer.cached_info();
    drop(stream.delete_consumer(&info.name).await);
    Ok(info.num_pending)
}

async fn consumer(
    stream: &Stream,
    filter_subjects: Vec<String>,
    headers_only: bool,
) -> Result<Consumer<pull::Config>, StoreError> {
    let config = pull::Config {
        filter_subjects,
        headers_only,
        deliver_policy: DeliverPolicy::LastPerSubject,
        ack_policy: AckPolicy::None,
        inactive_threshold: CONSUMER_TIMEOUT,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map_err(read_error)
}

/// Asks for the stream's state: adopts the server's time from the answer, and returns the sequence
/// of the stream's last message.
pub(super) async fn sync_time(
    jetstream: &Context,
    stream: &str,
    time: &ServerTime,
) -> Result<u64, StoreError> {
    #[derive(Deserialize)]
    struct Info {
        ts: String,
        state: StreamState,
    }
    #[derive(Deserialize)]
    struct StreamState {
        last_seq: u64,
    }
    let asked_at = time.clock().monotonic();
    let info = jetstream.request(format!("STREAM.INFO.{stream}"), &()).await;
    let info: Info = info.map_err(read_error)?;
    time.synchronize(asked_at, humantime::parse_rfc3339(&info.ts).map_err(StoreError::corrupt)?);
    Ok(info.state.last_seq)
}

/// Adds the context that the client's own errors lack.
pub(super) fn read_error(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::unavailable(ReadFailed(error.into()))
}
