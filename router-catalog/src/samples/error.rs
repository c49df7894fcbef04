//! Why a field of a sample cannot be set.

use std::fmt;

/// Why there is no such field in a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// It cannot be read as a path.
    Unreadable(String),
    /// The object has no such field.
    UnknownField {
        /// The field that was asked for.
        field: String,
        /// The object, or the place in it.
        place: String,
        /// The field that was most likely meant.
        nearest: Option<&'static str>,
        /// The fields that there are.
        known: Vec<&'static str>,
    },
    /// What stands there has no fields.
    NoFields {
        /// The place.
        place: String,
        /// What stands there.
        is: &'static str,
    },
    /// What stands there has no elements.
    NoArray {
        /// The place.
        place: String,
        /// What stands there.
        is: &'static str,
    },
    /// The array is too short.
    TooFar {
        /// The array.
        place: String,
        /// How many elements it has.
        length: usize,
    },
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path) => write!(
                f,
                "`{path}` is no path: write names with dots between them and numbers in brackets, as in \
                 `lines.data[0].quantity`"
            ),
            Self::UnknownField { field, place, nearest: Some(nearest), .. } => {
                write!(f, "`{place}` has no field `{field}`; did you mean `{nearest}`?")
            }
            Self::UnknownField { field, place, nearest: None, known } => {
                write!(f, "`{place}` has no field `{field}`; it has {}", some(known, field))
            }
            Self::NoFields { place, is } => write!(f, "`{place}` is {is} and has no fields"),
            Self::NoArray { place, is } => write!(f, "`{place}` is {is} and has no elements"),
            Self::TooFar { place, length } => write!(
                f,
                "`{place}` has {length} element{}: the next one is `{place}[{length}]`",
                if *length == 1 { "" } else { "s" }
            ),
        }
    }
}

impl std::error::Error for PathError {}

/// Some names: of many, those that begin most like this one.
fn some(names: &[&str], like: &str) -> String {
    const ENOUGH: usize = 12;
    let alike = |name: &&&str| name.bytes().zip(like.bytes()).take_while(|(a, b)| a == b).count();
    let mut nearest: Vec<_> = names.iter().collect();
    nearest.sort_by_key(|name| std::cmp::Reverse(alike(name)));
    let more = names.len().saturating_sub(ENOUGH);
    nearest.truncate(ENOUGH);
    nearest.sort();
    let listed = nearest.into_iter().copied().collect::<Vec<_>>().join(", ");
    if more == 0 { listed } else { format!("{listed}, and {more} more") }
}
