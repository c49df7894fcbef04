//! Every check of `build()`. Each function finds one kind of problem.

use std::{
    any::TypeId,
    collections::{BTreeMap, BTreeSet},
};

use router_catalog::Pattern;

use super::{Plugin, Problem, builder::RouterBuilder, candidate::Candidate};
use crate::extract::needs::From;

/// Everything that is wrong. Expects the candidates in their final order.
pub(super) fn check(builder: &RouterBuilder) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(silent_plugins(builder));
    // One under `#[on_unhandled]` does not count: it would hide that all others are lost.
    if problems.is_empty() && !builder.candidates.iter().any(|one| one.patterns.is_some()) {
        problems.push(Problem::NoHandlers { left_out: builder.left_out.len() });
    }
    problems.extend(unlisted_plugins(builder));
    problems.extend(bad_patterns(builder));
    let twice = registered_twice(builder);
    problems.extend(twice.iter().map(|copies| Problem::RegisteredTwice(places(copies))));
    problems.extend(shared_names(builder, &twice));
    problems.extend(nothing_handles(builder));
    problems.extend(several_unhandled(builder, &twice));
    problems.extend(several_replies(builder, &twice));
    problems.extend(missing_states(builder));
    problems.extend(not_provided(builder));
    problems.extend(taken_twice(builder));
    problems.extend(states_given_twice(builder));
    if builder.delivered_by.is_some() {
        problems.extend(inline_only(builder));
    }
    problems
}

fn silent_plugins(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let heard: BTreeSet<Plugin> = builder.candidates.iter().filter_map(Candidate::plugin).collect();
    let listed: BTreeSet<Plugin> = builder.plugins.iter().flatten().copied().collect();
    listed
        .into_iter()
        .filter(move |plugin| !heard.contains(plugin))
        .map(Problem::PluginWithoutHandlers)
}

fn unlisted_plugins(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let mut unlisted = BTreeMap::<Plugin, Vec<&Candidate>>::new();
    if let Some(listed) = &builder.plugins {
        for candidate in &builder.candidates {
            if let Some(plugin) = candidate.plugin().filter(|plugin| !listed.contains(plugin)) {
                unlisted.entry(plugin).or_default().push(candidate);
            }
        }
    }
    unlisted.into_iter().map(|(plugin, candidates)| Problem::UnlistedPlugin {
        plugin,
        handlers: places(&candidates),
    })
}

fn bad_patterns(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    builder.candidates.iter().flat_map(|candidate| {
        let none = candidate.patterns.as_ref().is_some_and(Vec::is_empty);
        let none = none.then(|| Problem::NoPatterns(candidate.place()));
        let bad = candidate.patterns.iter().flatten().filter_map(|pattern| {
            let error = Pattern::parse(pattern).err()?;
            let pattern = pattern.clone();
            Some(Problem::BadPattern { pattern, error, handler: candidate.place() })
        });
        none.into_iter().chain(bad)
    })
}

/// The copies of each function that was registered more than once: the same place in the source
/// under several module paths. (A macro can make several functions in one place, with other names.)
fn registered_twice(builder: &RouterBuilder) -> Vec<Vec<&Candidate>> {
    let mut copies = BTreeMap::<_, Vec<&Candidate>>::new();
    for candidate in &builder.candidates {
        if let Some(source) = candidate.source {
            let place = (candidate.file, candidate.line, source.function);
            copies.entry(place).or_default().push(candidate);
        }
    }
    copies.into_values().filter(|copies| copies.len() > 1).collect()
}

fn shared_names(builder: &RouterBuilder, twice: &[Vec<&Candidate>]) -> Vec<Problem> {
    let mut sharing = BTreeMap::<&str, Vec<&Candidate>>::new();
    for candidate in &builder.candidates {
        let former = candidate.formerly.filter(|former| *former != candidate.name);
        for name in former.into_iter().chain([&*candidate.name]) {
            sharing.entry(name).or_default().push(candidate);
        }
    }
    sharing
        .values()
        .filter(|sharing| sharing.len() > 1 && !are_copies(sharing, twice))
        .map(|sharing| Problem::SharedName(places(sharing)))
        .collect()
}

fn nothing_handles(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let handled = |event_type: &str, known: bool| {
        let mut patterns = builder.candidates.iter().flat_map(Candidate::parsed_patterns);
        patterns.any(|pattern| match pattern {
            Pattern::All => false,
            // What is not known to be an event type is perhaps a typo, which a wildcard would hide.
            Pattern::Prefix(_) => known && pattern.matches(event_type),
            Pattern::Exact(_) => pattern.matches(event_type),
        })
    };
    let required: BTreeSet<&String> = builder.required.iter().collect();
    required.into_iter().filter_map(move |event_type| {
        let known = router_catalog::lookup(event_type).is_some();
        (!handled(event_type, known)).then(|| Problem::NothingHandles {
            event_type: event_type.clone(),
            nearest: if known { None } else { router_catalog::nearest(event_type) },
        })
    })
}

