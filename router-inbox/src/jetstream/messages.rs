//! What is written: one message, or several that are there together or not at all.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request, client::RequestErrorKind, connection, header};
use bytes::Bytes;
use router_core::clock::{Clock as _, SystemClock};
use serde::Deserialize;

use super::{
    about::About,
    connect::{Place, Server},
    record::Record,
};
use crate::StoreError;

/// A message that is to be written, if the stream is as it expects.
#[derive(Debug, Clone)]
pub(super) struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

/// Why nothing was written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The stream is not as one of the messages expects.
    Conflict,
    /// It is not even known whether.
    Failed(StoreError),
}

/// So many are written together at most, by the server's limit of 1,000.
pub(super) const AT_ONCE: usize = 900;

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it is kept that a record is elsewhere now: who follows the stream is told within this.
const MOVED_FOR: &str = "60s";

/// What an event's message says of it.
pub(super) const ABOUT: &str = "Inbox-Event";

/// As the server says that the stream is not as expected.
const WRONG_LAST_SEQUENCE: u64 = 10_071;

/// As it says that too many write several messages at this moment: 50 may, each of the others is soon to be.
const TOO_MANY_BATCHES: [u64; 2] = [10_176, 10_210];

/// How often it is tried again then, and after how long at first.
const BATCH_ATTEMPTS: u32 = 6;
const BATCH_WAIT: Duration = Duration::from_millis(20);

impl Message {
    pub(super) fn new(subject: String, payload: impl Into<Bytes>) -> Self {
        Self { subject, headers: HeaderMap::new(), payload: payload.into() }
    }

    pub(super) fn event(
        subject: String,
        about: &About,
        payload: Bytes,
    ) -> Result<Self, StoreError> {
        let about = serde_json::to_string(about).map_err(StoreError::of)?;
        let mut message = Self::new(subject, payload);
        message.headers.insert(ABOUT, about);
        Ok(message)
    }

    pub(super) fn record(subject: String, record: &Record) -> Result<Self, StoreError> {
        Ok(Self::new(subject, serde_json::to_vec(record).map_err(StoreError::of)?))
    }

    /// Says for a while that what was there is not there any more, and is then gone itself.
    pub(super) fn moved(subject: String) -> Self {
        let mut message = Self::new(subject, Bytes::new());
        message.headers.insert(header::NATS_MESSAGE_TTL, MOVED_FOR);
        message
    }

    /// Only if this is the last message of its subject; with 0, if there is none.
    pub(super) fn replacing(mut self, sequence: u64) -> Self {
        self.headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, sequence.to_string());
        self
    }

    /// Only if this is the last message of these subjects.
    pub(super) fn after(self, sequence: u64, subjects: &str) -> Self {
        let mut message = self.replacing(sequence);
        message.headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", subjects);
        message
    }

    fn part(&mut self, batch: &str, number: usize) {
        self.headers.insert(header::NATS_BATCH_ID, batch);
        self.headers.insert(header::NATS_BATCH_SEQUENCE, number.to_string());
    }
}

/// How the server answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    seq: u64,
    error: Option<Refused>,
}

#[derive(Debug, Deserialize, thiserror::Error)]
#[error("the NATS server refuses to store it: {description} ({err_code})")]
struct Refused {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error(
        "no answer from {0} within {PATIENCE:?}: it is overloaded, or its servers cannot agree; see `nats stream report`"
    )]
    InTime(Server),
    #[error(
        "nobody at {0} keeps the stream at the moment: a server is missing, or they are choosing a leader; see `nats \
         stream report`"
    )]
    Nobody(Server),
}

#[derive(Debug, thiserror::Error)]
#[error(
    "it has {size} bytes, and {server} takes no message of more than {most}; raise `max_payload` in the server's \
     configuration"
)]
pub(super) struct TooLarge {
    pub(super) size: usize,
    pub(super) most: usize,
    pub(super) server: Server,
}

/// Writes the messages, all or none; the sequence of the last one, before which those of the others are.
pub(super) async fn write(
    client: &Client,
    place: &Place,
    messages: &[Message],
) -> Result<u64, Unwritten> {
    let mut attempt = 0;
    loop {
        if client.connection_state() != connection::State::Connected {
            return Err(StoreError::of(place.disconnected()).into());
        }
        let answer = place.unless_lost(ask(client, &place.server, messages)).await;
        let answer = answer.map_err(StoreError::of)??;
        let Some(refused) = answer.error else { return Ok(answer.seq) };
        match refused.err_code {
            WRONG_LAST_SEQUENCE => return Err(Unwritten::Conflict),
            code if TOO_MANY_BATCHES.contains(&code) && attempt < BATCH_ATTEMPTS => {
                SystemClock.sleep(BATCH_WAIT.mul_f64(fastrand::f64()) * 2_u32.pow(attempt)).await;
                attempt += 1;
            }
            _ => return Err(StoreError::of(refused).into()),
        }
    }
}

async fn ask(client: &Client, server: &Server, messages: &[Message]) -> Result<Answer, StoreError> {
    let Some((last, others)) = messages.split_last() else {
        return Ok(Answer { seq: 0, error: None });
    };
    let mut last = last.clone();
    if !others.is_empty() {
        let batch = format!("{:032x}", fastrand::u128(..));
        last.part(&batch, messages.len());
        last.headers.insert(header::NATS_BATCH_COMMIT, header::NATS_BATCH_COMMIT_FINAL);
        for (at, message) in others.iter().enumerate() {
            let mut message = message.clone();
            message.part(&batch, at + 1);
            let Message { subject, headers, payload } = message;
            let published = client.publish_with_headers(subject, headers, payload).await;
            published.map_err(StoreError::of)?;
        }
    }
    let Message { subject, headers, payload } = last;
    let request = Request::new().headers(headers).payload(payload).timeout(Some(PATIENCE));
    let answer = client.send_request(subject, request).await;
    let answer = answer.map_err(|error| match error.kind() {
        RequestErrorKind::TimedOut => StoreError::of(Unanswered::InTime(server.clone())),
        RequestErrorKind::NoResponders => StoreError::of(Unanswered::Nobody(server.clone())),
        _ => StoreError::of(error),
    })?;
    serde_json::from_slice(&answer.payload).map_err(StoreError::of)
}

impl From<StoreError> for Unwritten {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}
