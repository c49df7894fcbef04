//! The comparison, without I/O.

use std::collections::{BTreeMap, BTreeSet};

use router_catalog::Kind;

use super::{
    Code, Destination, Finding, Mend, Severity, WantedRoutes, destination::kind_of,
    wanted::WantedRoute,
};

/// The clock's difference from Stripe's beyond which there is a finding, in seconds.
const MAX_SKEW: u64 = 5;

/// The difference beyond which signatures are refused, with the default tolerance, in seconds.
const TOLERANCE: u64 = 300;

/// The facts about the program that its routes do not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The URLs of the program's webhook endpoints. If there are none, all destinations of the
    /// account are the program's.
    pub urls: Vec<String>,
    /// The API version that the program's types are written for.
    pub expected_api_version: Option<String>,
    /// The reason why the signing secret cannot be one.
    pub secret_error: Option<String>,
    /// The seconds by which this machine's clock is ahead of Stripe's; negative if it is behind.
    pub clock_skew: Option<i64>,
}

/// Compares the events that a program wants with those that Stripe sends. The worst findings come
/// first.
#[must_use]
pub fn examine(wanted: &WantedRoutes, sent: &[Destination], facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(facts.secret_error.as_ref().map(|reason| {
        let cure = "Correct the variable and restart the server.";
        Finding::new(Code::Secret, format!("The signing secret: {reason}."), cure.to_owned())
    }));
    findings.extend(facts.clock_skew.and_then(clock_skew));
    let is_ours = |destination: &&Destination| {
        facts.urls.is_empty() || facts.urls.iter().any(|url| destination.has_url(url))
    };
    let ours: Vec<_> = sent.iter().filter(is_ours).collect();
    if ours.is_empty() {
        findings.push(no_destination(sent, facts));
    } else {
        findings.extend(missing_events(wanted, &ours, !facts.urls.is_empty()));
        findings
            .extend(ours.iter().flat_map(|destination| examine_one(wanted, destination, facts)));
        findings.extend(duplicate_urls(&ours));
    }
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    findings
}

fn clock_skew(skew: i64) -> Option<Finding> {
    let seconds = skew.unsigned_abs();
    if seconds <= MAX_SKEW {
        return None;
    }
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    let what = format!("The clock of this machine is {seconds} s {direction} Stripe's.");
    let cure = "Synchronize the clock with NTP, on each machine that receives events.";
    let finding = Finding::new(Code::ClockSkew, what, cure.to_owned());
    let severity = if seconds > TOLERANCE { Severity::Error } else { finding.severity };
    Some(Finding { severity, ..finding })
}

fn no_destination(sent: &[Destination], facts: &Facts) -> Finding {
    let what = match &*facts.urls {
        [] => "The account has no destination of events.".to_owned(),
        urls => format!("No destination has the URL {}.", urls.join(" or ")),
    };
    let others: Vec<_> = sent.iter().filter_map(|other| other.url.as_deref()).collect();
    let cure = match &*others {
        [] => "Create a webhook endpoint at Stripe.".to_owned(),
        urls => format!("Create a webhook endpoint at Stripe, or pass one of {}.", urls.join(", ")),
    };
    Finding::new(Code::NoDestination, what, cure)
}

/// Finds the event types that handlers take and no destination sends. Types with one cause are one
/// finding, so that one request enables them all.
fn missing_events(wanted: &WantedRoutes, ours: &[&Destination], is_certain: bool) -> Vec<Finding> {
    let livemode = ours.iter().find_map(|destination| destination.livemode);
    let is_in_mode = |route: &&WantedRoute| {
        route.livemode.is_none() || livemode.is_none() || route.livemode == livemode
    };
    let mut groups = BTreeMap::<_, (BTreeSet<String>, BTreeSet<&str>)>::new();
    for route in wanted.iter().filter(is_in_mode) {
        for event_type in route.event_types() {
            if let Some(cause) = cause(wanted, ours, is_certain, route, &event_type) {
                let (event_types, handlers) = groups.entry(cause).or_default();
                event_types.insert(event_type);
                handlers.insert(&route.handler);
            }
        }
    }
    let finding = |((code, target), (event_types, handlers)): ((Code, Option<usize>), _)| {
        let target = target.map(|index| ours[index]);
        missing_finding(code, target, Vec::from_iter::<BTreeSet<String>>(event_types), handlers)
    };
    groups.into_iter().map(finding).collect()
}

