//! What is written: new events, and records in the place of those before them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use futures_util::future::try_join_all;

use super::{
    Connection, Handler,
    about::About,
    messages::{AT_ONCE, Message, TooLarge, Unwritten},
    open::Located,
    read,
    record::{Record, Stage},
};
use crate::{NewEvent, OrderKey, StoreError, Stored};

/// How often a write is tried that others are in the way of.
const ATTEMPTS: usize = 16;

#[derive(Debug, thiserror::Error)]
#[error("others change the same records all the time; try again")]
pub(super) struct Contended;

/// What the headers of an event's message have beside what is told of it.
const HEADERS: usize = 512;

/// Handlers, and whether each is ordered.
type Names = BTreeMap<Arc<str>, bool>;

/// A record in the place of the one that it was made of.
pub(super) struct Change {
    pub(super) of: Located,
    pub(super) record: Record,
}

impl Connection {
    pub(super) async fn store(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let mut stored = Vec::with_capacity(events.len());
        // Each is two messages, and its handlers may be new.
        for events in events.chunks(AT_ONCE / 3) {
            stored.extend(self.store_together(events).await?);
        }
        Ok(stored)
    }

    async fn store_together(&self, events: &[NewEvent]) -> Result<Vec<Stored>, StoreError> {
        let now = self.time.now();
        let mut stored = vec![Stored::Duplicate; events.len()];
        let mut seen = HashSet::new();
        let mut left: Vec<New<'_>> = Vec::new();
        for (at, new) in events.iter().enumerate() {
            let record = Record::new(new, now);
            let subject = self.subjects.event(&record.about);
            if seen.insert(subject.clone()) {
                left.push(New { at, new, record, subject, last: 0 });
            }
        }
        for _ in 0..ATTEMPTS {
            if left.is_empty() {
                return Ok(stored);
            }
            let deliveries = left.iter().flat_map(|new| &new.new.deliveries);
            let handlers = deliveries.map(|delivery| (&delivery.handler, delivery.ordered));
            let (names, mut messages) = self.new_handlers(handlers)?;
            for new in &left {
                messages.extend(self.new_event(new)?);
            }
            match self.write(&messages).await {
                Ok(last) => {
                    self.know_handlers(names);
                    let first = last + 1 - 2 * left.len() as u64;
                    for (place, new) in left.iter().enumerate() {
                        stored[new.at] = Stored::New;
                        self.hear_of(&new.record, first + 2 * place as u64 + 1);
                    }
                    return Ok(stored);
                }
                Err(Unwritten::Failed(error)) => return Err(error),
                // One of them is there already. Which, is asked for all.
                Err(Unwritten::Conflict) => {
                    let there = left.iter().map(|new| read::last(&self.stream, &new.subject));
                    let there = try_join_all(there).await?;
                    let asked = left.into_iter().zip(there);
                    left = asked.filter_map(|(new, there)| new.unless(there)).collect();
                }
            }
        }
        Err(StoreError::of(Contended))
    }

    fn new_event(&self, new: &New<'_>) -> Result<[Message; 2], StoreError> {
        let about = &new.record.about;
        let payload = new.new.event.payload().clone();
        let event = Message::event(new.subject.clone(), about, payload)?.replacing(new.last);
        let subject = self.subjects.record(about, new.record.stage());
        Ok([event, Message::record(subject, &new.record)?])
    }

    /// Whether the server takes an event of this size.
    pub(super) fn check(&self, new: &NewEvent) -> Result<(), StoreError> {
        let (payload, most) = (new.event.payload().len(), self.client.max_payload());
        // What is told of an event is in its payload too, but for an endpoint's name.
        if 2 * (payload + HEADERS) <= most {
            return Ok(());
        }
        let about = About::of(new, &OrderKey::of(&new.event), self.time.now());
        let about = serde_json::to_string(&about).map_err(StoreError::of)?;
        let size = payload + about.len() + HEADERS;
        if size <= most {
            return Ok(());
        }
        Err(StoreError::of(TooLarge { size, most, server: self.place.server.clone() }))
    }

    /// The handlers among these that this process has not told of yet, and what tells of them.
    pub(super) fn new_handlers<'h>(
        &self,
        all: impl Iterator<Item = (&'h Arc<str>, bool)>,
    ) -> Result<(Names, Vec<Message>), StoreError> {
        let mut names = Names::new();
        {
            let known = self.handlers();
            for (name, ordered) in all.filter(|(name, ordered)| known.get(*name) != Some(ordered)) {
                names.insert(name.clone(), ordered);
            }
        }
        let messages = names.iter().map(|(name, ordered)| {
            let handler = Handler { name: name.clone(), ordered: *ordered };
            let handler = serde_json::to_vec(&handler).map_err(StoreError::of)?;
            Ok(Message::new(self.subjects.handler(name), handler))
        });
        let messages = messages.collect::<Result<_, StoreError>>()?;
        Ok((names, messages))
    }

    pub(super) fn know_handlers(&self, names: Names) {
        self.handlers().extend(names);
    }

    /// Puts records in the place of others: all of them, or none. The numbers of messages that say only that what was
    /// counted where they are is elsewhere now.
    pub(super) async fn replace(&self, changes: &[Change]) -> Result<Vec<u64>, Unwritten> {
        let mut messages = Vec::new();
        for change in changes {
            messages.extend(self.change(change)?);
        }
        let mut sequence = self.write(&messages).await? - messages.len() as u64;
        let mut moved = Vec::new();
        for change in changes {
            moved.extend(self.hear_of_change(change, &mut sequence));
        }
        Ok(moved)
    }

