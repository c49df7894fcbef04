//! Claims due deliveries.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use router_core::{
    Event,
    event::{EnvelopeError, StoredEvent},
};

use super::{
    Connection,
    event_meta::EventMeta,
    messages::{MAX_BATCH, Message, WriteError},
    open_records::{Candidate, Due, VersionedRecord},
    read,
    record::{CopyRef, Record},
};
use crate::{
    StoreError,
    store::{
        Claim, ClaimRequest, DeliveryState, HandlerSlots, Lease,
        millis::{elapsed, time},
    },
};

/// Maximum number of rounds of a claim. Another round follows if other processes changed some of
/// the records first.
const MAX_ROUNDS: usize = 8;

/// A claim of some of a record's deliveries, not written yet.
struct PreparedClaim {
    /// The revision of the record that the claim is based on.
    base: VersionedRecord,
    /// The record with the deliveries claimed.
    record: Record,
    claims: Vec<(Due, Claim)>,
}

#[derive(Debug, thiserror::Error)]
#[error("a server has no payload for an event, because it has not replicated the event yet")]
struct ReplicaBehind;

/// The result of a round of claiming.
#[derive(Default)]
struct Round {
    claimed: Vec<(Due, Claim)>,
    /// The number of records that another process changed first.
    conflicts: usize,
    failed: Option<StoreError>,
}

