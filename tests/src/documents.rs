//! Compiles and runs the code blocks of the documents. `.ci/book` checks that no page is missing.

#[doc = include_str!("../../README.md")]
struct Readme;

#[doc = include_str!("../../router-core/README.md")]
struct CoreReadme;

#[doc = include_str!("../../router-inbox/README.md")]
struct InboxReadme;

#[doc = include_str!("../../docs/inbox-operations.md")]
struct Operations;

#[doc = include_str!("../../docs/guide/answers.md")]
struct Answers;

#[doc = include_str!("../../docs/guide/arguments.md")]
struct Arguments;

#[doc = include_str!("../../docs/guide/checks.md")]
struct Checks;

#[doc = include_str!("../../docs/guide/coming-from.md")]
struct ComingFrom;

#[doc = include_str!("../../docs/guide/endpoints.md")]
struct Endpoints;

#[doc = include_str!("../../docs/guide/exactly-once.md")]
struct ExactlyOnce;

#[doc = include_str!("../../docs/guide/first-handler.md")]
struct FirstHandler;

#[doc = include_str!("../../docs/guide/inbox.md")]
struct Inbox;

#[doc = include_str!("../../docs/guide/modes.md")]
struct Modes;

#[doc = include_str!("../../docs/guide/outcomes.md")]
struct Outcomes;

#[doc = include_str!("../../docs/guide/servers.md")]
struct Servers;

#[doc = include_str!("../../docs/guide/tables.md")]
struct Tables;

#[doc = include_str!("../../docs/guide/testing.md")]
struct Testing;

#[doc = include_str!("../../docs/guide/thin-events.md")]
struct ThinEvents;
