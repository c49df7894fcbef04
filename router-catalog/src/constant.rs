//! Comparison and search that work in constants too, where the standard library's do not yet.

use crate::{Pattern, table::EVENT_TYPES};

pub(crate) const fn starts_with(text: &[u8], prefix: &[u8]) -> bool {
    if text.len() < prefix.len() {
        return false;
    }
    let mut at = 0;
    while at < prefix.len() {
        if text[at] != prefix[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn is_less(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() {
        if a[at] != b[at] {
            return a[at] < b[at];
        }
        at += 1;
    }
    a.len() < b.len()
}

/// The place of the event type of this name in the table.
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

/// Where in the table the event types begin and end that this pattern means; they stand side by
/// side, because the table is sorted.
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
