//! What is taken out, kept, and told of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use router_core::{
    Event,
    event::{EnvelopeError, KeptEvent},
};

use super::{
    Connection,
    about::About,
    messages::{Message, Unwritten},
    open::{Due, Located, Pick},
    read,
    record::{Record, Row},
};
use crate::{
    Claim, Completed, End, Lease, State, StoreError, Wanted,
    store::millis::{millis, time},
};

/// How often more is looked for, where others were faster.
const ROUNDS: usize = 8;

/// So many times as much as is wanted is chosen from at most.
const SPREAD: usize = 64;

/// Several processes that each take what has been due longest would all take the same, and all but one for nothing.
/// Whoever meets others chooses by chance among more, and among less again once it is alone.
pub(super) struct Spread(AtomicUsize);

impl Spread {
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(1))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn tried(&self, picks: usize, conflicts: usize) {
        let spread = self.get();
        let spread = if conflicts * 4 > picks {
            (spread * 2).min(SPREAD)
        } else if conflicts == 0 {
            (spread - 1).max(1)
        } else {
            spread
        };
        self.0.store(spread, Ordering::Relaxed);
    }
}

/// What came of one record that was to be claimed.
enum Tried {
    Claimed(Vec<(Due, Claim)>),
    /// Somebody else was faster.
    Conflict,
}

impl Connection {
    pub(super) async fn claim(&self, wanted: &Wanted) -> Result<Vec<Claim>, StoreError> {
        let mirror = self.mirror().await?;
        let mut wanted = wanted.clone();
        let mut claimed = Vec::new();
        for _ in 0..ROUNDS {
            let now = self.time.now();
            let picks = mirror.open().pick(&wanted, now, self.spread.get());
            if picks.is_empty() {
                break;
            }
            let records = picks.len();
            let lanes = in_lanes(picks)
                .into_iter()
                .map(|(lane, picks)| self.take_in_turn(lane, picks, now, wanted.lease));
            let (mut conflicts, mut failed) = (0, None);
            for tried in join_all(lanes).await.into_iter().flatten() {
                match tried {
                    Ok(Tried::Claimed(claims)) => claimed.extend(claims),
                    Ok(Tried::Conflict) => conflicts += 1,
                    Err(error) => failed = Some(error),
                }
            }
            self.spread.tried(records, conflicts);
            match failed {
                // What was claimed is to be run all the same.
                Some(error) if claimed.is_empty() => return Err(error),
                Some(_) => break,
                None if conflicts == 0 => break,
                None => {}
            }
            wanted = without(&wanted, &claimed);
        }
        claimed.sort_unstable_by_key(|(due, _)| *due);
        Ok(claimed.into_iter().map(|(_, claim)| claim).collect())
    }

    /// Those of one lane one after the other, since each changes what the next relies on.
    async fn take_in_turn(
        &self,
        lane: Option<Arc<str>>,
        picks: Vec<Pick>,
        now: i64,
        lease: Duration,
    ) -> Vec<Result<Tried, StoreError>> {
        let mut tried = Vec::new();
        for pick in picks {
            tried.push(self.take(lane.as_deref(), pick, now, lease).await);
        }
        tried
    }

    async fn take(
        &self,
        lane: Option<&str>,
        Pick { of, due }: Pick,
        now: i64,
        lease: Duration,
    ) -> Result<Tried, StoreError> {
        // First, so that nothing is claimed which cannot be run.
        let event = self.event(&of.record.about).await?;
        let mut record = (*of.record).clone();
        let mut claims = Vec::new();
        for &due in &due {
            let row = &mut record.deliveries[due.2];
            let interrupted = row.state == State::Running;
            row.claim(now, lease);
            let lease =
                Lease { delivery: record.number, handler: row.handler.clone(), token: row.token };
            let (event, attempt) = (event.clone(), row.attempts);
            claims.push((due, Claim { lease, event, attempt, interrupted }));
        }
        let message = Message::record(of.subject.to_string(), &record)?;
        let message = match lane {
            None => message.replacing(of.revision),
            Some(lane) => {
                let subjects = self.subjects.lane(lane);
                let Some(last) = self.known_last(&subjects, &of, &due).await? else {
                    return Ok(Tried::Conflict);
                };
                message.after(last, &subjects)
            }
        };
        match self.write(&[message]).await {
            Ok(sequence) => {
                self.hear_of(&record, sequence);
                Ok(Tried::Claimed(claims))
            }
            Err(Unwritten::Failed(error)) => Err(error),
            Err(Unwritten::Conflict) => {
                self.look_again(&of.subject).await?;
                Ok(Tried::Conflict)
            }
        }
    }

