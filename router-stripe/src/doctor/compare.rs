//! The comparison, without I/O.

use std::collections::{BTreeMap, BTreeSet};

use router_catalog::{Kind, Pattern, snapshot_type, thin_type};

use super::{
    Code, Destination, Finding, Fix, ProgramRoutes, Severity, destination::kind_of,
    routes::ProgramRoute,
};

/// The clock skew beyond which there is a finding, in seconds.
const MAX_SKEW: u64 = 5;

/// The default tolerance of signatures, in seconds. Beyond it, signatures are refused.
const TOLERANCE: u64 = 300;

/// The environment of a program: the facts that its routes do not state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Environment {
    /// The URLs of the program's webhook endpoints. If it is empty, all destinations of the account
    /// are compared, and one of several is not changed by a [`Fix`].
    pub urls: Vec<String>,
    /// The API version that the program's types are written for.
    pub expected_api_version: Option<String>,
    /// The error of the signing secret, if it is missing or malformed.
    pub secret_error: Option<String>,
    /// The seconds by which this machine's clock is ahead of Stripe's; negative if it is behind.
    pub clock_skew: Option<i64>,
}

impl Environment {
    /// Returns whether a destination has one of the program's URLs. `true` if there are none.
    pub(super) fn is_ours(&self, destination: &Destination) -> bool {
        self.urls.is_empty() || self.urls.iter().any(|url| destination.has_url(url))
    }
}

/// Compares the events that a program handles with those that Stripe sends. Returns the findings,
/// the most severe first.
#[must_use]
pub fn compare(
    routes: &ProgramRoutes,
    destinations: &[Destination],
    environment: &Environment,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(environment.secret_error.as_ref().map(|reason| {
        let remedy = "Set the secret that Stripe's dashboard shows, and restart the server.";
        Finding::new(
            Code::Secret,
            format!("The signing secret cannot be used: {reason}."),
            remedy.to_owned(),
        )
    }));
    findings.extend(environment.clock_skew.and_then(clock_finding));
    let (ours, others): (Vec<_>, Vec<_>) =
        destinations.iter().partition(|destination| environment.is_ours(destination));
    let is_unknown =
        |url: &&String| !destinations.iter().any(|destination| destination.has_url(url));
    let unknown: Vec<_> = environment.urls.iter().filter(is_unknown).map(String::as_str).collect();
    if ours.is_empty() || !unknown.is_empty() {
        findings.push(no_destination(&others, &unknown));
    }
    if !ours.is_empty() {
        // Without URLs, one of several destinations may belong to another program.
        let is_owner_known = !environment.urls.is_empty() || ours.len() == 1;
        findings.extend(missing_events(routes, &ours, is_owner_known));
        for destination in &ours {
            if destination.is_enabled || is_needed(routes, destination, &ours) {
                findings.extend(destination_findings(
                    routes,
                    destination,
                    environment,
                    is_owner_known,
                ));
            } else {
                findings.push(Finding { severity: Severity::Info, ..disabled(destination) });
            }
        }
        findings.extend(duplicate_urls(&ours));
    }
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    findings
}

fn clock_finding(skew: i64) -> Option<Finding> {
    let seconds = skew.unsigned_abs();
    if seconds <= MAX_SKEW {
        return None;
    }
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    let message = format!("The clock of this machine is {seconds} s {direction} Stripe's.");
    let remedy = "Synchronize the clock with NTP, on each machine that receives events.";
    let finding = Finding::new(Code::ClockSkew, message, remedy.to_owned());
    let severity = if seconds > TOLERANCE { Severity::Error } else { finding.severity };
    Some(Finding { severity, ..finding })
}

fn no_destination(others: &[&Destination], unknown: &[&str]) -> Finding {
    let message = match unknown {
        [] => "The account has no event destination.".to_owned(),
        urls => format!("No destination has the URL {}.", urls.join(" or ")),
    };
    let others: Vec<_> = others.iter().filter_map(|other| other.url.as_deref()).collect();
    let remedy = match &*others {
        [] => "Create a webhook endpoint at Stripe.".to_owned(),
        urls => format!(
            "Create a webhook endpoint at Stripe, or pass the URL of an existing destination: {}.",
            urls.join(", ")
        ),
    };
    Finding::new(Code::NoDestination, message, remedy)
}