fn several_unhandled(builder: &RouterBuilder, twice: &[Vec<&Candidate>]) -> Option<Problem> {
    let several: Vec<&Candidate> =
        builder.candidates.iter().filter(|candidate| candidate.patterns.is_none()).collect();
    let found = several.len() > 1 && !are_copies(&several, twice);
    found.then(|| Problem::SeveralUnhandled(places(&several)))
}

/// Pairs that reply to one event: Stripe takes one answer.
fn several_replies(builder: &RouterBuilder, twice: &[Vec<&Candidate>]) -> Vec<Problem> {
    let replying: Vec<&Candidate> =
        builder.candidates.iter().filter(|candidate| candidate.replies).collect();
    let pairs = replying
        .iter()
        .enumerate()
        .flat_map(|(at, first)| replying[at + 1..].iter().map(move |second| [*first, *second]));
    pairs
        .filter(|[first, second]| first.shares_events_with(second))
        .filter(|pair| !are_copies(pair, twice))
        .map(|pair| Problem::SeveralReplies(places(&pair)))
        .collect()
}

fn missing_states(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let missing = missing(builder, From::Application, |id| builder.given.has(id));
    let given: BTreeSet<_> = builder.given.list.iter().map(|given| given.type_name).collect();
    missing.into_iter().map(move |((type_name, _), candidates)| Problem::MissingState {
        type_name,
        handlers: places(&candidates),
        given: given.iter().copied().collect(),
    })
}

fn not_provided(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let provided = builder.delivered_by.iter().flatten();
    let missing =
        missing(builder, From::Delivery, |id| provided.clone().any(|provision| provision.id == id));
    let provided: BTreeSet<_> = provided.map(|provision| provision.type_name).collect();
    let (delivered, hint) = (builder.delivered_by.is_some(), builder.hint);
    missing.into_iter().map(move |((type_name, _), candidates)| Problem::NotProvided {
        type_name,
        handlers: places(&candidates),
        delivered,
        provided: provided.iter().copied().collect(),
        hint,
    })
}

/// What handlers need and nobody has, with those that need it.
fn missing(
    builder: &RouterBuilder,
    from: From,
    is_there: impl Fn(TypeId) -> bool,
) -> BTreeMap<(&'static str, TypeId), Vec<&Candidate>> {
    let mut missing = BTreeMap::<_, Vec<&Candidate>>::new();
    for candidate in &builder.candidates {
        let needs: BTreeSet<_> = (candidate.needs.iter())
            .filter(|need| need.from == from && need.required && !is_there(need.id))
            .map(|need| (need.type_name, need.id))
            .collect();
        for need in needs {
            missing.entry(need).or_default().push(candidate);
        }
    }
    missing
}

/// Handlers that take twice what each call is given once.
fn taken_twice(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    builder.candidates.iter().flat_map(|candidate| {
        let mut seen = BTreeMap::<_, usize>::new();
        for need in candidate.needs.iter().filter(|need| need.from == From::Delivery) {
            *seen.entry((need.type_name, need.id)).or_default() += 1;
        }
        let twice = seen.into_iter().filter(|(_, times)| *times > 1);
        twice.map(|((type_name, _), _)| Problem::DuplicateArgument {
            type_name,
            handler: candidate.place(),
        })
    })
}

/// What makes no sense where events are kept and delivered later.
fn inline_only(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let of = |is_such: fn(&Candidate) -> bool| {
        let such = builder.candidates.iter().filter(move |candidate| is_such(candidate));
        such.map(Candidate::place).collect::<Vec<_>>()
    };
    let settings = [
        (builder.completions.is_some(), ".completions(...)"),
        (builder.dead_letters.is_some(), ".dead_letters(...)"),
    ];
    let (replying, unhandled) =
        (of(|candidate| candidate.replies), of(|candidate| candidate.patterns.is_none()));
    let replying = (!replying.is_empty()).then_some(Problem::DeliveredReply(replying));
    let unhandled = (!unhandled.is_empty()).then_some(Problem::DeliveredUnhandled(unhandled));
    let settings = settings.into_iter().filter(|(is_set, _)| *is_set);
    let settings = settings.map(|(_, setting)| Problem::InlineOnly { setting });
    replying.into_iter().chain(unhandled).chain(settings)
}

fn states_given_twice(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let mut given = BTreeMap::<_, Vec<_>>::new();
    for state in &builder.given.list {
        given.entry((state.type_name, state.id)).or_default().push(state.place);
    }
    given
        .into_iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|((type_name, _), places)| Problem::StateGivenTwice { type_name, places })
}

/// Whether these are copies of one function, which is a problem that is told already.
fn are_copies(candidates: &[&Candidate], twice: &[Vec<&Candidate>]) -> bool {
    twice.iter().any(|copies| candidates.iter().all(|one| is_in(copies, one)))
}

fn is_in(candidates: &[&Candidate], wanted: &Candidate) -> bool {
    candidates.iter().any(|candidate| std::ptr::eq(*candidate, wanted))
}

fn places(candidates: &[&Candidate]) -> Vec<super::HandlerLocation> {
    candidates.iter().map(|candidate| candidate.place()).collect()
}
