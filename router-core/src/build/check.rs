//! The checks of `build()`. Each function finds one kind of problem.

use std::{
    any::TypeId,
    collections::{BTreeMap, BTreeSet},
};

use router_catalog::{Pattern, check_name};

use super::{HandlerLocation, Plugin, Problem, candidate::Candidate, config::Configuration};
use crate::extract::{
    compat::check_argument,
    needs::{Need, NeedSource},
};

/// Returns every problem of the router. The candidates must already be sorted.
pub(super) fn check(config: &Configuration) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(plugins_without_handlers(config));
    // A handler for unhandled events does not count: it would hide that all others are missing.
    let has_handlers = config.candidates.iter().any(|candidate| candidate.patterns.is_some());
    if problems.is_empty() && !has_handlers {
        problems.push(Problem::NoHandlers { left_out: config.left_out.len() });
    }
    problems.extend(unlisted_plugins(config));
    problems.extend(bad_patterns(config));
    problems.extend(invalid_names(config));
    let duplicates = duplicate_registrations(config);
    problems
        .extend(duplicates.iter().map(|copies| Problem::DuplicateRegistration(locations(copies))));
    problems.extend(shared_names(config, &duplicates));
    problems.extend(required_without_handler(config));
    problems.extend(several_unhandled(config, &duplicates));
    problems.extend(several_replies(config, &duplicates));
    problems.extend(unknown_endpoints(config));
    problems.extend(other_mode(config));
    problems.extend(missing_states(config));
    problems.extend(not_provided(config));
    problems.extend(not_provided_to_replies(config));
    problems.extend(duplicate_arguments(config));
    problems.extend(missing_arguments(config));
    problems.extend(duplicate_states(config));
    if config.has_delivery_service() {
        problems.extend(inline_only(config));
        problems.extend(invalid_retry_policy(config));
    }
    problems
}

fn plugins_without_handlers(config: &Configuration) -> impl Iterator<Item = Problem> {
    let with_handlers: BTreeSet<Plugin> =
        config.candidates.iter().filter_map(Candidate::plugin).collect();
    let listed: BTreeSet<Plugin> = config.plugins.iter().flatten().copied().collect();
    listed
        .into_iter()
        .filter(move |plugin| !with_handlers.contains(plugin))
        .map(Problem::PluginWithoutHandlers)
}

fn unlisted_plugins(config: &Configuration) -> impl Iterator<Item = Problem> {
    let mut unlisted = BTreeMap::<Plugin, Vec<&Candidate>>::new();
    if let Some(listed) = &config.plugins {
        for candidate in &config.candidates {
            if let Some(plugin) = candidate.plugin().filter(|plugin| !listed.contains(plugin)) {
                unlisted.entry(plugin).or_default().push(candidate);
            }
        }
    }
    unlisted.into_iter().map(|(plugin, candidates)| Problem::UnlistedPlugin {
        plugin,
        handlers: locations(&candidates),
    })
}

/// Finds invalid names of handlers registered by hand, and default names that are too long. The
/// macro checks the names in its keys.
fn invalid_names(config: &Configuration) -> impl Iterator<Item = Problem> {
    config.candidates.iter().filter_map(|candidate| {
        let error = check_name(&candidate.name).err()?;
        Some(Problem::InvalidName { error, handler: candidate.location() })
    })
}

fn bad_patterns(config: &Configuration) -> impl Iterator<Item = Problem> {
    config.candidates.iter().flat_map(|candidate| {
        let is_empty = candidate.patterns.as_ref().is_some_and(Vec::is_empty);
        let no_patterns = is_empty.then(|| Problem::NoPatterns(candidate.location()));
        let bad = candidate.patterns.iter().flatten().filter_map(|pattern| {
            let error = Pattern::parse(pattern).err()?;
            let pattern = pattern.clone();
            Some(Problem::InvalidPattern { pattern, error, handler: candidate.location() })
        });
        no_patterns.into_iter().chain(bad)
    })
}

/// Groups the copies of each function that is registered more than once.
///
/// Copies have the same file, line and function name, but may differ in their module path, because
/// a file can be included by several `mod` declarations. The function name is compared because a
/// macro can generate several functions at one location.
fn duplicate_registrations(config: &Configuration) -> Vec<Vec<&Candidate>> {
    let mut copies = BTreeMap::<_, Vec<&Candidate>>::new();
    for candidate in &config.candidates {
        if let Some(source) = candidate.source {
            let function = (candidate.file, candidate.line, source.function);
            copies.entry(function).or_default().push(candidate);
        }
    }
    copies.into_values().filter(|copies| copies.len() > 1).collect()
}

fn shared_names(config: &Configuration, duplicates: &[Vec<&Candidate>]) -> Vec<Problem> {
    let mut by_name = BTreeMap::<&str, Vec<&Candidate>>::new();
    for candidate in &config.candidates {
        let former = candidate.settings.formerly.filter(|former| *former != candidate.name);
        for name in former.into_iter().chain([&*candidate.name]) {
            by_name.entry(name).or_default().push(candidate);
        }
    }
    by_name
        .values()
        .filter(|sharing| sharing.len() > 1 && !are_copies(sharing, duplicates))
        .map(|sharing| Problem::DuplicateName(locations(sharing)))
        .collect()
}

