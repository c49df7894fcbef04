//! What is taken out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use router_core::{
    Event,
    event::{EnvelopeError, StoredEvent},
};

use super::{
    Connection,
    about::About,
    messages::{AT_ONCE, Message, Unwritten},
    open::{Due, Located, Pick},
    read,
    record::Record,
};
use crate::{Claim, ClaimRequest, DeliveryState, Lease, StoreError, store::millis::time};

/// How often more is looked for, where others were faster.
const ROUNDS: usize = 8;

/// What is to be claimed of a record, and what the record is then.
struct Taken {
    of: Located,
    record: Record,
    claims: Vec<(Due, Claim)>,
}

#[derive(Debug, thiserror::Error)]
#[error("a server that did not know of it yet was asked for an event")]
struct Behind;

/// What a round has brought.
#[derive(Default)]
struct Round {
    claimed: Vec<(Due, Claim)>,
    conflicts: usize,
    failed: Option<StoreError>,
}

impl Connection {
    pub(super) async fn claim(&self, wanted: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        let mirror = self.mirror().await?;
        let mut wanted = wanted.clone();
        let mut claimed = Vec::new();
        for _ in 0..ROUNDS {
            let picks = mirror.open().pick(&wanted, self.time.now(), self.spread.get());
            if picks.is_empty() {
                break;
            }
            let records = picks.len();
            let round = self.take(picks, wanted.lease).await;
            self.spread.tried(records, round.conflicts);
            wanted = without(&wanted, &round.claimed);
            claimed.extend(round.claimed);
            match round.failed {
                // What was claimed is to be run all the same.
                Some(error) if claimed.is_empty() => return Err(error),
                Some(_) => break,
                None if round.conflicts == 0 => break,
                None => {}
            }
        }
        claimed.sort_unstable_by_key(|(due, _)| *due);
        Ok(claimed.into_iter().map(|(_, claim)| claim).collect())
    }

    async fn take(&self, picks: Vec<Pick>, lease: Duration) -> Round {
        let mut round = Round::default();
        let mut taken = Vec::new();
        // Events are read first, so that nothing is claimed which cannot be run.
        for one in join_all(picks.into_iter().map(|pick| self.taken(pick, lease))).await {
            match one {
                Ok(one) => taken.push(one),
                Err(error) => round.failed = Some(error),
            }
        }
        let (alone, lanes) = in_lanes(taken);
        let alone = self.write_together(alone, &mut round).await;
        let alone = alone.into_iter().map(|taken| self.write_each(None, vec![taken]));
        let lanes = lanes.into_iter().map(|(lane, taken)| self.write_each(Some(lane), taken));
        for of_lane in join_all(lanes).await.into_iter().chain(join_all(alone).await) {
            round.claimed.extend(of_lane.claimed);
            round.conflicts += of_lane.conflicts;
            round.failed = round.failed.or(of_lane.failed);
        }
        round
    }

    async fn taken(&self, Pick { of, due }: Pick, lease: Duration) -> Result<Taken, StoreError> {
        let event = self.event(&of.record.about).await?;
        let now = self.time.now();
        let mut record = (*of.record).clone();
        let mut claims = Vec::new();
        for due in due {
            let row = &mut record.deliveries[due.2];
            let lease_expired = row.state == DeliveryState::Running;
            row.claim(now, lease);
            let lease =
                Lease { delivery: record.number, handler: row.handler.clone(), token: row.token };
            let (event, attempt) = (event.clone(), row.attempts);
            claims.push((due, Claim { lease, event, attempt, lease_expired }));
        }
        Ok(Taken { of, record, claims })
    }

    /// Writes all at once, which is a fraction of the work of writing each. What is left, where others are in the way.
    async fn write_together(&self, taken: Vec<Taken>, round: &mut Round) -> Vec<Taken> {
        if taken.len() < 2 || !self.spread.is_alone() {
            return taken;
        }
        let (mut taken, mut left) = (taken, Vec::new());
        while !taken.is_empty() {
            let later = taken.split_off(taken.len().min(AT_ONCE));
            match self.write_all(&taken).await {
                Ok(()) => round.claimed.extend(taken.into_iter().flat_map(|taken| taken.claims)),
                Err(Unwritten::Failed(error)) => round.failed = Some(error),
                Err(Unwritten::Conflict) => left.extend(taken),
            }
            taken = later;
        }
        left
    }

    async fn write_all(&self, taken: &[Taken]) -> Result<(), Unwritten> {
        let messages = taken.iter().map(Taken::message).collect::<Result<Vec<_>, _>>()?;
        let first = self.write(&messages).await? + 1 - taken.len() as u64;
        for (taken, sequence) in taken.iter().zip(first..) {
            self.hear_of(&taken.record, sequence);
        }
        Ok(())
    }

