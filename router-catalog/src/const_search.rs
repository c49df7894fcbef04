//! String comparison and table search for const contexts, where the standard library's are not
//! available yet.

use crate::table::EVENT_TYPES;

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

pub(crate) const fn equals(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && starts_with(a, b)
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
    if low < EVENT_TYPES.len() && equals(EVENT_TYPES[low].name.as_bytes(), name.as_bytes()) {
        Some(low)
    } else {
        None
    }
}