/// Returns the cause why events of this type do not reach the handler, with the index of the only
/// destination that it concerns. `None` if they do.
fn cause(
    wanted: &WantedRoutes,
    ours: &[&Destination],
    is_certain: bool,
    route: &WantedRoute,
    event_type: &str,
) -> Option<(Code, Option<usize>)> {
    let is_connect = route.endpoint.as_deref() == Some("connect");
    let is_sent = |event_type: &str| {
        ours.iter().any(|one| {
            (!is_connect || one.sends_connected() != Some(false)) && one.sends(event_type)
        })
    };
    // A handler of both formats needs one of them.
    let twin = twin(event_type);
    let takes_twin =
        wanted.iter().any(|other| other.handler == route.handler && other.takes(&twin));
    if is_sent(event_type) || (takes_twin && is_sent(&twin)) {
        return None;
    }
    let fits = |(_, destination): &(usize, &&Destination)| {
        destination.payload == kind_of(event_type)
            && (!is_connect || destination.sends_connected() == Some(true))
    };
    let mut fitting: Vec<_> = ours.iter().enumerate().filter(fits).collect();
    fitting.sort_by_key(|(_, destination)| {
        let is_only_connected = !is_connect && !destination.may_send_own();
        (!destination.is_enabled, is_only_connected)
    });
    Some(match &*fitting {
        [(index, _)] => (Code::NotEnabled, Some(*index)),
        // Without the URLs, a destination may belong to another program.
        [(index, _), ..] if is_certain => (Code::NotEnabled, Some(*index)),
        [_, ..] => (Code::NotEnabled, None),
        [] => match ours.iter().position(|destination| destination.sends(event_type)) {
            Some(index) => (Code::Scope, Some(index)),
            None => {
                let is_other_kind = |destination: &&Destination| {
                    destination.sends(&twin) || destination.lists(event_type)
                };
                match ours.iter().position(is_other_kind) {
                    Some(index) => (Code::PayloadKind, Some(index)),
                    None => (Code::NotEnabled, None),
                }
            }
        },
    })
}

/// Returns the type of the thin event for the same change as a snapshot event, or the reverse.
fn twin(event_type: &str) -> String {
    let snapshot = event_type.strip_prefix("v1.").map(str::to_owned);
    snapshot.unwrap_or_else(|| format!("v1.{event_type}"))
}

fn missing_finding(
    code: Code,
    target: Option<&Destination>,
    event_types: Vec<String>,
    handlers: BTreeSet<&str>,
) -> Finding {
    let types = event_types.join(", ");
    let (noun, verb) =
        if handlers.len() == 1 { ("The handler", "takes") } else { ("The handlers", "take") };
    let handlers = format!("{noun} {} {verb}", Vec::from_iter(handlers).join(", "));
    let id = target.map_or("", |destination| &destination.id);
    let (what, cure) = match (code, target) {
        (Code::Scope, _) => (
            format!("{handlers} {types} of connected accounts, which {id} does not send."),
            "Create a destination for the events of connected accounts (`events_from` with \
             `@accounts`). The accounts of a destination cannot be changed."
                .to_owned(),
        ),
        (Code::PayloadKind, Some(Destination { payload, .. })) => {
            let (sent, other) = match payload {
                Kind::Thin => ("thin", "snapshot"),
                Kind::Snapshot => ("snapshot", "thin"),
            };
            (
                format!("{handlers} {types}, of which {id} sends the {sent} events."),
                format!(
                    "Create a destination for {other} events, or handle the {sent} events. The \
                     payload of a destination cannot be changed."
                ),
            )
        }
        (_, Some(_)) => (
            format!("{handlers} {types}, which {id} does not send."),
            format!("Enable the event types at {id}."),
        ),
        (_, None) => (
            format!("{handlers} {types}, which no destination sends."),
            "Enable the event types at a destination, or create one. State the program's URL \
             if other programs have destinations too."
                .to_owned(),
        ),
    };
    let mut finding = Finding::new(code, what, cure);
    if let Some(target) = target {
        finding = finding.at(target);
        if code == Code::NotEnabled {
            finding.mend = Some(Mend::enable_events(target, &event_types));
        }
    }
    Finding { event_types, ..finding }
}

