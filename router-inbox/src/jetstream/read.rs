//! What is read: the last message of a subject, or of each of many.

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

use super::{about::About, messages::ABOUT, time::ServerTime};
use crate::StoreError;

/// How much the server sends without being asked again.
const PAGE: usize = 1_000;

/// How long the server keeps a place for a reader that is silent.
const READER: Duration = Duration::from_secs(30);

/// How long nothing comes before it is asked whether there is anything, and how often before there is not, whatever it
/// counts.
const SILENCE: Duration = Duration::from_millis(200);
const SILENCES: u32 = 10;

/// How often it says that it is there, while there is nothing to send.
const SIGN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[error("what the server sends of the stream has a gap")]
struct Gap;

#[derive(Debug, thiserror::Error)]
#[error(
    "the NATS server does not tell what is in the inbox; if that goes on, see whether its servers are up and the stream has \
     a leader: `nats stream report`"
)]
struct Unread(#[source] BoxError);

/// The last message of a subject, or of those of a pattern; from whoever leads, so that it is the last.
pub(super) async fn last(
    stream: &Stream,
    subject: &str,
) -> Result<Option<StreamMessage>, StoreError> {
    found(stream.get_last_raw_message_by_subject(subject).await)
}

/// The message with this number.
pub(super) async fn numbered(
    stream: &Stream,
    sequence: u64,
) -> Result<Option<StreamMessage>, StoreError> {
    found(stream.get_raw_message(sequence).await)
}

/// The first message of these subjects from this one on.
pub(super) async fn next(
    stream: &Stream,
    subjects: &str,
    sequence: u64,
) -> Result<Option<StreamMessage>, StoreError> {
    found(stream.get_first_raw_message_by_subject(subjects, sequence).await)
}

fn found(
    message: Result<StreamMessage, async_nats::error::Error<RawMessageErrorKind>>,
) -> Result<Option<StreamMessage>, StoreError> {
    match message {
        Ok(message) => Ok(Some(message)),
        Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// What an event's message says of it; `None` of another, and of one that is purged.
pub(super) fn about(headers: &async_nats::HeaderMap) -> Option<About> {
    serde_json::from_str(headers.get(ABOUT)?.as_str()).ok()
}

/// One message of many.
pub(super) struct Read {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) headers: async_nats::HeaderMap,
    pub(super) payload: bytes::Bytes,
    /// How many come after it.
    pub(super) pending: u64,
}

/// The last message of each of these subjects, as they were written, and then what is written.
pub(super) struct Reader {
    stream: Stream,
    consumer: Consumer<pull::Config>,
    messages: pull::Stream,
    /// How many there were at first.
    pub(super) there: u64,
    delivered: u64,
}

impl Reader {
    pub(super) async fn of(
        stream: &Stream,
        subjects: Vec<String>,
        headers_only: bool,
    ) -> Result<Self, StoreError> {
        let consumer = consumer(stream, subjects, headers_only).await?;
        let there = consumer.cached_info().num_pending;
        let messages = consumer
            .stream()
            .max_messages_per_batch(PAGE)
            .expires(READER)
            .heartbeat(SIGN)
            .messages()
            .await
            .map_err(failed)?;
        Ok(Self { stream: stream.clone(), consumer, messages, there, delivered: 0 })
    }

    /// The next one, once there is one.
    pub(super) async fn next(&mut self) -> Result<Read, StoreError> {
        let message = self.messages.next().await.ok_or_else(|| StoreError::of(Gap))?;
        let message = message.map_err(failed)?;
        let info = message.info().map_err(StoreError)?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        self.delivered += 1;
        if info.consumer_sequence != self.delivered {
            return Err(StoreError::of(Gap));
        }
        let message = message.message;
        Ok(Read {
            subject: message.subject.to_string(),
            sequence,
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
            pending,
        })
    }

    /// The next one of those that were there; at the end `None`.
    pub(super) async fn next_there(&mut self) -> Result<Option<Read>, StoreError> {
        let mut silent = 0;
        while self.delivered < self.there {
            tokio::select! {
                read = self.next() => {
                    let read = read?;
                    if read.pending == 0 {
                        self.there = self.delivered;
                    }
                    return Ok(Some(read));
                }
                () = SystemClock.sleep(SILENCE) => {
                    // The last ones may have gone by themselves since they were counted.
                    silent += 1;
                    let left = self.consumer.info().await.map_err(failed)?.num_pending;
                    if left == 0 || silent == SILENCES {
                        self.there = self.delivered;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Tells the server that nobody reads any more, which it would find out by itself.
    pub(super) async fn end(self) {
        let name = &self.consumer.cached_info().name;
        drop(self.stream.delete_consumer(name).await);
    }
}

/// How many of these subjects there are.
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
        inactive_threshold: READER,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map_err(failed)
}

/// Asks for the server's time, and the number of the last message.
pub(super) async fn ask_time(
    jetstream: &Context,
    stream: &str,
    time: &ServerTime,
) -> Result<u64, StoreError> {
    #[derive(Deserialize)]
    struct Info {
        ts: String,
        state: State,
    }
    #[derive(Deserialize)]
    struct State {
        last_seq: u64,
    }
    let asked_at = time.clock().monotonic();
    let info = jetstream.request(format!("STREAM.INFO.{stream}"), &()).await;
    let info: Info = info.map_err(failed)?;
    time.asked(asked_at, humantime::parse_rfc3339(&info.ts).map_err(StoreError::of)?);
    Ok(info.state.last_seq)
}

/// What the client says, which does not say of what.
pub(super) fn failed(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::of(Unread(error.into()))
}
