//! String comparison and table search for const contexts, where the standard library's are not
//! available yet.

use crate::{Pattern, table::EVENT_TYPES};

pub(crate) const fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    if text.len() < prefix.len() {
        return false;
    }
    let mut index = 0;
    while index < prefix.len() {
        if text[index] != prefix[index] {
            return false;
        }
        index += 1;
    }
    true
}

const fn is_less(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() {
        if a[index] != b[index] {
            return a[index] < b[index];
        }
        index += 1;
    }
    a.len() < b.len()
}

/// Returns the index of the event type with this name in the table.
pub(crate) const fn position(name: &str) -> Option<usize> {
    let (mut low, mut high) = (0, EVENT_TYPES.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if is_less(EVENT_TYPES[middle].name.as_bytes(), name.as_bytes()) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if low < EVENT_TYPES.len() && Pattern::Exact(name).matches(EVENT_TYPES[low].name) {
        Some(low)
    } else {
        None
    }
}

/// Returns the range of the table that the pattern matches. Matches are adjacent, because the table
/// is sorted.
pub(crate) const fn range(pattern: Pattern<'_>) -> (usize, usize) {
    let mut start = 0;
    while start < EVENT_TYPES.len() && !pattern.matches(EVENT_TYPES[start].name) {
        start += 1;
    }
    let mut end = start;
    while end < EVENT_TYPES.len() && pattern.matches(EVENT_TYPES[end].name) {
        end += 1;
    }
    (start, end)
}