/// Returns the findings about event types that handlers take and no destination sends. Types with
/// the same cause share a finding, so that one request enables them all.
fn missing_events(
    routes: &ProgramRoutes,
    ours: &[&Destination],
    is_owner_known: bool,
) -> Vec<Finding> {
    let livemode = ours.iter().find_map(|destination| destination.livemode);
    let is_in_mode = |route: &&ProgramRoute| {
        route.livemode.is_none() || livemode.is_none() || route.livemode == livemode
    };
    let mut groups = BTreeMap::<_, (BTreeSet<String>, BTreeSet<&str>)>::new();
    for route in routes.iter().filter(is_in_mode) {
        for event_type in route.event_types() {
            if let Some(cause) = missing_cause(routes, ours, is_owner_known, route, &event_type) {
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

/// Returns the code of the finding for an event type that does not reach the handler, and the index
/// of the destination that is best to change. Returns `None` if the events reach the handler.
fn missing_cause(
    routes: &ProgramRoutes,
    ours: &[&Destination],
    is_owner_known: bool,
    route: &ProgramRoute,
    event_type: &str,
) -> Option<(Code, Option<usize>)> {
    let is_connect = route.endpoint.as_deref() == Some("connect");
    let is_sent = |event_type: &str| {
        ours.iter().any(|destination| {
            let may_fit = !is_connect || destination.sends_connected() != Some(false);
            may_fit && destination.sends(event_type)
        })
    };
    // A handler of both the snapshot and the thin event needs one of them.
    let twin = twin(event_type);
    let takes_twin =
        routes.iter().any(|other| other.handler == route.handler && other.takes(&twin));
    if is_sent(event_type) || (takes_twin && is_sent(&twin)) {
        return None;
    }
    if !is_of_stripe(event_type) {
        return Some((Code::UnknownType, None));
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
        [(index, _), ..] if is_owner_known => (Code::NotEnabled, Some(*index)),
        [_, ..] => (Code::NotEnabled, None),
        [] => match ours.iter().position(|destination| destination.sends(event_type)) {
            Some(index) => (Code::Scope, Some(index)),
            None => {
                let is_other_kind = |destination: &&Destination| {
                    destination.sends(&twin) || destination.enables(event_type)
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
    snapshot_type(event_type).map_or_else(|| thin_type(event_type), str::to_owned)
}

/// Returns whether the first part of an event type begins a known event type of Stripe. Otherwise
/// the events are those of another provider, or of a feature that is newer than the catalog.
fn is_of_stripe(event_type: &str) -> bool {
    let first = event_type.split('.').next().unwrap_or(event_type);
    !Pattern::Prefix(first).known().is_empty()
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
    let (message, remedy) = match (code, target) {
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
                format!("{handlers} {types}, but {id} sends {sent} events."),
                format!(
                    "Create a destination for {other} events, or handle the {sent} events. The \
                     payload of a destination cannot be changed."
                ),
            )
        }
        (Code::UnknownType, _) => (
            format!("{handlers} {types}, which is not known to be of Stripe."),
            "If another provider sends the events, nothing needs to be done. If Stripe does, enable \
             them at a destination."
                .to_owned(),
        ),
        (_, Some(_)) => (
            format!("{handlers} {types}, which {id} does not send."),
            format!("Enable the event types at {id}."),
        ),
        (_, None) => (
            format!("{handlers} {types}, which no destination sends."),
            "Enable the event types at a destination, or create one. Pass the program's URL \
             if other programs have destinations too."
                .to_owned(),
        ),
    };
    let mut finding = Finding::new(code, message, remedy);
    if let Some(target) = target {
        finding = finding.with_destination(target);
        if code == Code::NotEnabled {
            finding.fix = Some(Fix::enable_events(target, &event_types));
        }
    }
    Finding { event_types, ..finding }
}

/// Returns whether a disabled destination has an event type that a handler takes and no enabled
/// replacement has. A replacement has the same URL (without query), accounts, payload and mode.
fn is_needed(routes: &ProgramRoutes, disabled: &Destination, ours: &[&Destination]) -> bool {
    let takes = |event_type: &str| routes.takes_everything() || routes.takes(event_type);
    // Stripe recommends a query in the URL to distinguish the events of two API versions.
    let base = |url: &Option<String>| Some(url.as_ref()?.split('?').next()?.to_owned());
    let replaces = |other: &&&Destination| {
        other.is_enabled
            && base(&other.url) == base(&disabled.url)
            && other.events_from.is_some()
            && other.events_from == disabled.events_from
            && other.payload == disabled.payload
            && other.livemode == disabled.livemode
    };
    let is_replaced =
        |event_type: &str| ours.iter().filter(replaces).any(|other| other.enables(event_type));
    let needed = routes.iter().flat_map(ProgramRoute::event_types);
    needed
        .filter(|event_type| disabled.sends(event_type))
        .chain(disabled.enabled_events.iter().filter(|event_type| takes(event_type)).cloned())
        .any(|event_type| !is_replaced(&event_type))
}

fn disabled(destination: &Destination) -> Finding {
    let Destination { id, .. } = destination;
    let remedy = format!("Enable {id}, or delete it if it is not needed.");
    Finding::new(Code::Disabled, format!("{id} is disabled."), remedy).with_destination(destination)
}

/// Returns the findings about one destination, except those about missing event types.
fn destination_findings(
    routes: &ProgramRoutes,
    destination: &Destination,
    environment: &Environment,
    is_owner_known: bool,
) -> Vec<Finding> {
    let Destination { id, url, enabled_events, .. } = destination;
    let mut findings = Vec::new();
    let mut add = |code, message: String, remedy: &str| {
        findings.push(Finding::new(code, message, remedy.to_owned()).with_destination(destination));
    };
    if let Some(url) = url.as_deref().filter(|url| url.starts_with("http:")) {
        add(Code::InsecureUrl, format!("{id} sends to {url}."), "Change the URL to https.");
    }
    let base = |version: &str| version.split(';').next().unwrap_or_default().trim().to_owned();
    if let (Some(expected), Kind::Snapshot) =
        (&environment.expected_api_version, destination.payload)
    {
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
    if destination.has_wildcard() && !routes.takes_everything() {
        add(
            Code::Wildcard,
            format!("{id} sends events of all types, except those that must be enabled by name."),
            "Enable only the event types that the handlers take.",
        );
    }
    if !destination.is_enabled {
        let fix = is_owner_known.then(|| Fix::enable(destination));
        findings.push(Finding { fix, ..disabled(destination) });
    }
    let is_unhandled = |event_type: &&String| *event_type != "*" && !routes.takes(event_type);
    let unhandled: Vec<_> = enabled_events.iter().filter(is_unhandled).cloned().collect();
    if !unhandled.is_empty() && !routes.takes_everything() {
        let message = format!("{id} sends {}, which no handler takes.", unhandled.join(", "));
        let remedy = format!("Add handlers, or remove the event types from {id}.");
        let finding = Finding::new(Code::Unhandled, message, remedy).with_destination(destination);
        findings.push(Finding { event_types: unhandled, ..finding });
    }
    findings
}

/// Returns the findings about URLs to which several destinations send the same events.
fn duplicate_urls(ours: &[&Destination]) -> Vec<Finding> {
    let mut by_url = BTreeMap::<&str, Vec<&Destination>>::new();
    for destination in ours.iter().filter(|destination| destination.is_enabled) {
        if let Some(url) = &destination.url {
            by_url.entry(url).or_default().push(destination);
        }
    }
    let duplicates = |(url, all): (&str, Vec<&Destination>)| {
        let is_duplicate = |item: &&&Destination| {
            all.iter().any(|other| !std::ptr::eq(*other, **item) && item.overlaps(other))
        };
        let ids: Vec<_> = all.iter().filter(is_duplicate).map(|item| item.id.clone()).collect();
        let message = format!("{} send some of the same events to {url}.", ids.join(" and "));
        let remedy = "Disable all but one, or enable different event types at each.".to_owned();
        let finding = Finding::new(Code::DuplicateUrl, message, remedy);
        (!ids.is_empty()).then_some(Finding { destinations: ids, ..finding })
    };
    by_url.into_iter().filter_map(duplicates).collect()
}