impl Connection {
    pub(super) async fn claim(&self, request: &ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        let mirror = self.mirror().await?;
        self.time.correct(self.correct_due_times()).await?;
        let mut remaining = request.clone();
        let mut claimed = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let now = self.time.now();
            let candidates = mirror.records().select_due(&remaining, now, self.contention.factor());
            if candidates.is_empty() {
                break;
            }
            let records = candidates.len();
            let round = self.claim_candidates(candidates, &remaining).await;
            self.contention.record_round(records, round.conflicts);
            remaining = without_claimed(&remaining, &round.claimed);
            claimed.extend(round.claimed);
            match round.failed {
                Some(error) if claimed.is_empty() => return Err(error),
                // Deliveries that have been claimed must be returned, so the error is dropped.
                Some(_) => break,
                None if round.conflicts == 0 => break,
                None => {}
            }
        }
        claimed.sort_unstable_by_key(|(due, _)| *due);
        Ok(claimed.into_iter().map(|(_, claim)| claim).collect())
    }

    /// Limits the due times to the scheduled delays from now. Returns the number of deliveries
    /// changed, or `None` if none is due too late.
    async fn correct_due_times(&self) -> Result<Option<u64>, StoreError> {
        let now = self.time.now();
        let late = self.mirror().await?.records().due_too_late(now);
        if late.is_empty() {
            return Ok(None);
        }
        let mut corrected = BTreeMap::new();
        self.update_open(late, |number, record| {
            let deliveries = record.into_iter().flat_map(|record| &mut record.deliveries);
            let late = deliveries.filter(|delivery| delivery.is_due_too_late(now));
            let late = late.map(|delivery| delivery.due = now + delivery.delay).count();
            corrected.insert(number, late as u64);
            late > 0
        })
        .await?;
        Ok(Some(corrected.into_values().sum()))
    }

    async fn claim_candidates(&self, candidates: Vec<Candidate>, request: &ClaimRequest) -> Round {
        let mut round = Round::default();
        let mut prepared = Vec::new();
        // Payloads are read first, so that a delivery is claimed only if it can run.
        let results =
            join_all(candidates.into_iter().map(|candidate| self.prepare(candidate, request)));
        for result in results.await {
            match result {
                Ok(claim) => prepared.push(claim),
                Err(error) => round.failed = Some(error),
            }
        }
        let (independent, by_object) = split_by_object(prepared);
        let remaining = self.write_in_batches(independent, &mut round).await;
        let separate = remaining.into_iter().map(|claim| self.write_in_turn(None, vec![claim]));
        let in_turn =
            by_object.into_iter().map(|(hash, claims)| self.write_in_turn(Some(hash), claims));
        for result in join_all(in_turn).await.into_iter().chain(join_all(separate).await) {
            round.claimed.extend(result.claimed);
            round.conflicts += result.conflicts;
            round.failed = round.failed.or(result.failed);
        }
        round
    }

    /// Reads a candidate's payload, and claims its deliveries in a copy of its record.
    async fn prepare(
        &self,
        Candidate { base, due: selected }: Candidate,
        request: &ClaimRequest,
    ) -> Result<PreparedClaim, StoreError> {
        let copies: BTreeSet<_> =
            selected.iter().map(|due| base.record.deliveries[due.2].copy).collect();
        let events = copies.into_iter().map(async |copy| {
            Ok::<_, StoreError>((copy, self.event(&base.record.meta, copy).await?))
        });
        let events: BTreeMap<_, _> = try_join_all(events).await?.into_iter().collect();
        let now = self.time.now();
        let mut record = (*base.record).clone();
        let mut claims = Vec::new();
        for due in selected {
            let delivery = &mut record.deliveries[due.2];
            let lease_expired = delivery.state == DeliveryState::Running;
            delivery.claim(now, request.lease, request.worker.as_ref());
            let lease = Lease {
                delivery: record.number,
                handler: delivery.handler.clone(),
                event_id: record.meta.id.as_str().into(),
                token: delivery.token,
            };
            let (event, attempt) = (events[&delivery.copy].clone(), delivery.attempts);
            let delayed = elapsed(delivery.delayed);
            let claim = Claim::new(lease, event, attempt).delayed(delayed.unwrap_or_default());
            let claim = claim.trace_parent(record.meta.trace_parent());
            // `write_claim` determines whether an ordered delivery is outdated.
            claims.push((due, claim.lease_expired(lease_expired)));
        }
        Ok(PreparedClaim { base, record, claims })
    }

    /// Writes claims in atomic batches, which costs a fraction of writing each separately.
    ///
    /// Returns the claims that the caller has to write separately: those of batches that had a
    /// conflict, or all if there is only one or conflicts are likely.
    async fn write_in_batches(
        &self,
        claims: Vec<PreparedClaim>,
        round: &mut Round,
    ) -> Vec<PreparedClaim> {
        if claims.len() < 2 || !self.contention.is_low() {
            return claims;
        }
        let (mut batch, mut remaining) = (claims, Vec::new());
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(MAX_BATCH));
            match self.write_batch(&batch).await {
                Ok(()) => round.claimed.extend(batch.into_iter().flat_map(|claim| claim.claims)),
                Err(WriteError::Failed(error)) => round.failed = Some(error),
                Err(WriteError::Conflict) => remaining.extend(batch),
            }
            batch = rest;
        }
        remaining
    }

    async fn write_batch(&self, claims: &[PreparedClaim]) -> Result<(), WriteError> {
        let messages = claims.iter().map(PreparedClaim::message).collect::<Result<Vec<_>, _>>()?;
        let first = self.write(&messages).await? + 1 - claims.len() as u64;
        for (claim, sequence) in claims.iter().zip(first..) {
            self.apply_written(&claim.record, sequence);
        }
        Ok(())
    }

    /// Writes claims one after the other. With an `object_hash`, each write changes the last
    /// sequence of the object's open records, which the next write has to expect.
    async fn write_in_turn(
        &self,
        object_hash: Option<Arc<str>>,
        claims: Vec<PreparedClaim>,
    ) -> Round {
        let mut round = Round::default();
        for mut claim in claims {
            match self.write_claim(object_hash.as_deref(), &mut claim).await {
                Ok(true) => round.claimed.extend(claim.claims),
                Ok(false) => round.conflicts += 1,
                Err(error) => round.failed = Some(error),
            }
        }
        round
    }

    /// Writes a claim by compare-and-set. Returns `false` if another process was first.
    ///
    /// Without an `object_hash` the write expects the record's revision. With one it expects the
    /// last sequence of the object's open records. Otherwise two processes with different local
    /// views could start two deliveries of a lane.
    async fn write_claim(
        &self,
        object_hash: Option<&str>,
        claim: &mut PreparedClaim,
    ) -> Result<bool, StoreError> {
        let message = match object_hash {
            None => claim.message()?,
            Some(object_hash) => {
                let subjects = self.subjects.open_records_of(object_hash);
                let Some(last) = self.verified_last_sequence(&subjects, claim).await? else {
                    return Ok(false);
                };
                for ((_, _, index), claimed) in &mut claim.claims {
                    let delivery = &claim.record.deliveries[*index];
                    claimed.outdated = self.is_outdated(&claim.record, delivery).await?;
                }
                claim.message()?.expect_last_of(&subjects, last)
            }
        };
        match self.write(&[message]).await {
            Ok(sequence) => {
                self.apply_written(&claim.record, sequence);
                Ok(true)
            }
            Err(WriteError::Failed(error)) => Err(error),
            Err(WriteError::Conflict) => {
                self.refresh(&claim.base.subject).await?;
                Ok(false)
            }
        }
    }

    /// Returns the last sequence on these subjects, after checking the claim against a local view
    /// that is up to date with that sequence.
    ///
    /// Returns `None` if the record has changed, or if another delivery of the same lane comes
    /// first.
    async fn verified_last_sequence(
        &self,
        object_subjects: &str,
        PreparedClaim { base, claims, .. }: &PreparedClaim,
    ) -> Result<Option<u64>, StoreError> {
        let Some(last) = read::last(&self.stream, object_subjects).await? else {
            self.refresh(&base.subject).await?;
            return Ok(None);
        };
        let mirror = self.mirror().await?;
        mirror.wait_for_sequence(last.sequence).await?;
        let records = mirror.records();
        let current = records.get(&base.subject);
        let is_unchanged = current.is_some_and(|current| current.revision == base.revision)
            && claims.iter().all(|((_, _, index), _)| !records.is_blocked(&base.record, *index));
        Ok(is_unchanged.then_some(last.sequence))
    }

    /// Reads the payload of an event, or its redelivered payload. The inner result is an error if
    /// the payload is damaged or missing.
    pub(super) async fn event(
        &self,
        meta: &EventMeta,
        copy: Option<CopyRef>,
    ) -> Result<Result<Event, EnvelopeError>, StoreError> {
        let subject = match copy {
            None => self.subjects.event(meta),
            Some(copy) => self.subjects.copy(meta, copy),
        };
        // A direct get may be answered by a replica that does not have the event yet; the leader
        // has it.
        let message = match self.stream.direct_get_last_for_subject(&*subject).await {
            Ok(message) => Some(message),
            Err(_) => match read::last(&self.stream, &subject).await? {
                Some(message) => Some(message),
                None if self.confirm_empty(&subject).await? => None,
                None => return Err(StoreError::busy(ReplicaBehind)),
            },
        };
        let received = message.as_ref().and_then(|message| read::event_meta(&message.headers));
        let signed_at = received.map_or(meta.signed_at, |received| received.signed_at);
        let payload = message.map(|message| message.payload).unwrap_or_default();
        Ok(Event::from_store(StoredEvent {
            signed_at: signed_at.and_then(time),
            ..stored_event(meta, payload)
        }))
    }
}

