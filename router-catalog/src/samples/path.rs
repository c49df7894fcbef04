//! Paths to values in an object, such as `lines.data[0].quantity` or `metadata[order.id]`.

use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// A path from an object to a value in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

impl Path {
    /// Parses names separated by dots, and indexes or names in brackets. Returns `None` if the text
    /// is malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = if let Some(bracketed) = rest.strip_prefix('[') {
                let (inside, rest) = bracketed.split_once(']')?;
                steps.push(
                    inside.parse().map_or_else(|_| Step::Key(inside.to_owned()), Step::Index),
                );
                rest
            } else {
                let name = if steps.is_empty() { rest } else { rest.strip_prefix('.')? };
                let (name, rest) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
                steps.push(Step::Key(name.to_owned()));
                rest
            };
        }
        let is_valid = |step: &Step| !matches!(step, Step::Key(name) if name.is_empty());
        (!steps.is_empty() && steps.iter().all(is_valid)).then_some(Self(steps))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(name) if name.contains(['.', '[']) => write!(f, "[{name}]")?,
                Step::Key(name) if position == 0 => f.write_str(name)?,
                Step::Key(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_path_is_displayed_unchanged() {
        for text in ["status", "lines.data[0].quantity", "metadata[order.id]", "a[1][2].b"] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Path::parse("metadata[order]").unwrap().to_string(), "metadata.order");
    }

    #[test]
    fn malformed_paths_are_rejected() {
        for text in ["", ".", ".status", "lines.", "lines..data", "lines[0", "lines[0]data", "[]"] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
    }
}
