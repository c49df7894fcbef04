//! The errors of `build()`.

use std::{fmt, panic::Location};

use router_catalog::{NameError, PatternError};

use super::{Plugin, state_advice::state_advice};
use crate::extract::short_type_name;

/// The error of `build()`, with every problem of the router.
#[non_exhaustive]
pub struct BuildError {
    problems: Vec<Problem>,
}

/// A problem that keeps a router from being built.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The router has no handlers.
    NoHandlers {
        /// The number of linked handlers that were left out.
        left_out: usize,
    },
    /// A listed plugin registered no handler.
    PluginWithoutHandlers(Plugin),
    /// A crate has handlers but is not listed in `.plugins([...])`.
    UnlistedPlugin {
        /// The crate.
        plugin: Plugin,
        /// The crate's handlers.
        handlers: Vec<HandlerLocation>,
    },
    /// A required event type has no handler.
    MissingHandler {
        /// The event type.
        event_type: String,
        /// The closest known event type, if the required one is unknown.
        nearest: Option<&'static str>,
    },
    /// Handlers take only events of an endpoint that the router gets no events from.
    UnknownEndpoint {
        /// The endpoint's name in the handlers' attributes.
        endpoint: String,
        /// The handlers.
        handlers: Vec<HandlerLocation>,
        /// The names of the router's endpoints, sorted.
        known: Vec<String>,
    },
    /// Handlers take only events of the mode that the router does not handle.
    OtherMode {
        /// The mode that the router handles: `true` for live events, `false` for test events.
        livemode: bool,
        /// The handlers.
        handlers: Vec<HandlerLocation>,
    },
    /// Handlers need a state that was not added to the builder.
    MissingState {
        /// The state's type.
        type_name: &'static str,
        /// The handlers.
        handlers: Vec<HandlerLocation>,
        /// The types of the states that were added, sorted.
        added: Vec<&'static str>,
    },
    /// Handlers take a per-delivery value that the router does not provide.
    NotProvided {
        /// The value's type. For an [`Either`](crate::extract::Either) both types, of which one
        /// suffices.
        type_names: Vec<&'static str>,
        /// The handlers.
        handlers: Vec<HandlerLocation>,
        /// `true` if the router was built with `.delivered_by(...)`.
        delivered: bool,
        /// The types that the delivery service provides, sorted.
        provided: Vec<&'static str>,
        /// The delivery service's advice for handlers that take a type it does not provide.
        hint: Option<&'static str>,
    },
    /// Handlers take a per-delivery value, but reply to Stripe: with `.delivered_by(...)` they run
    /// before the event is stored and delivered.
    NotProvidedToReply {
        /// The value's type. For an [`Either`](crate::extract::Either) both types.
        type_names: Vec<&'static str>,
        /// The handlers.
        handlers: Vec<HandlerLocation>,
    },
    /// A handler takes the same per-delivery value twice, but each call gets only one.
    DuplicateArgument {
        /// The value's type.
        type_name: &'static str,
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler registered by hand takes an argument that its events do not carry.
    ArgumentNotCarried {
        /// The argument's type.
        type_name: &'static str,
        /// The mistake, and how to correct it.
        mistake: String,
        /// The handler.
        handler: HandlerLocation,
    },
    /// Handlers have `#[on_unhandled]`, but with `.delivered_by(...)` they are never called.
    UnhandledNotDeliverable(Vec<HandlerLocation>),
    /// A setting that cannot be combined with `.delivered_by(...)`.
    InlineOnlySetting {
        /// The builder's method.
        setting: &'static str,
    },
    /// The policy passed to `.retry(...)` is invalid.
    InvalidRetryPolicy {
        /// The mistake, and how to correct it.
        mistake: &'static str,
        /// The location of the call.
        location: &'static Location<'static>,
    },
    /// More than one state of the same type was added.
    DuplicateState {
        /// The states' type.
        type_name: &'static str,
        /// The locations of the calls that added them.
        locations: Vec<&'static Location<'static>>,
    },
    /// More than one function has `#[on_unhandled]`.
    MultipleUnhandled(Vec<HandlerLocation>),
    /// More than one handler replies to the same event.
    MultipleReplies(Vec<HandlerLocation>),
    /// A handler's pattern is neither an event type nor a wildcard.
    InvalidPattern {
        /// The pattern.
        pattern: String,
        /// The parse error.
        error: PatternError,
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler is registered without a pattern.
    NoPatterns(HandlerLocation),
    /// The name of a handler registered by hand is invalid, or a handler without the key `name` has
    /// a path that is too long to be its name.
    InvalidName {
        /// The reason why the name is invalid.
        error: NameError,
        /// The handler.
        handler: HandlerLocation,
    },
    /// A function is registered more than once.
    DuplicateRegistration(Vec<HandlerLocation>),
    /// Handlers share a stable name.
    DuplicateName(Vec<HandlerLocation>),
}

/// A handler and its location in the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct HandlerLocation {
    /// The path of the file, as in `file!()`.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
    /// The handler's stable name.
    pub name: String,
    /// The handler's patterns, separated by commas, or `(unhandled)` for `#[on_unhandled]`.
    pub patterns: String,
}

