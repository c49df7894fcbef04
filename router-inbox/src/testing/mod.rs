#![doc = include_str!("../docs/testing.md")]

mod attempts;
mod inbox;
mod response;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use self::{attempts::AttemptReport, inbox::TestInbox, response::InboxResponse};

#[cfg(test)]
mod tests {
    /// The examples include the handler from a file of its own, so that the page has it once.
    #[test]
    fn page_shows_the_handler_of_its_examples() {
        let page = include_str!("../docs/testing.md");
        assert!(page.contains(include_str!("../docs/record.rs")));
    }
}
