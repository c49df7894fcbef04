//! `reconcile --follow`: sends each new event of a sandbox.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use router_core::{
    Event,
    clock::{Clock as _, SystemClock},
};
use router_stripe::{
    Client,
    reconcile::{EventReader, EventSource},
};

use super::{
    PERMISSIONS,
    deliver::payload,
    pass::Filter,
    report::{Line, print_line, print_unreadable, time},
    sources::{ServerEndpoint, ServerEndpoints},
};
use crate::{
    error::{Error, Exit},
    interrupt::Interrupt,
    output::{FAILURE, Output, WARNING, styled},
    send::format_answer,
    stripe::{explain, one_line},
};

/// The time before the end of the last poll that is listed again, because an event may be listed
/// some seconds after its creation.
const OVERLAP: Duration = Duration::from_secs(30);

/// Sends each new event, until Ctrl-C.
pub(super) async fn follow(
    client: &Client,
    sources: Vec<EventSource>,
    endpoints: &ServerEndpoints,
    filter: &Filter,
    interval: Duration,
    output: &mut Output,
) -> Result<Exit, Error> {
    if client.is_live() {
        return Err(Error::Usage(
            "--follow is for development, and STRIPE_API_KEY is a key for live mode; use the key of a \
             sandbox, or catch up without --follow"
                .to_owned(),
        ));
    }
    let mut interrupt = Interrupt::listen().await;
    let mut tails = Vec::new();
    for source in sources {
        match interrupt.or(Tail::start(client, source)).await {
            Some(tail) => tails.push(tail.map_err(|error| explain(&error, PERMISSIONS))?),
            None => return Ok(Exit::Success),
        }
    }
    let since = tails.first().map(|tail| time(tail.start)).unwrap_or_default();
    output.note(format_args!("sending the events since {since}; press Ctrl-C to stop"));
    loop {
        for tail in &mut tails {
            let new = match interrupt.or(tail.poll(client)).await {
                None => return Ok(Exit::Success),
                Some(Err(error)) if error.is_transient() => {
                    let error = one_line(&error.to_string());
                    output
                        .note(format_args!("{WARNING}warning:{WARNING:#} {error}; polling again"));
                    continue;
                }
                Some(new) => new.map_err(|error| explain(&error, PERMISSIONS))?,
            };
            for id in &new.unreadable {
                print_unreadable(id, &tail.source, output)?;
            }
            for event in &new.events {
                if interrupt.is_set().await {
                    return Ok(Exit::Success);
                }
                if filter.accepts(event, &tail.source) {
                    send(event, endpoints.of(&tail.source), output).await?;
                }
            }
        }
        if interrupt.or(SystemClock.sleep(interval)).await.is_none() {
            return Ok(Exit::Success);
        }
    }
}

/// Sends an event once, and prints the answer.
async fn send(event: &Event, endpoint: &ServerEndpoint, output: &mut Output) -> Result<(), Error> {
    let payload = payload(event)?;
    match endpoint.sender.send(&payload).await {
        Ok(answer) => {
            let outcome = if (200..300).contains(&answer.status) { "sent" } else { "refused" };
            let line = Line::new(event, outcome, Some(&answer));
            print_line(&line, &format_answer(&answer), output)?;
            if answer.rejects_signature() {
                output.note(endpoint.signature_help());
            }
        }
        Err(why) => {
            print_line(&Line::new(event, "refused", None), &styled(FAILURE, why), output)?;
        }
    }
    Ok(())
}

/// A list that is followed.
struct Tail {
    source: EventSource,
    start: SystemTime,
    /// The time up to which the list was read.
    until: SystemTime,
    /// The ids of recent items, with the end of the poll that returned each of them.
    recent: HashMap<String, SystemTime>,
}

/// The new items of a poll.
#[derive(Default)]
struct NewItems {
    events: Vec<Event>,
    unreadable: Vec<String>,
}

impl Tail {
    /// Follows a list from now on, by Stripe's clock.
    async fn start(client: &Client, source: EventSource) -> Result<Self, router_stripe::Error> {
        let now =
            EventReader::new(client, source.clone()).min_age(Duration::ZERO).range().await?.end;
        Ok(Self { source, start: now, until: now, recent: HashMap::new() })
    }

    /// Lists the items that no earlier poll has returned. If the poll fails or is dropped, the next
    /// one returns them.
    async fn poll(&mut self, client: &Client) -> Result<NewItems, router_stripe::Error> {
        let since = (self.until - OVERLAP).max(self.start);
        let mut reader =
            EventReader::new(client, self.source.clone()).since(since).min_age(Duration::ZERO);
        let (mut new, mut until) = (NewItems::default(), self.until);
        while let Some(batch) = reader.next().await? {
            new.events.extend(batch.events);
            new.unreadable.extend(batch.unreadable);
            until = until.max(batch.until);
        }
        // From here on, nothing is awaited.
        new.events.retain(|event| !self.recent.contains_key(event.id()));
        new.unreadable.retain(|id| !self.recent.contains_key(id));
        // Forgets the items that the next poll cannot list: each was created before the end of the
        // poll that returned it.
        self.recent.retain(|_, returned| *returned + OVERLAP >= until);
        let ids = new.events.iter().map(Event::id).chain(new.unreadable.iter().map(String::as_str));
        self.recent.extend(ids.map(|id| (id.to_owned(), until)));
        self.until = until;
        Ok(new)
    }
}