    /// The last message of a lane, once all until it is known here; `None` if that says that the record has changed or
    /// another goes first.
    async fn known_last(
        &self,
        lane: &str,
        of: &Located,
        due: &[Due],
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
            && due.iter().all(|(_, _, at)| !open.is_blocked(&of.record, *at));
        Ok(is_as_before.then_some(last.sequence))
    }

    /// An event as it was stored; an error where it is damaged, or gone.
    pub(super) async fn event(
        &self,
        about: &About,
    ) -> Result<Result<Event, EnvelopeError>, StoreError> {
        let subject = self.subjects.event(about);
        // Whoever is asked first may not have it yet; who leads has.
        let payload = match self.stream.direct_get_last_for_subject(&*subject).await {
            Ok(message) => message.payload,
            Err(_) => {
                let message = read::last(&self.stream, &subject).await?;
                message.map_or_else(Bytes::new, |message| message.payload)
            }
        };
        Ok(Event::from_store(kept(about, payload)))
    }

    pub(super) async fn extend(
        &self,
        leases: &[Lease],
        wanted: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        let now = self.time.now();
        let mut held = vec![false; leases.len()];
        let of_record = by_record(leases);
        let numbers = of_record.keys().copied().collect();
        self.change_open(numbers, |number, mut record| {
            for at in &of_record[&number] {
                let row = held_by(&leases[*at], record.as_deref_mut());
                held[*at] = row.is_some();
                if let Some(row) = row {
                    row.due = now + millis(wanted);
                }
            }
            of_record[&number].iter().any(|at| held[*at])
        })
        .await?;
        Ok(held)
    }

    pub(super) async fn complete(
        &self,
        ends: &[(Lease, End)],
    ) -> Result<Vec<Completed>, StoreError> {
        let now = self.time.now();
        let mut completed = vec![Completed::LeaseLost; ends.len()];
        let leases: Vec<_> = ends.iter().map(|(lease, _)| lease.clone()).collect();
        let of_record = by_record(&leases);
        let numbers = of_record.keys().copied().collect();
        self.change_open(numbers, |number, mut record| {
            for at in &of_record[&number] {
                let (lease, end) = &ends[*at];
                completed[*at] = match held_by(lease, record.as_deref_mut()) {
                    Some(row) => {
                        row.end(end, now);
                        Completed::Recorded
                    }
                    None => Completed::LeaseLost,
                };
            }
            of_record[&number].iter().any(|at| completed[*at] == Completed::Recorded)
        })
        .await?;
        Ok(completed)
    }
}

/// The picks of each lane of which one is ordered together; every other by itself.
fn in_lanes(picks: Vec<Pick>) -> Vec<(Option<Arc<str>>, Vec<Pick>)> {
    let is_ordered =
        |pick: &Pick| pick.due.iter().any(|(_, _, at)| pick.of.record.deliveries[*at].ordered);
    let ordered: BTreeSet<_> = picks
        .iter()
        .filter(|pick| is_ordered(pick))
        .map(|pick| pick.of.record.about.lane.clone())
        .collect();
    let mut lanes: BTreeMap<_, Vec<Pick>> = BTreeMap::new();
    let mut alone = Vec::new();
    for pick in picks {
        let lane = &pick.of.record.about.lane;
        if ordered.contains(lane) {
            lanes.entry(lane.clone()).or_default().push(pick);
        } else {
            alone.push((None, vec![pick]));
        }
    }
    alone.extend(lanes.into_iter().map(|(lane, picks)| (Some(lane), picks)));
    alone
}

/// What is wanted still.
fn without(wanted: &Wanted, claimed: &[(Due, Claim)]) -> Wanted {
    let of = |handler: &str| claimed.iter().filter(|(_, c)| *c.lease.handler == *handler).count();
    let handlers = wanted.handlers.iter();
    Wanted {
        handlers: handlers
            .map(|(name, room)| (name.clone(), room.saturating_sub(of(name))))
            .collect(),
        limit: wanted.limit.saturating_sub(claimed.len()),
        lease: wanted.lease,
    }
}

fn by_record(leases: &[Lease]) -> BTreeMap<i64, Vec<usize>> {
    let mut of_record: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (at, lease) in leases.iter().enumerate() {
        of_record.entry(lease.delivery).or_default().push(at);
    }
    of_record
}

fn held_by<'r>(lease: &Lease, record: Option<&'r mut Record>) -> Option<&'r mut Row> {
    record?.row(&lease.handler).filter(|row| row.is_held(lease.token))
}

pub(super) fn kept(about: &About, payload: Bytes) -> KeptEvent {
    KeptEvent {
        payload,
        endpoint: about.endpoint.clone(),
        signed_at: about.signed_at.and_then(time),
        generation: about.generation,
    }
}
