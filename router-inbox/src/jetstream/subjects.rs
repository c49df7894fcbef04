//! The subjects of the messages in an inbox's stream.

use std::sync::Arc;

use super::{
    event_meta::{EventMeta, hash},
    record::{CopyRef, Record, Stage},
};

/// The subjects of an inbox. All begin with the inbox's name.
///
/// The subjects of an event contain the id in its key, which is readable, the hash of its key, and
/// its generation. A thin event and its snapshot event have the same subjects, so a compare-and-set
/// on a subject decides which of the two is stored.
#[derive(Debug, Clone)]
pub(super) struct Subjects(Arc<str>);

impl Subjects {
    pub(super) fn new(inbox: &str) -> Self {
        Self(inbox.into())
    }

    /// Returns the filter for all subjects of the inbox.
    pub(super) fn all(&self) -> String {
        format!("{}.>", self.0)
    }

    /// Returns the subject of an event's payload message.
    pub(super) fn event(&self, meta: &EventMeta) -> String {
        format!("{}.event.{}", self.0, event_tokens(meta))
    }

    /// Returns the filter for all payload messages.
    pub(super) fn events(&self) -> String {
        format!("{}.event.>", self.0)
    }

    /// Returns the filter for the payload messages of all events with this id in their keys.
    pub(super) fn events_with_key_id(&self, id: &str) -> String {
        format!("{}.event.{}.*.*", self.0, subject_token(id))
    }

    /// Returns the filter for the payload messages of all generations of an event.
    pub(super) fn generations(&self, key_id: &str, identity: &str) -> String {
        format!("{}.event.{}.{identity}.*", self.0, subject_token(key_id))
    }

    /// Returns the subject of a redelivered payload of the event.
    pub(super) fn copy(&self, meta: &EventMeta, copy: CopyRef) -> String {
        let (inbox, key_id, identity) = (&self.0, subject_token(meta.key_id()), &meta.identity);
        format!("{inbox}.copy.{key_id}.{identity}.{}.{}", copy.generation, copy.number)
    }

    /// Returns the filter for the redelivered payloads of all events, without those of replays.
    pub(super) fn copies(&self) -> String {
        format!("{}.copy.*.*.0.*", self.0)
    }

    /// Returns the subject under which an erased event is found by its number.
    pub(super) fn erased(&self, number: i64) -> String {
        format!("{}.erased.{number}", self.0)
    }

    /// Returns the filter for the numbers of all erased events.
    pub(super) fn all_erased(&self) -> String {
        format!("{}.erased.*", self.0)
    }

    /// Returns the subject of the alias under which an event is found by another id.
    pub(super) fn alias(&self, id: &str, meta: &EventMeta) -> String {
        format!("{}.alias.{}.{}", self.0, subject_token(id), meta.identity)
    }

    /// Returns the filter for the aliases with this id.
    pub(super) fn aliases(&self, id: &str) -> String {
        format!("{}.alias.{}.*", self.0, subject_token(id))
    }

    /// Returns the subject of a record.
    pub(super) fn record(&self, record: &Record) -> String {
        self.record_at(&record.meta, record.stage(), &record.deliveries.len().to_string())
    }

    /// Returns the filter for the subject of an event's record if the record is at this stage.
    pub(super) fn record_of(&self, meta: &EventMeta, stage: Stage) -> String {
        self.record_at(meta, stage, "*")
    }

    fn record_at(&self, meta: &EventMeta, stage: Stage, deliveries: &str) -> String {
        let (inbox, event) = (&self.0, event_tokens(meta));
        match stage {
            Stage::Open => format!("{inbox}.open.{}.{event}", meta.object_hash),
            Stage::Dead => format!("{inbox}.dead.{event}"),
            Stage::Ended => format!("{inbox}.ended.{deliveries}.{event}"),
            Stage::Unhandled => format!("{inbox}.unhandled.{event}"),
        }
    }

    /// Returns the filter for all records at this stage.
    pub(super) fn records(&self, stage: Stage) -> String {
        let stage = match stage {
            Stage::Open => "open",
            Stage::Dead => "dead",
            Stage::Ended => "ended",
            Stage::Unhandled => "unhandled",
        };
        format!("{}.{stage}.>", self.0)
    }

    /// Returns the filter for the ended records with this number of deliveries.
    pub(super) fn ended_with(&self, deliveries: usize) -> String {
        format!("{}.ended.{deliveries}.>", self.0)
    }

    /// Returns the filter for the open records of one object.
    pub(super) fn open_records_of(&self, object_hash: &str) -> String {
        format!("{}.open.{object_hash}.*.*.*", self.0)
    }

    /// Returns the subject of the highest recency that a handler has done of an object's events.
    pub(super) fn newest_done(&self, handler: &str, object_hash: &str) -> String {
        format!("{}.newest.{}", self.0, hash(&[handler, object_hash]))
    }

    /// Returns the subject of a handler's entry.
    pub(super) fn handler(&self, name: &str) -> String {
        format!("{}.handler.{}", self.0, subject_token(name))
    }

    /// Returns the filter for the entries of all handlers.
    pub(super) fn handlers(&self) -> String {
        format!("{}.handler.*", self.0)
    }

    /// Returns the subject of a running worker's message.
    pub(super) fn worker(&self, name: &str) -> String {
        format!("{}.worker.{}", self.0, subject_token(name))
    }

    /// Returns the filter for the messages of all running workers.
    pub(super) fn workers(&self) -> String {
        format!("{}.worker.*", self.0)
    }

    /// Returns the subject of the message with all paused handlers.
    pub(super) fn paused(&self) -> String {
        format!("{}.paused", self.0)
    }

    /// Returns the subject of a checkpoint's message.
    pub(super) fn checkpoint(&self, name: &str) -> String {
        format!("{}.checkpoint.{}", self.0, subject_token(name))
    }
}

/// Returns the three subject tokens that identify an event in a generation.
fn event_tokens(meta: &EventMeta) -> String {
    format!("{}.{}.{}", subject_token(meta.key_id()), meta.identity, meta.generation)
}

/// Returns the text if it is valid as a token of a subject, as Stripe's ids are, and otherwise a
/// hash of it.
fn subject_token(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':');
    if (1..=120).contains(&text.len()) && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("={}", hash(&[text]))
    }
}