    /// Where it stays, the record; where not, first at the new place.
    pub(super) fn change(&self, change: &Change) -> Result<Vec<Message>, StoreError> {
        let Change { of, record } = change;
        let subject = self.subjects.record(&record.about, record.stage());
        if *subject == *of.subject {
            return Ok(vec![Message::record(subject, record)?.replacing(of.revision)]);
        }
        let moved = Message::moved(of.subject.to_string()).replacing(of.revision);
        Ok(vec![Message::record(subject, record)?, moved])
    }

    /// Changes open records, each by itself, until nobody else is in the way. What they are changed to is decided anew
    /// each time: `change` says whether there is anything to do.
    pub(super) async fn change_open(
        &self,
        numbers: BTreeSet<i64>,
        mut change: impl FnMut(i64, Option<&mut Record>) -> bool,
    ) -> Result<(), StoreError> {
        let mirror = self.mirror().await?;
        let mut left = numbers;
        for _ in 0..ATTEMPTS {
            let mut changes = Vec::new();
            for number in std::mem::take(&mut left) {
                let of = mirror.open().find(number);
                let mut record = of.as_ref().map(|of| (*of.record).clone());
                if change(number, record.as_mut())
                    && let (Some(of), Some(record)) = (of, record)
                {
                    changes.push(Change { of, record });
                }
            }
            for changes in changes.chunks(AT_ONCE / 2) {
                match self.replace(changes).await {
                    Ok(_) => {}
                    Err(Unwritten::Failed(error)) => return Err(error),
                    Err(Unwritten::Conflict) => left.extend(self.replace_each(changes).await?),
                }
            }
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::of(Contended))
    }

    /// Those that others have changed, which are known anew then.
    async fn replace_each(&self, changes: &[Change]) -> Result<BTreeSet<i64>, StoreError> {
        let each = changes.iter().map(async |change| {
            let number = change.record.number;
            match if changes.len() == 1 {
                Err(Unwritten::Conflict)
            } else {
                self.replace(std::slice::from_ref(change)).await
            } {
                Ok(_) => Ok(None),
                Err(Unwritten::Failed(error)) => Err(error),
                Err(Unwritten::Conflict) => {
                    self.look_again(&change.of.subject).await?;
                    Ok(Some(number))
                }
            }
        });
        Ok(try_join_all(each).await?.into_iter().flatten().collect())
    }

    /// Learns what a subject of an open record holds now.
    pub(super) async fn look_again(&self, subject: &str) -> Result<(), StoreError> {
        let Some(mirror) = self.mirror.get() else { return Ok(()) };
        match read::last(&self.stream, subject).await? {
            Some(message) => {
                let record = Record::read(&message.payload, message.sequence);
                let record = record.map_err(StoreError::of)?;
                mirror.open().put(subject, message.sequence, record);
            }
            None if self.is_nothing(subject).await? => mirror.open().remove(subject),
            None => {}
        }
        Ok(())
    }

    /// Whether a subject really holds nothing. One who leads no more, and has not heard of that, may say so of what was
    /// written since; a write is only taken by who leads.
    pub(super) async fn is_nothing(&self, subject: &str) -> Result<bool, StoreError> {
        match self.write(&[Message::moved(subject.to_owned()).replacing(0)]).await {
            Ok(_) => Ok(true),
            Err(Unwritten::Conflict) => Ok(false),
            Err(Unwritten::Failed(error)) => Err(error),
        }
    }

    /// What was written is known here at once.
    pub(super) fn hear_of(&self, record: &Record, sequence: u64) {
        let Some(mirror) = self.mirror.get() else { return };
        if record.stage() == Stage::Open {
            let subject = self.subjects.record(&record.about, Stage::Open);
            let mut record = record.clone();
            if record.number == 0 {
                record.number = super::record::number_of(sequence);
            }
            mirror.open().put(&subject, sequence, Some(record));
        }
    }

    /// Takes in what was written of a change, whose messages come after this one; the number of one that says only
    /// that what was counted there is elsewhere now.
    pub(super) fn hear_of_change(&self, change: &Change, sequence: &mut u64) -> Option<u64> {
        let Change { of, record } = change;
        *sequence += 1;
        self.hear_of(record, *sequence);
        if *self.subjects.record(&record.about, record.stage()) == *of.subject {
            return None;
        }
        *sequence += 1;
        if of.record.stage() != Stage::Open {
            return Some(*sequence);
        }
        if let Some(mirror) = self.mirror.get() {
            mirror.open().put(&of.subject, *sequence, None);
        }
        None
    }
}

/// An event that is to be stored.
struct New<'e> {
    /// Among all.
    at: usize,
    new: &'e NewEvent,
    record: Record,
    subject: String,
    /// What of the subject's is there until it is gone by itself; 0 for nothing.
    last: u64,
}

impl New<'_> {
    /// Itself, unless it is there.
    fn unless(
        mut self,
        there: Option<async_nats::jetstream::message::StreamMessage>,
    ) -> Option<Self> {
        match there {
            Some(message) if read::about(&message.headers).is_some() => None,
            there => {
                self.last = there.map_or(0, |message| message.sequence);
                Some(self)
            }
        }
    }
}
