//! The limits of checkpoints, which programs store to continue from there after a restart.

use crate::StoreError;

/// Maximum length of the name and of the value of a
/// [checkpoint](crate::operations::Operations::set_checkpoint), in bytes.
pub const MAX_CHECKPOINT: usize = 255;

/// The error of a checkpoint whose name or value is longer than [`MAX_CHECKPOINT`], or has a
/// control character.
#[derive(Debug, thiserror::Error)]
#[error("the {part} of a checkpoint {problem}")]
#[non_exhaustive]
pub struct InvalidCheckpoint {
    part: &'static str,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("has {0} bytes, and the limit is {MAX_CHECKPOINT}; shorten it")]
    TooLong(usize),
    #[error("has the control character U+{:04X} at byte {position}; remove it", u32::from(*char))]
    ControlCharacter { char: char, position: usize },
}

impl InvalidCheckpoint {
    /// Checks the name of a checkpoint to read.
    ///
    /// # Errors
    ///
    /// Fails with an [`InvalidCheckpoint`] in a [`StoreError`] of the kind
    /// [`Misuse`](crate::store::StoreErrorKind::Misuse) if the name is longer than
    /// [`MAX_CHECKPOINT`], or has a control character.
    pub fn check_name(name: &str) -> Result<(), StoreError> {
        Self::check_part("name", name)
    }

    /// Checks the name and the value of a checkpoint to set.
    ///
    /// # Errors
    ///
    /// Fails like [`check_name`](Self::check_name), also because of the value.
    pub fn check(name: &str, value: &str) -> Result<(), StoreError> {
        Self::check_name(name)?;
        Self::check_part("value", value)
    }

    fn check_part(part: &'static str, text: &str) -> Result<(), StoreError> {
        let problem = if text.len() > MAX_CHECKPOINT {
            Problem::TooLong(text.len())
        } else if let Some((position, char)) =
            text.char_indices().find(|(_, char)| char.is_control())
        {
            Problem::ControlCharacter { char, position }
        } else {
            return Ok(());
        };
        Err(StoreError::misuse(Self { part, problem }))
    }
}