fn required_without_handler(config: &Configuration) -> impl Iterator<Item = Problem> {
    let has_handler = |event_type: &str, known: bool| {
        let handlers = config.candidates.iter().filter(|candidate| !candidate.settings.observer);
        let mut patterns = handlers.flat_map(Candidate::parsed_patterns);
        patterns.any(|pattern| match pattern {
            Pattern::All => false,
            // An unknown event type may be a typo, which a wildcard would hide.
            Pattern::Prefix(_) => known && pattern.matches(event_type),
            Pattern::Exact(_) => pattern.matches(event_type),
        })
    };
    let required: BTreeSet<&String> = config.required.iter().collect();
    required.into_iter().filter_map(move |event_type| {
        let known = router_catalog::lookup(event_type).is_some();
        (!has_handler(event_type, known)).then(|| Problem::MissingHandler {
            event_type: event_type.clone(),
            nearest: if known { None } else { router_catalog::nearest(event_type) },
        })
    })
}

fn several_unhandled(config: &Configuration, duplicates: &[Vec<&Candidate>]) -> Option<Problem> {
    let unhandled: Vec<&Candidate> =
        config.candidates.iter().filter(|candidate| candidate.patterns.is_none()).collect();
    let found = unhandled.len() > 1 && !are_copies(&unhandled, duplicates);
    found.then(|| Problem::MultipleUnhandled(locations(&unhandled)))
}

/// Finds pairs of handlers that would reply to the same event.
fn several_replies(config: &Configuration, duplicates: &[Vec<&Candidate>]) -> Vec<Problem> {
    let replying: Vec<&Candidate> =
        config.candidates.iter().filter(|candidate| candidate.replies).collect();
    let pairs = replying.iter().enumerate().flat_map(|(index, first)| {
        replying[index + 1..].iter().map(move |second| [*first, *second])
    });
    pairs
        .filter(|[first, second]| first.shares_events_with(second))
        .filter(|pair| !are_copies(pair, duplicates))
        .map(|pair| Problem::MultipleReplies(locations(&pair)))
        .collect()
}

/// Finds handlers of an endpoint that no secret is named for.
fn unknown_endpoints(config: &Configuration) -> impl Iterator<Item = Problem> {
    let mut unknown = BTreeMap::<&str, Vec<&Candidate>>::new();
    if let Some(known) = &config.endpoints {
        for candidate in &config.candidates {
            if let Some(endpoint) =
                candidate.settings.endpoint.filter(|name| !known.contains(*name))
            {
                unknown.entry(endpoint).or_default().push(candidate);
            }
        }
    }
    unknown.into_iter().map(|(endpoint, candidates)| Problem::UnknownEndpoint {
        endpoint: endpoint.to_owned(),
        handlers: locations(&candidates),
        known: config.endpoints.iter().flatten().cloned().collect(),
    })
}

/// Finds handlers for the mode that the router does not handle.
fn other_mode(config: &Configuration) -> Option<Problem> {
    let livemode = config.livemode?;
    let other = |candidate: &&Candidate| candidate.settings.livemode == Some(!livemode);
    let handlers: Vec<&Candidate> = config.candidates.iter().filter(other).collect();
    let handlers = locations(&handlers);
    (!handlers.is_empty()).then_some(Problem::OtherMode { livemode, handlers })
}

fn missing_states(config: &Configuration) -> impl Iterator<Item = Problem> {
    let missing =
        unmet_needs(&config.candidates, NeedSource::Application, |id| config.states.contains(id));
    let added: BTreeSet<_> = config.states.entries.iter().map(|state| state.type_name).collect();
    missing.into_iter().map(move |(need, candidates)| Problem::MissingState {
        type_name: need.type_name,
        handlers: locations(&candidates),
        added: added.iter().copied().collect(),
    })
}

fn not_provided(config: &Configuration) -> impl Iterator<Item = Problem> {
    let per_delivery = config.provided_types.iter().flatten();
    let checked =
        config.candidates.iter().filter(|candidate| !runs_before_storing(config, candidate));
    let missing = unmet_needs(checked, NeedSource::Delivery, |id| {
        per_delivery.clone().any(|provided| provided.id == id)
    });
    let provided: BTreeSet<_> = per_delivery.map(|provided| provided.type_name).collect();
    let (delivered, hint) = (config.has_delivery_service(), config.hint);
    missing.into_iter().map(move |(need, candidates)| Problem::NotProvided {
        type_names: need.types().map(|(type_name, _)| type_name).collect(),
        handlers: locations(&candidates),
        delivered,
        provided: provided.iter().copied().collect(),
        hint,
    })
}

