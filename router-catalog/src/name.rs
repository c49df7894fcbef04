//! The rule for names of handlers and endpoints. `#[on_event]` at compile time and the router at
//! build time share this implementation.

use std::fmt;

/// The maximum length of a name in bytes. Stores index names, and an index entry of PostgreSQL has
/// at most 2,700 bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// The reason why a text is not a name of a handler or an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty, or has white space or a control character.
    NotOneWord,
    /// The text is longer than [`MAX_NAME_BYTES`]. Contains its length in bytes.
    TooLong(usize),
}

/// Checks a name of a handler or an endpoint, which is stored in databases and printed in tables.
///
/// # Errors
///
/// Fails if the name is not a single word, or is longer than [`MAX_NAME_BYTES`].
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(NameError::NotOneWord);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(name.len()));
    }
    Ok(())
}

/// Writes a predicate, as in `must be a single word without white space`.
impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOneWord => f.write_str("must be a single word without white space"),
            Self::TooLong(bytes) => {
                write!(f, "must have at most {MAX_NAME_BYTES} bytes, but has {bytes}")
            }
        }
    }
}

impl std::error::Error for NameError {}
