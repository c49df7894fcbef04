//! Why a router cannot be built, in words that say what to do.

use std::{fmt, panic::Location};

use router_catalog::PatternError;

use super::Plugin;

/// Everything that is wrong with a router, found at once.
#[non_exhaustive]
pub struct BuildError {
    problems: Vec<Problem>,
}

/// One thing that is wrong with a router.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// There is no handler at all.
    NoHandlers {
        /// How many are linked and were left out.
        left_out: usize,
    },
    /// A listed plugin has registered no handler.
    PluginWithoutHandlers(Plugin),
    /// A crate has handlers and is not among the listed plugins.
    UnlistedPlugin {
        /// The crate.
        plugin: Plugin,
        /// Its handlers.
        handlers: Vec<HandlerLocation>,
    },
    /// No handler is there for a required event type.
    NothingHandles {
        /// The event type.
        event_type: String,
        /// The known event type that was perhaps meant, where this one is not known.
        nearest: Option<&'static str>,
    },
    /// Handlers need a state that was not given.
    MissingState {
        /// Its type.
        type_name: &'static str,
        /// The handlers.
        handlers: Vec<HandlerLocation>,
        /// The types of the states that were given, sorted.
        given: Vec<&'static str>,
    },
    /// Handlers take something that each call is to be given, and nobody gives it.
    NotProvided {
        /// Its type.
        type_name: &'static str,
        /// The handlers.
        handlers: Vec<HandlerLocation>,
        /// Whether the router is for a service that delivers.
        delivered: bool,
        /// The types of what that service gives, sorted.
        provided: Vec<&'static str>,
        /// What the service says is to be done instead.
        hint: Option<&'static str>,
    },
    /// A handler takes twice what each call is given once.
    DuplicateArgument {
        /// Its type.
        type_name: &'static str,
        /// The handler.
        handler: HandlerLocation,
    },
    /// Handlers reply to Stripe, in a router whose events are delivered after Stripe was answered.
    DeliveredReply(Vec<HandlerLocation>),
    /// A handler of what no other is for, in such a router.
    DeliveredUnhandled(Vec<HandlerLocation>),
    /// Such a router was given what is for one that gets its events from Stripe at once.
    InlineOnly {
        /// The builder's method.
        setting: &'static str,
    },
    /// Two states of one type were given.
    StateGivenTwice {
        /// Their type.
        type_name: &'static str,
        /// Where each was given.
        places: Vec<&'static Location<'static>>,
    },
    /// Several functions are for what nothing else handles.
    SeveralUnhandled(Vec<HandlerLocation>),
    /// Handlers of one event that each reply to Stripe.
    SeveralReplies(Vec<HandlerLocation>),
    /// What a handler is registered for is neither an event type nor a wildcard.
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        error: PatternError,
        /// The handler.
        handler: HandlerLocation,
    },
    /// A handler is registered for nothing.
    NoPatterns(HandlerLocation),
    /// One function has been registered more than once.
    RegisteredTwice(Vec<HandlerLocation>),
    /// Several handlers have one stable name.
    SharedName(Vec<HandlerLocation>),
}

/// A handler, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct HandlerLocation {
    /// The file, as the compiler names it.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
    /// The handler's stable name.
    pub name: String,
    /// What it is registered for, separated by commas.
    pub patterns: String,
}

impl BuildError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// Everything that is wrong.
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

