//! Errors of setting a field of a sample.

use std::fmt;

/// An error of setting a field of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// The text is not a well-formed path.
    InvalidPath(String),
    /// The object has no such field.
    UnknownField {
        /// The requested field.
        field: String,
        /// The name of the object, or the path in it, without the field.
        parent: String,
        /// The existing field that is most similar to the requested one.
        nearest: Option<&'static str>,
        /// All existing fields.
        known: Vec<&'static str>,
    },
    /// A value that is not an object has no fields.
    NotAnObject {
        /// The path of the value.
        path: String,
        /// The type of the value.
        found: &'static str,
    },
    /// A value that is not an array has no elements.
    NotAnArray {
        /// The path of the value.
        path: String,
        /// The type of the value.
        found: &'static str,
    },
    /// The index is greater than the array's length.
    IndexOutOfBounds {
        /// The path of the array.
        path: String,
        /// The length of the array.
        length: usize,
    },
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidPath(path) => write!(
                f,
                "`{path}` is not a valid path: write field names separated by dots and indexes in \
                 brackets, as in `lines.data[0].quantity`"
            ),
            Self::UnknownField { field, parent, nearest: Some(nearest), .. } => {
                write!(f, "`{parent}` has no field `{field}`; did you mean `{nearest}`?")
            }
            Self::UnknownField { field, parent, nearest: None, known } => {
                write!(
                    f,
                    "`{parent}` has no field `{field}`; its fields are {}",
                    list_similar(known, field)
                )
            }
            Self::NotAnObject { path, found } => write!(f, "`{path}` is {found} and has no fields"),
            Self::NotAnArray { path, found } => {
                write!(f, "`{path}` is {found} and has no elements")
            }
            Self::IndexOutOfBounds { path, length } => write!(
                f,
                "`{path}` has {length} element{}; use `{path}[{length}]` to append one",
                if *length == 1 { "" } else { "s" }
            ),
        }
    }
}

impl std::error::Error for PathError {}

/// The number of names that an error lists at most.
const MAX_LISTED: usize = 12;

/// Lists names, at most [`MAX_LISTED`]: those that share the longest prefix with `like`.
fn list_similar(names: &[&str], like: &str) -> String {
    let shared_prefix =
        |name: &&&str| name.bytes().zip(like.bytes()).take_while(|(a, b)| a == b).count();
    let mut nearest: Vec<_> = names.iter().collect();
    nearest.sort_by_key(|name| std::cmp::Reverse(shared_prefix(name)));
    let more = names.len().saturating_sub(MAX_LISTED);
    nearest.truncate(MAX_LISTED);
    nearest.sort();
    let listed = nearest.into_iter().copied().collect::<Vec<_>>().join(", ");
    if more == 0 { listed } else { format!("{listed}, and {more} more") }
}