/// Separates the claims that can be written independently from those to write in turn, by object
/// hash.
///
/// If an ordered delivery of an object is claimed, all claims of the object are written in turn,
/// because each of them changes the last sequence of the object's open records.
fn split_by_object(
    claims: Vec<PreparedClaim>,
) -> (Vec<PreparedClaim>, BTreeMap<Arc<str>, Vec<PreparedClaim>>) {
    let is_ordered = |claim: &PreparedClaim| {
        let mut deliveries =
            claim.claims.iter().map(|((_, _, index), _)| &claim.record.deliveries[*index]);
        deliveries.any(|delivery| delivery.order.is_some())
    };
    let object_hash = |claim: &PreparedClaim| claim.record.meta.object_hash.clone();
    let ordered: BTreeSet<_> =
        claims.iter().filter(|claim| is_ordered(claim)).map(object_hash).collect();
    let (mut independent, mut by_object) = (Vec::new(), BTreeMap::<_, Vec<PreparedClaim>>::new());
    for claim in claims {
        match ordered.get(&claim.record.meta.object_hash) {
            Some(hash) => by_object.entry(hash.clone()).or_default().push(claim),
            None => independent.push(claim),
        }
    }
    (independent, by_object)
}

impl PreparedClaim {
    /// Returns the message that replaces the record and expects the revision of `base`.
    fn message(&self) -> Result<Message, StoreError> {
        let message = Message::record(self.base.subject.to_string(), &self.record)?;
        Ok(message.expect_revision(self.base.revision))
    }
}

/// Returns the request reduced by the deliveries that have been claimed.
fn without_claimed(request: &ClaimRequest, claimed: &[(Due, Claim)]) -> ClaimRequest {
    let slots = |HandlerSlots { handler, free, in_flight }: &HandlerSlots| {
        let claims = claimed.iter().filter(|(_, claim)| claim.lease.handler == *handler).count();
        let (free, in_flight) = (free.saturating_sub(claims), in_flight + claims);
        HandlerSlots { handler: handler.clone(), free, in_flight }
    };
    ClaimRequest {
        handlers: request.handlers.iter().map(slots).collect(),
        limit: request.limit.saturating_sub(claimed.len()),
        lease: request.lease,
        worker: request.worker.clone(),
    }
}

pub(super) fn stored_event(meta: &EventMeta, payload: Bytes) -> StoredEvent {
    StoredEvent {
        payload,
        endpoint: meta.endpoint.clone(),
        signed_at: meta.signed_at.and_then(time),
        generation: meta.generation,
        serial: meta.serial,
    }
}