/// As `Display`: this is what `fn main() -> Result<(), BuildError>` prints.
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
                "no handler is in the router: all that are linked, {left_out}, were left out\n\
                 help: `.without_linked()`, `.only` and `.without` leave handlers out; `.add::<fulfil>()` adds one"
            ),
            Self::NoHandlers { left_out: 0 } => f.write_str(
                "no handler is registered\n\
                 A crate that is only listed in Cargo.toml is not linked, so its handlers are not there.\n\
                 help: mention each crate that has handlers: `.plugins([my_plugin::PLUGIN])`, or `use my_plugin as _;`",
            ),
            Self::PluginWithoutHandlers(plugin) => write!(
                f,
                "plugin `{}` {} registered no handler\n\
                 help: write `#[on_event(\"...\")]` over a function in it, and check that its file is in a `mod` \
                 and under no `#[cfg]` that is off; or take it out of `.plugins([...])`",
                plugin.package(),
                plugin.version(),
            ),
            Self::UnlistedPlugin { plugin, handlers } => {
                let (package, version) = (plugin.package(), plugin.version());
                write!(f, "crate `{package}` {version} has handlers and is not in `.plugins([...])`")?;
                write_places(f, handlers)?;
                write!(
                    f,
                    "\nhelp: add `{}::PLUGIN` to `.plugins([...])` (`router_core::plugin!();` in its lib.rs makes it; \
                     in the application's own crate it is `PLUGIN`)",
                    package.replace('-', "_"),
                )
            }
            Self::NothingHandles { event_type, nearest: Some(nearest) } => write!(
                f,
                "`{event_type}` is required, no handler is registered for it by this name, and Stripe is not known to \
                 send it\nhelp: did you mean `{nearest}`? If it is newer than this program, write \
                 `#[on_event(\"{event_type}\", unlisted)]` over a function"
            ),
            Self::NothingHandles { event_type, nearest: None } => write!(
                f,
                "`{event_type}` is required, and no handler is registered for it (one for `*` does not count)\n\
                 help: write `#[on_event(\"{event_type}\")]` over a function, or mention the crate in which it \
                 stands: `.plugins([my_plugin::PLUGIN])`; one that is built with another version of router_core is not \
                 seen (`cargo tree --duplicates` shows it)"
            ),
            Self::MissingState { type_name, handlers, given } => {
                write!(f, "no state of type `{type_name}` was given")?;
                write_places(f, handlers)?;
                if !given.is_empty() {
                    write!(f, "\ngiven: `{}`", given.join("`, `"))?;
                }
                write!(f, "\nhelp: add `.state(...)` before `.build()`")?;
                match given.iter().find(|given| wraps(given, type_name)) {
                    Some(given) => write!(
                        f,
                        "; `{given}` is another type: give it with `.shared_state(...)`, or take a `State<{given}>`"
                    ),
                    None => Ok(()),
                }
            }
            Self::NotProvided { type_name, handlers, delivered, provided, hint } => {
                write!(f, "nobody gives the calls of these handlers a `{type_name}`")?;
                write_places(f, handlers)?;
                if let Some(hint) = hint {
                    return write!(f, "\nhelp: {hint}");
                }
                match (delivered, &provided[..]) {
                    (false, _) => f.write_str(
                        "\nhelp: it comes with each delivery of a service that keeps events, such as an inbox: \
                         `.delivered_by(&store)` before `.build()` names the one",
                    ),
                    (true, []) => f.write_str(
                        "\nhelp: the service of `.delivered_by(...)` gives nothing: name one that gives it, or take \
                         something else",
                    ),
                    (true, provided) => write!(
                        f,
                        "\ngiven: `{}`\nhelp: take that, or name another service in `.delivered_by(...)`",
                        provided.join("`, `")
                    ),
                }
            }
            Self::DuplicateArgument { type_name, handler } => {
                write!(f, "a call is given one `{type_name}`, and this handler takes it twice")?;
                write_places(f, std::slice::from_ref(handler))?;
                f.write_str("\nhelp: take it once; an extractor of your own may be what takes it the second time")
            }
            Self::DeliveredReply(places) => {
                f.write_str(
                    "these handlers reply to Stripe, which is answered before an event is delivered, so nobody would \
                     get the reply",
                )?;
                write_places(f, places)?;
                f.write_str(
                    "\nhelp: put them behind an endpoint of their own with a router without `.delivered_by(...)`, and \
                     leave them out here: `.without::<the_handler>()`",
                )
            }
            Self::DeliveredUnhandled(places) => {
                f.write_str(
                    "`#[on_unhandled]` is called while Stripe waits; where events are kept, those that no handler is \
                     for are kept as unhandled and delivered to nobody",
                )?;
                write_places(f, places)?;
                f.write_str("\nhelp: write `#[on_event(\"*\")]`, or leave it out here: `.without::<the_handler>()`")
            }
            Self::InlineOnly { setting } => write!(
                f,
                "`{setting}` is of no use beside `.delivered_by(...)`: whoever keeps the events remembers which handlers \
                 have finished, and keeps what failed for good\nhelp: take it away"
            ),
            Self::StateGivenTwice { type_name, places } => {
                write!(f, "two states of type `{type_name}` were given, and a handler could not tell which it gets")?;
                for place in places {
                    write!(f, "\n  {}:{}", place.file(), place.line())?;
                }
                f.write_str("\nhelp: keep one, or wrap one in a type of its own: `struct Archive(Db);`")
            }
            Self::SeveralUnhandled(places) => {
                f.write_str("several functions are under `#[on_unhandled]`, and only one can be")?;
                write_places(f, places)?;
                f.write_str("\nhelp: keep one, or leave one out: `.without::<the_other>()`")
            }
            Self::BadPattern { pattern, error, handler } => {
                write!(f, "{pattern:?} is no event type: {error}")?;
                write_places(f, std::slice::from_ref(handler))
            }
            Self::NoPatterns(handler) => {
                f.write_str("a handler is registered for no event type, so it would never be called")?;
                write_places(f, std::slice::from_ref(handler))?;
                f.write_str("\nhelp: name the event types: `.handler(\"name\", [\"invoice.paid\"], handler)`")
            }
            Self::SeveralReplies(places) => {
                f.write_str("Stripe takes one reply to an event, and these handlers would each give it one")?;
                write_places(f, places)?;
                f.write_str(
                    "\nhelp: let one return a `Reply`, and the other `()`; or part their events: `endpoint = \"...\"`, \
                     `livemode = ...`",
                )
            }
            Self::RegisteredTwice(places) => {
                f.write_str("one function is registered more than once and would run as often")?;
                write_places(f, places)?;
                f.write_str(
                    "\nhelp: its file is in two `mod`s, perhaps one in lib.rs and one in main.rs; keep one",
                )
            }
            Self::SharedName(places) => {
                f.write_str("several handlers have one stable name, so their deliveries cannot be told apart")?;
                write_places(f, places)?;
                f.write_str("\nhelp: give each its own: `#[on_event(\"...\", name = \"a.name.of.its.own\")]`")
            }
        }
    }
}

fn write_places(f: &mut fmt::Formatter<'_>, places: &[HandlerLocation]) -> fmt::Result {
    places.iter().try_for_each(|place| write!(f, "\n  {place}"))
}

impl fmt::Display for HandlerLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, name, patterns } = self;
        write!(f, "{file}:{line}  `{name}`")?;
        if patterns.is_empty() { Ok(()) } else { write!(f, "  on {patterns}") }
    }
}

/// Whether `outer` is an `Arc`, or another pointer, of `inner`.
fn wraps(outer: &str, inner: &str) -> bool {
    outer
        .strip_suffix('>')
        .and_then(|outer| outer.strip_suffix(inner))
        .is_some_and(|pointer| pointer.ends_with('<'))
}