/// Finds the faults of one destination.
fn examine_one(wanted: &WantedRoutes, destination: &Destination, facts: &Facts) -> Vec<Finding> {
    let Destination { id, url, enabled_events, .. } = destination;
    let mut findings = Vec::new();
    let mut add = |code, what: String, cure: &str| {
        findings.push(Finding::new(code, what, cure.to_owned()).at(destination));
    };
    if let Some(url) = url.as_deref().filter(|url| url.starts_with("http:")) {
        add(Code::InsecureUrl, format!("{id} sends to {url}."), "Change the URL to https.");
    }
    let base = |version: &str| version.split(';').next().unwrap_or_default().trim().to_owned();
    if let (Some(expected), Kind::Snapshot) = (&facts.expected_api_version, destination.payload) {
        let found = destination.api_version.as_deref();
        if found.map(base) != Some(base(expected)) {
            let found = found.unwrap_or("the account's default version");
            add(
                Code::ApiVersion,
                format!("{id} sends events in {found}; the program expects {expected}."),
                "Create a destination with the expected version and disable this one; the version \
                 of a destination cannot be changed.",
            );
        }
    }
    if enabled_events.iter().any(|enabled| enabled == "*") && !wanted.takes_everything() {
        add(
            Code::Wildcard,
            format!("{id} sends events of all types, except those that must be named."),
            "Enable only the event types that the handlers take.",
        );
    }
    if !destination.is_enabled {
        let what = format!("{id} is disabled.");
        let cure = format!("Enable {id}, or delete it if it is not needed.");
        let finding = Finding::new(Code::Disabled, what, cure).at(destination);
        findings.push(Finding { mend: Some(Mend::enable(destination)), ..finding });
    }
    let is_unhandled = |event_type: &&String| *event_type != "*" && !wanted.takes(event_type);
    let unhandled: Vec<_> = enabled_events.iter().filter(is_unhandled).cloned().collect();
    if !unhandled.is_empty() && !wanted.takes_everything() {
        let what = format!("{id} sends {}, which no handler takes.", unhandled.join(", "));
        let cure = format!("Add handlers, or remove the event types from {id}.");
        let finding = Finding::new(Code::Unhandled, what, cure).at(destination);
        findings.push(Finding { event_types: unhandled, ..finding });
    }
    findings
}

/// Finds the destinations that send the same events to one URL.
fn duplicate_urls(ours: &[&Destination]) -> Vec<Finding> {
    let mut by_url = BTreeMap::<&str, Vec<&Destination>>::new();
    for destination in ours.iter().filter(|destination| destination.is_enabled) {
        if let Some(url) = &destination.url {
            by_url.entry(url).or_default().push(destination);
        }
    }
    let duplicates = |(url, all): (&str, Vec<&Destination>)| {
        let is_duplicate = |one: &&&Destination| {
            all.iter().any(|other| !std::ptr::eq(*other, **one) && one.overlaps(other))
        };
        let ids: Vec<_> = all.iter().filter(is_duplicate).map(|one| one.id.clone()).collect();
        let what = format!("{} send the same events to {url}.", ids.join(" and "));
        let cure = "Disable all but one, or enable different event types at each.".to_owned();
        let finding = Finding::new(Code::DuplicateUrl, what, cure);
        (!ids.is_empty()).then_some(Finding { destinations: ids, ..finding })
    };
    by_url.into_iter().filter_map(duplicates).collect()
}
