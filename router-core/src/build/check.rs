//! Every check of `build()`. Each function finds one kind of problem.

use std::collections::{BTreeMap, BTreeSet};

use router_catalog::Pattern;

use super::{
    Plugin, Problem,
    builder::{Candidate, RouterBuilder},
};

/// Everything that is wrong. Expects the candidates in their final order.
pub(super) fn check(builder: &RouterBuilder) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(silent_plugins(builder));
    if problems.is_empty() && builder.candidates.is_empty() {
        problems.push(Problem::NoHandlers);
    }
    problems.extend(unlisted_plugins(builder));
    problems.extend(bad_patterns(builder));
    let twice = registered_twice(builder);
    problems.extend(twice.iter().map(|copies| Problem::RegisteredTwice(places(copies))));
    problems.extend(shared_names(builder, &twice));
    problems.extend(nothing_handles(builder));
    problems
}

fn silent_plugins(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let heard: BTreeSet<Plugin> =
        builder.candidates.iter().filter_map(|candidate| candidate.plugin).collect();
    let listed: BTreeSet<Plugin> = builder.plugins.iter().flatten().copied().collect();
    listed.into_iter().filter(move |plugin| !heard.contains(plugin)).map(Problem::SilentPlugin)
}

fn unlisted_plugins(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let mut unlisted = BTreeMap::<Plugin, Vec<&Candidate>>::new();
    if let Some(listed) = &builder.plugins {
        for candidate in &builder.candidates {
            if let Some(plugin) = candidate.plugin.filter(|plugin| !listed.contains(plugin)) {
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
        let none = candidate.patterns.is_empty().then(|| Problem::NoPatterns(candidate.place()));
        let bad = candidate.patterns.iter().filter_map(|pattern| {
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
    for candidate in builder.candidates.iter().filter(|candidate| candidate.plugin.is_some()) {
        let place = (candidate.file, candidate.line, candidate.function);
        copies.entry(place).or_default().push(candidate);
    }
    copies.into_values().filter(|copies| copies.len() > 1).collect()
}

fn shared_names(builder: &RouterBuilder, twice: &[Vec<&Candidate>]) -> Vec<Problem> {
    builder
        .candidates
        .chunk_by(|a, b| a.name == b.name)
        .map(|sharing| sharing.iter().collect::<Vec<_>>())
        .filter(|sharing| sharing.len() > 1)
        // Copies of one function share their name too; that is said already.
        .filter(|sharing| !twice.iter().any(|copies| sharing.iter().all(|one| is_in(copies, one))))
        .map(|sharing| Problem::SharedName(places(&sharing)))
        .collect()
}

fn nothing_handles(builder: &RouterBuilder) -> impl Iterator<Item = Problem> {
    let handled = |event_type: &str| {
        let mut patterns = builder.candidates.iter().flat_map(Candidate::parsed_patterns);
        patterns.any(|pattern| pattern != Pattern::All && pattern.matches(event_type))
    };
    let required: BTreeSet<&String> = builder.required.iter().collect();
    required
        .into_iter()
        .filter(move |event_type| !handled(event_type))
        .map(|event_type| Problem::NothingHandles { event_type: event_type.clone() })
}

fn is_in(candidates: &[&Candidate], wanted: &Candidate) -> bool {
    candidates.iter().any(|candidate| std::ptr::eq(*candidate, wanted))
}

fn places(candidates: &[&Candidate]) -> Vec<super::Place> {
    candidates.iter().map(|candidate| candidate.place()).collect()
}