impl BuildError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Returns the problems.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for BuildError {}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "the router cannot be built: {count} problem{plural}")?;
        for (problem, number) in self.problems.iter().zip(1..) {
            let head = format!("\n  {number}. ");
            let indent = format!("\n{:1$}", "", head.len() - 1);
            write!(f, "{head}{}", problem.to_string().replace('\n', &indent))?;
        }
        Ok(())
    }
}

/// Same as `Display`, because `fn main() -> Result<(), BuildError>` prints the `Debug` form.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandlers { left_out: left_out @ 1.. } => write!(
                f,
                "the router has no handlers: all {left_out} linked handlers were left out\n\
                 help: add one with `.add::<fulfil>()`, or remove the `.without_linked()`, `.only` or `.without` that \
                 leaves them out"
            ),
            Self::NoHandlers { left_out: 0 } => f.write_str(
                "no handler is registered\n\
                 note: a crate that is only listed in Cargo.toml is not linked, so its handlers are not registered\n\
                 help: mention each crate that has handlers: `.plugins([my_plugin::PLUGIN])`, or `use my_plugin as _;`",
            ),
            Self::PluginWithoutHandlers(plugin) => write!(
                f,
                "plugin `{}` {} registered no handler\n\
                 help: annotate a function in it with `#[on_event(\"...\")]`, and check that its file is declared \
                 with `mod` and not disabled by a `#[cfg]`; or remove the plugin from `.plugins([...])`",
                plugin.package(),
                plugin.version(),
            ),
            Self::UnlistedPlugin { plugin, handlers } => {
                let (package, version) = (plugin.package(), plugin.version());
                write!(
                    f,
                    "crate `{package}` {version} has handlers but is not listed in `.plugins([...])`"
                )?;
                write_locations(f, handlers)?;
                write!(
                    f,
                    "\nhelp: add `{}::PLUGIN` to `.plugins([...])`; `router_core::plugin!();` in the crate's lib.rs \
                     defines it (in the application's own crate it is `PLUGIN`)",
                    package.replace('-', "_"),
                )
            }
            Self::MissingHandler { event_type, nearest: Some(nearest) } => write!(
                f,
                "`{event_type}` is required, but it is not a known Stripe event type, and no handler is registered for \
                 exactly this name\n\
                 help: did you mean `{nearest}`? If the event type is newer than this version of router_core, \
                 register a handler with `#[on_event(\"{event_type}\", unlisted)]`"
            ),
            Self::MissingHandler { event_type, nearest: None } => write!(
                f,
                "`{event_type}` is required, but no handler is registered for it (a handler for `*` does not count)\n\
                 help: annotate a function with `#[on_event(\"{event_type}\")]`, or link the crate that has the \
                 handler: `.plugins([my_plugin::PLUGIN])`"
            ),
            Self::UnknownEndpoint { endpoint, handlers, known } => {
                write!(f, "no endpoint is named `{endpoint}`, so these handlers would never be called")?;
                write_locations(f, handlers)?;
                match &known[..] {
                    [] => f.write_str("\nendpoints: none")?,
                    known => write!(f, "\nendpoints: `{}`", known.join("`, `"))?,
                }
                f.write_str("\nhelp: ")?;
                if endpoint.contains('+') {
                    // `platform+connect=whsec_…` in the list of secrets names two endpoints.
                    return f.write_str(
                        "an event belongs to one endpoint: name one of the two, or leave `endpoint` out to handle the \
                         events of both",
                    );
                }
                write!(
                    f,
                    "give the endpoint's signing secret this name: `{endpoint}=whsec_…` in the list of secrets; or \
                     correct `endpoint = \"{endpoint}\"`"
                )
            }
            Self::OtherMode { livemode, handlers } => {
                write!(
                    f,
                    "the router has `.livemode({livemode})`, so these handlers with `livemode = {}` would never be \
                     called",
                    !livemode
                )?;
                write_locations(f, handlers)?;
                write!(
                    f,
                    "\nhelp: remove `.livemode({livemode})` or `livemode = {}`, or leave the handlers out: \
                     `.without::<the_handler>()`",
                    !livemode
                )
            }
            Self::MissingState { type_name, handlers, added } => {
                write!(f, "these handlers need a state of type `{type_name}`, which was not added")?;
                write_locations(f, handlers)?;
                if !added.is_empty() {
                    write!(f, "\nstates added: `{}`", added.join("`, `"))?;
                }
                write!(f, "\nhelp: {}", state_advice(type_name, added))
            }
            Self::NotProvided { type_names, handlers, delivered, provided, hint } => {
                let types = type_names.join("` or a `");
                write!(f, "these handlers take a `{types}`, which this router does not provide")?;
                write_locations(f, handlers)?;
                if let Some(hint) = hint {
                    return write!(f, "\nhelp: {hint}");
                }
                match (delivered, &provided[..]) {
                    (false, _) => f.write_str(
                        "\nhelp: a service such as an inbox provides it with each delivery: call \
                         `.delivered_by(&store)` before `.build()`; in a test, replace `TestRouter` by \
                         `router_inbox::testing::TestInbox` (feature `testing`)",
                    ),
                    (true, []) => f.write_str(
                        "\nhelp: the service passed to `.delivered_by(...)` provides nothing: pass one that provides \
                         it, or take another type",
                    ),
                    (true, provided) => write!(
                        f,
                        "\nprovided: `{}`\nhelp: take one of the provided types, or pass another service to \
                         `.delivered_by(...)`",
                        provided.join("`, `")
                    ),
                }
            }
            Self::NotProvidedToReply { type_names, handlers } => {
                let types = type_names.join("` or a `");
                write!(
                    f,
                    "these handlers reply to Stripe, so they run before the event is stored, but take a `{types}`, \
                     which only a delivery of the stored event provides"
                )?;
                write_locations(f, handlers)?;
                f.write_str(
                    "\nhelp: let them take only what the reply needs, such as a pool in a `State`, and do the rest in \
                     another handler of the same event, which is stored and delivered",
                )
            }
            Self::DuplicateArgument { type_name, handler } => {
                write!(f, "this handler takes a `{type_name}` twice, but each call is provided with only one")?;
                write_locations(f, std::slice::from_ref(handler))?;
                f.write_str("\nhelp: take it once; the second use may be inside a custom extractor")
            }
            Self::ArgumentNotCarried { type_name, mistake, handler } => {
                let argument = short_type_name(type_name);
                write!(f, "this handler cannot take a `{argument}`: {mistake}")?;
                write_locations(f, std::slice::from_ref(handler))
            }
            Self::UnhandledNotDeliverable(locations) => {
                f.write_str(
                    "these `#[on_unhandled]` handlers would never be called: with `.delivered_by(...)` unhandled \
                     events are stored, but not delivered",
                )?;
                write_locations(f, locations)?;
                f.write_str(
                    "\nhelp: use `#[on_event(\"*\")]`, or leave them out here: `.without::<the_handler>()`",
                )
            }
            Self::InlineOnlySetting { setting } => write!(
                f,
                "`{setting}` cannot be combined with `.delivered_by(...)`: the delivery service stores completions and \
                 dead letters itself\nhelp: remove `{setting}`"
            ),
            Self::InvalidRetryPolicy { mistake, location } => write!(
                f,
                "the retry policy is invalid: {mistake}\n  {}:{}",
                location.file(),
                location.line()
            ),
            Self::DuplicateState { type_name, locations } => {
                write!(
                    f,
                    "more than one state of type `{type_name}` was added, but a router can have only one of each \
                     type"
                )?;
                for location in locations {
                    write!(f, "\n  {}:{}", location.file(), location.line())?;
                }
                f.write_str("\nhelp: keep one, or wrap the other in a type of its own: `struct Archive(Db);`")
            }
            Self::MultipleUnhandled(locations) => {
                f.write_str("more than one function has `#[on_unhandled]`, but a router can have only one")?;
                write_locations(f, locations)?;
                f.write_str("\nhelp: keep one, or leave the others out: `.without::<the_other>()`")
            }
            Self::InvalidPattern { pattern, error, handler } => {
                write!(f, "{pattern:?} is neither an event type nor a wildcard: {error}")?;
                write_locations(f, std::slice::from_ref(handler))
            }
            Self::NoPatterns(handler) => {
                f.write_str("this handler is registered for no event type, so it would never be called")?;
                write_locations(f, std::slice::from_ref(handler))?;
                f.write_str("\nhelp: list its event types: `.handler(\"name\", [\"invoice.paid\"], handler)`")
            }
            Self::InvalidName { error, handler } => {
                write!(f, "a handler's name {error}; for example \"orders.fulfil\"")?;
                write_locations(f, std::slice::from_ref(handler))?;
                if let NameError::TooLong(_) = error {
                    f.write_str(
                        "\nhelp: pass a shorter name to `.handler(...)`; if the name is the path of the function, \
                         set one: `#[on_event(\"...\", name = \"orders.fulfil\")]`",
                    )?;
                }
                Ok(())
            }
            Self::MultipleReplies(locations) => {
                f.write_str("these handlers would reply to the same event, but Stripe accepts only one reply")?;
                write_locations(f, locations)?;
                f.write_str(
                    "\nhelp: let one return a `Reply` and the other `()`, or separate their events with \
                     `endpoint = \"...\"` or `livemode = ...`",
                )
            }
            Self::DuplicateRegistration(locations) => {
                f.write_str(
                    "this function is registered more than once, so it would run more than once per event",
                )?;
                write_locations(f, locations)?;
                f.write_str(
                    "\nhelp: two `mod` declarations include its file, perhaps one in lib.rs and one in main.rs; \
                     remove one",
                )
            }
            Self::DuplicateName(locations) => {
                f.write_str("these handlers share a stable name, so their deliveries cannot be told apart")?;
                write_locations(f, locations)?;
                f.write_str(
                    "\nhelp: give each handler its own name: `#[on_event(\"...\", name = \"orders.fulfil\")]`; \
                     a `formerly` name must be unique too",
                )
            }
        }
    }
}

fn write_locations(f: &mut fmt::Formatter<'_>, locations: &[HandlerLocation]) -> fmt::Result {
    locations.iter().try_for_each(|location| write!(f, "\n  {location}"))
}

impl fmt::Display for HandlerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, name, patterns } = self;
        write!(f, "{file}:{line}  `{name}`")?;
        if patterns.is_empty() { Ok(()) } else { write!(f, "  on {patterns}") }
    }
}
