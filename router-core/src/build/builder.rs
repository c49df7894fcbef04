//! Collects what a router is made of.

use std::{panic::Location, sync::Arc};

use router_catalog::Pattern;

use super::{
    BuildError, Plugin,
    check::check,
    problem::Place,
    registry::{self, Registration},
    routes::{Route, Routes},
};
use crate::{
    handler::Handler,
    routing::{Call, RegisteredHandler, Router, Table},
};

/// Collects what a [`Router`] is made of; [`build`](RouterBuilder::build) finds every mistake.
#[derive(Debug)]
#[must_use = "nothing is routed before `.build()`"]
pub struct RouterBuilder {
    pub(super) candidates: Vec<Candidate>,
    pub(super) plugins: Option<Vec<Plugin>>,
    pub(super) required: Vec<String>,
}

/// A handler as it was registered, before anything was checked.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) patterns: Vec<String>,
    /// The crate in which `#[on_event]` stands; none for one that was registered by hand.
    pub(super) plugin: Option<Plugin>,
    pub(super) function: &'static str,
    pub(super) file: &'static str,
    pub(super) line: u32,
    pub(super) doc: &'static str,
    pub(super) call: Call,
}

impl RouterBuilder {
    pub(crate) fn linked() -> Self {
        let candidates = registry::linked().map(Candidate::linked).collect();
        Self { candidates, plugins: None, required: Vec::new() }
    }

    /// Forgets the handlers that `#[on_event]` registered; only those that are registered by hand
    /// remain.
    pub fn unlinked(mut self) -> Self {
        self.candidates.retain(|candidate| candidate.plugin.is_none());
        self
    }

    /// Lists every crate that has handlers, the application's own included: a listed crate without
    /// handlers is then a problem, and so is a crate with handlers that is not listed.
    ///
    /// ```
    /// use router_core::{Event, Router, on_event};
    ///
    /// router_core::plugin!(); // makes `PLUGIN`
    ///
    /// #[on_event("invoice.paid")]
    /// async fn paid(event: Event) {
    ///     println!("{}", event.id());
    /// }
    ///
    /// let router = Router::builder().plugins([PLUGIN]).build()?;
    /// # Ok::<(), router_core::BuildError>(())
    /// ```
    pub fn plugins(mut self, plugins: impl IntoIterator<Item = Plugin>) -> Self {
        self.plugins.get_or_insert_default().extend(plugins);
        self
    }

    /// Event types for which there must be a handler. One that is registered for `*` does not
    /// count: it would hide the loss of the one that is meant.
    pub fn require<T: Into<String>>(mut self, event_types: impl IntoIterator<Item = T>) -> Self {
        self.required.extend(event_types.into_iter().map(Into::into));
        self
    }

    /// Registers a handler by hand, under a stable name, for event types and wildcards as in
    /// `#[on_event]`.
    ///
    /// ```
    /// use router_core::{Event, Router};
    ///
    /// let router = Router::builder()
    ///     .handler("audit", ["invoice.*"], async |event: Event| println!("{}", event.id()))
    ///     .build()?;
    /// # Ok::<(), router_core::BuildError>(())
    /// ```
    #[track_caller]
    pub fn handler<P: Into<String>>(
        mut self,
        name: impl Into<String>,
        patterns: impl IntoIterator<Item = P>,
        handler: impl Handler,
    ) -> Self {
        let here = Location::caller();
        self.candidates.push(Candidate {
            name: name.into(),
            patterns: patterns.into_iter().map(Into::into).collect(),
            plugin: None,
            function: "",
            file: here.file(),
            line: here.line(),
            doc: "",
            call: Call::ByHand(Arc::new(handler)),
        });
        self
    }

    /// Builds the router.
    ///
    /// # Errors
    ///
    /// [`BuildError`] with everything that is wrong, each with where it stands and what to do.
    pub fn build(mut self) -> Result<Router, BuildError> {
        // The order in which handlers run: by stable name, because the linker's order differs from
        // build to build.
        self.candidates.sort_by(|a, b| a.name.cmp(&b.name));
        let problems = check(&self);
        if !problems.is_empty() {
            return Err(BuildError::new(problems));
        }
        let table = Table::new(self.candidates.iter().zip(0..).flat_map(|(candidate, number)| {
            candidate.parsed_patterns().map(move |pattern| (pattern, number))
        }));
        let routes = self.candidates.iter().flat_map(Candidate::routes).collect();
        let handlers = self.candidates.into_iter().map(Candidate::into_handler).collect();
        Ok(Router::new(handlers, table, Routes::new(routes)))
    }
}

impl Candidate {
    fn linked(registration: &Registration) -> Self {
        Self {
            name: registration.name.to_owned(),
            patterns: registration.patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
            plugin: Some(Plugin::__new(registration.package, registration.version)),
            function: registration.function,
            file: registration.file,
            line: registration.line,
            doc: registration.doc,
            call: Call::Linked(registration.call),
        }
    }

    /// Its patterns; `check` has found those that are none.
    pub(super) fn parsed_patterns(&self) -> impl Iterator<Item = Pattern<'_>> {
        self.patterns.iter().filter_map(|pattern| Pattern::parse(pattern).ok())
    }

    pub(super) fn place(&self) -> Place {
        Place {
            file: self.file,
            line: self.line,
            name: self.name.clone(),
            patterns: self.patterns.join(", "),
        }
    }

    fn routes(&self) -> impl Iterator<Item = Route> {
        self.patterns.iter().map(|pattern| Route {
            pattern: pattern.clone(),
            handler: self.name.clone(),
            file: self.file,
            line: self.line,
            doc: self.doc,
        })
    }

    fn into_handler(self) -> RegisteredHandler {
        RegisteredHandler { name: self.name.into(), call: self.call }
    }
}
