//! Selects events.

use std::{collections::HashSet, time::Duration};

use super::{
    super::{
        Connection,
        event_meta::EventMeta,
        lookup::PayloadMessage,
        read::{self, Reader},
        record::number_from_sequence,
    },
    matches_type,
};
use crate::{
    StoreError,
    operations::EventSelector,
    store::{erase::json_string, millis::millis},
};

/// The assumed maximum difference between the servers' clocks, in milliseconds.
const MAX_CLOCK_SKEW: i64 = 60_000;

/// A text to find in payloads, with the events that mention it in a redelivered payload.
struct Mention {
    /// The text as a JSON string.
    json: Vec<u8>,
    identities: HashSet<String>,
}

impl Mention {
    fn is_in(&self, meta: &EventMeta, payload: &[u8]) -> bool {
        contains(payload, &self.json) || self.identities.contains(&meta.identity)
    }
}

impl Connection {
    /// Returns the numbers of the selected events.
    pub(super) async fn select(&self, selection: &EventSelector) -> Result<Vec<i64>, StoreError> {
        let now = self.time.now();
        let ago = |time: Duration| now.saturating_sub(millis(time));
        let (since, until) = (selection.max_age.map(ago), selection.min_age.map(ago));
        let is_selected = |meta: &EventMeta| {
            meta.generation == 0
                && matches_type(selection.event_type.as_deref(), &meta.event_type)
                && selection.object.as_ref().is_none_or(|object| *object == meta.object)
                && since.is_none_or(|since| meta.stored_at >= since)
                && until.is_none_or(|until| meta.stored_at <= until)
        };
        let mention = match &selection.mentions {
            Some(text) => Some(self.mention(text).await?),
            None => None,
        };
        let mentions_text = |meta: &EventMeta, payload: &[u8]| {
            mention.as_ref().is_none_or(|mention| mention.is_in(meta, payload))
        };
        if let Some(id) = &selection.event_id {
            let mut events = self.events_with_id(id).await?;
            events.retain(|event| {
                is_selected(&event.meta) && mentions_text(&event.meta, &event.payload)
            });
            return Ok(events.iter().map(PayloadMessage::number).collect());
        }
        let (events, headers_only) = (vec![self.subjects.events()], mention.is_none());
        let mut reader = Reader::new(&self.stream, events, headers_only).await?;
        let mut selected = Vec::new();
        while let Some(message) = reader.next_existing().await? {
            let Some(meta) = read::event_meta(&message.headers) else { continue };
            if meta.is_erased() {
                continue;
            }
            // Events are in the order of their times, apart from clock skew between servers. The
            // exception is erased events, whose messages have been replaced.
            if until.is_some_and(|until| meta.stored_at > until.saturating_add(MAX_CLOCK_SKEW)) {
                break;
            }
            if is_selected(&meta) && mentions_text(&meta, &message.payload) {
                selected.push(number_from_sequence(message.sequence));
            }
        }
        reader.close().await;
        if mention.is_none() {
            let erased = vec![self.subjects.all_erased()];
            let mut reader = Reader::new(&self.stream, erased, true).await?;
            while let Some(message) = reader.next_existing().await? {
                let meta = read::event_meta(&message.headers).filter(is_selected);
                selected.extend(meta.and_then(|meta| meta.erased));
            }
            reader.close().await;
        }
        selected.sort_unstable();
        // An event that was erased in the meantime has been found twice.
        selected.dedup();
        Ok(selected)
    }

    /// Finds the events that mention a text in a redelivered payload.
    async fn mention(&self, text: &str) -> Result<Mention, StoreError> {
        let json = json_string(text);
        let mut reader = Reader::new(&self.stream, vec![self.subjects.copies()], false).await?;
        let mut identities = HashSet::new();
        while let Some(message) = reader.next_existing().await? {
            if contains(&message.payload, &json) {
                identities.extend(read::event_meta(&message.headers).map(|meta| meta.identity));
            }
        }
        reader.close().await;
        Ok(Mention { json, identities })
    }
}

fn contains(payload: &[u8], text: &[u8]) -> bool {
    payload.windows(text.len()).any(|window| window == text)
}