    /// Those of a lane one after the other, since each changes what the next relies on.
    async fn write_each(&self, lane: Option<Arc<str>>, taken: Vec<Taken>) -> Round {
        let mut round = Round::default();
        for taken in taken {
            match self.write_one(lane.as_deref(), &taken).await {
                Ok(true) => round.claimed.extend(taken.claims),
                Ok(false) => round.conflicts += 1,
                Err(error) => round.failed = Some(error),
            }
        }
        round
    }

    /// Whether nobody else was faster.
    async fn write_one(&self, lane: Option<&str>, taken: &Taken) -> Result<bool, StoreError> {
        let message = match lane {
            None => taken.message()?,
            Some(lane) => {
                let subjects = self.subjects.lane(lane);
                let Some(last) = self.known_last(&subjects, taken).await? else {
                    return Ok(false);
                };
                taken.message()?.after(last, &subjects)
            }
        };
        match self.write(&[message]).await {
            Ok(sequence) => {
                self.hear_of(&taken.record, sequence);
                Ok(true)
            }
            Err(Unwritten::Failed(error)) => Err(error),
            Err(Unwritten::Conflict) => {
                self.look_again(&taken.of.subject).await?;
                Ok(false)
            }
        }
    }

    /// The last message of a lane, once all until it is known here; `None` if that says that the record has changed or
    /// another goes first.
    async fn known_last(
        &self,
        lane: &str,
        Taken { of, claims, .. }: &Taken,
    ) -> Result<Option<u64>, StoreError> {
        let Some(last) = read::last(&self.stream, lane).await? else {
            self.look_again(&of.subject).await?;
            return Ok(None);
        };
        let mirror = self.mirror().await?;
        mirror.heard(last.sequence).await?;
        let open = mirror.open();
        let now = open.at(&of.subject);
        let is_as_before = now.is_some_and(|now| now.revision == of.revision)
            && claims.iter().all(|((_, _, at), _)| !open.is_blocked(&of.record, *at));
        Ok(is_as_before.then_some(last.sequence))
    }

    /// An event as it was stored; in it an error where it is damaged, or gone.
    pub(super) async fn event(
        &self,
        about: &About,
    ) -> Result<Result<Event, EnvelopeError>, StoreError> {
        let subject = self.subjects.event(about);
        // Whoever is asked first may not have it yet; who leads has.
        let payload = match self.stream.direct_get_last_for_subject(&*subject).await {
            Ok(message) => message.payload,
            Err(_) => match read::last(&self.stream, &subject).await? {
                Some(message) => message.payload,
                None if self.is_nothing(&subject).await? => Bytes::new(),
                None => return Err(StoreError::of(Behind)),
            },
        };
        Ok(Event::from_store(kept(about, payload)))
    }
}

/// Those that are written by themselves, and those of each lane of which one is ordered.
fn in_lanes(taken: Vec<Taken>) -> (Vec<Taken>, BTreeMap<Arc<str>, Vec<Taken>>) {
    let is_ordered = |taken: &Taken| {
        let mut rows = taken.claims.iter().map(|((_, _, at), _)| &taken.record.deliveries[*at]);
        rows.any(|row| row.ordered)
    };
    let lane = |taken: &Taken| taken.record.about.lane.clone();
    let ordered: BTreeSet<_> = taken.iter().filter(|taken| is_ordered(taken)).map(lane).collect();
    let (mut alone, mut lanes) = (Vec::new(), BTreeMap::<_, Vec<Taken>>::new());
    for taken in taken {
        match ordered.get(&taken.record.about.lane) {
            Some(lane) => lanes.entry(lane.clone()).or_default().push(taken),
            None => alone.push(taken),
        }
    }
    (alone, lanes)
}

impl Taken {
    /// Only in the place of what it was made of.
    fn message(&self) -> Result<Message, StoreError> {
        let message = Message::record(self.of.subject.to_string(), &self.record)?;
        Ok(message.replacing(self.of.revision))
    }
}

/// What is wanted still.
fn without(wanted: &ClaimRequest, claimed: &[(Due, Claim)]) -> ClaimRequest {
    let of = |handler: &str| claimed.iter().filter(|(_, c)| *c.lease.handler == *handler).count();
    let handlers = wanted.handlers.iter();
    ClaimRequest {
        handlers: handlers
            .map(|(name, room)| (name.clone(), room.saturating_sub(of(name))))
            .collect(),
        limit: wanted.limit.saturating_sub(claimed.len()),
        lease: wanted.lease,
    }
}

pub(super) fn kept(about: &About, payload: Bytes) -> StoredEvent {
    StoredEvent {
        payload,
        endpoint: about.endpoint.clone(),
        signed_at: about.signed_at.and_then(time),
        generation: about.generation,
    }
}