/// Finds handlers that reply before the event is stored, but take a value of a delivery.
fn not_provided_to_replies(config: &Configuration) -> impl Iterator<Item = Problem> {
    let replying =
        config.candidates.iter().filter(|candidate| runs_before_storing(config, candidate));
    let missing = unmet_needs(replying, NeedSource::Delivery, |_| false);
    missing.into_iter().map(|(need, candidates)| Problem::NotProvidedToReply {
        type_names: need.types().map(|(type_name, _)| type_name).collect(),
        handlers: locations(&candidates),
    })
}

/// Returns whether the handler replies, and a delivery service stores the event only afterwards.
fn runs_before_storing(config: &Configuration, candidate: &Candidate) -> bool {
    config.has_delivery_service() && candidate.replies
}

/// Returns the required needs for whose types `is_available` is false, with the handlers that have
/// them, ordered by the names of the types.
fn unmet_needs<'c>(
    candidates: impl IntoIterator<Item = &'c Candidate>,
    from: NeedSource,
    is_available: impl Fn(TypeId) -> bool,
) -> Vec<(Need, Vec<&'c Candidate>)> {
    let mut unmet = BTreeMap::<_, (Need, Vec<&Candidate>)>::new();
    for candidate in candidates {
        let needs: BTreeMap<Vec<_>, Need> = (candidate.needs.iter())
            .filter(|need| need.from == from && need.required)
            .filter(|need| !need.types().any(|(_, id)| is_available(id)))
            .map(|need| (need.types().collect(), *need))
            .collect();
        for (types, need) in needs {
            unmet.entry(types).or_insert((need, Vec::new())).1.push(candidate);
        }
    }
    unmet.into_values().collect()
}

/// Finds handlers that take a value twice that each call is provided with once.
fn duplicate_arguments(config: &Configuration) -> impl Iterator<Item = Problem> {
    config.candidates.iter().flat_map(|candidate| {
        let mut counts = BTreeMap::<_, usize>::new();
        for need in candidate.needs.iter().filter(|need| need.from == NeedSource::Delivery) {
            *counts.entry((need.type_name, need.id)).or_default() += 1;
        }
        let duplicates = counts.into_iter().filter(|(_, count)| *count > 1);
        duplicates.map(|((type_name, _), _)| Problem::DuplicateArgument {
            type_name,
            handler: candidate.location(),
        })
    })
}

/// Finds arguments that the events of a handler registered by hand do not carry.
fn missing_arguments(config: &Configuration) -> impl Iterator<Item = Problem> {
    config.candidates.iter().flat_map(|candidate| {
        let patterns = candidate.patterns.iter().flatten().map(String::as_str);
        let valid: Vec<&str> = patterns.filter(|text| Pattern::parse(text).is_ok()).collect();
        candidate.arguments.iter().filter_map(move |argument| {
            let mistake = check_argument(argument.kind, None, &valid)?;
            Some(Problem::ArgumentNotCarried {
                type_name: argument.type_name,
                mistake: mistake.text().to_owned(),
                handler: candidate.location(),
            })
        })
    })
}

/// Finds handlers and settings that cannot be combined with `.delivered_by(...)`.
fn inline_only(config: &Configuration) -> impl Iterator<Item = Problem> {
    let unhandled = config.candidates.iter().filter(|candidate| candidate.patterns.is_none());
    let unhandled: Vec<_> = unhandled.map(Candidate::location).collect();
    let fallbacks = (!unhandled.is_empty()).then_some(Problem::UnhandledNotDeliverable(unhandled));
    let settings = [
        (config.completions.is_some(), ".completions(...)"),
        (config.dead_letters.is_some(), ".dead_letters(...)"),
    ]
    .into_iter()
    .filter(|(is_set, _)| *is_set)
    .map(|(_, setting)| Problem::InlineOnlySetting { setting });
    fallbacks.into_iter().chain(settings)
}

fn invalid_retry_policy(config: &Configuration) -> Option<Problem> {
    let (policy, location) = config.default_retry?;
    Some(Problem::InvalidRetryPolicy { mistake: policy.mistake()?, location })
}

fn duplicate_states(config: &Configuration) -> impl Iterator<Item = Problem> {
    let mut by_type = BTreeMap::<_, Vec<_>>::new();
    for state in &config.states.entries {
        by_type.entry((state.type_name, state.id)).or_default().push(state.location);
    }
    by_type
        .into_iter()
        .filter(|(_, locations)| locations.len() > 1)
        .map(|((type_name, _), locations)| Problem::DuplicateState { type_name, locations })
}

/// Returns whether the candidates are copies of one function, which is reported separately.
fn are_copies(candidates: &[&Candidate], duplicates: &[Vec<&Candidate>]) -> bool {
    duplicates.iter().any(|copies| candidates.iter().all(|candidate| contains(copies, candidate)))
}

fn contains(candidates: &[&Candidate], wanted: &Candidate) -> bool {
    candidates.iter().any(|candidate| std::ptr::eq(*candidate, wanted))
}

fn locations(candidates: &[&Candidate]) -> Vec<HandlerLocation> {
    candidates.iter().map(|candidate| candidate.location()).collect()
}
