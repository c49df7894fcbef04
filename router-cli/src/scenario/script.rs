//! The sequences, read from `scenarios.txt`.

use std::time::Duration;

/// A sequence of events.
pub(super) struct Script {
    pub(super) name: &'static str,
    /// What happens in it.
    pub(super) about: &'static str,
    pub(super) steps: Vec<Step>,
}

/// One event of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) event_type: &'static str,
    /// How much later than the one before.
    pub(super) after: Duration,
    /// Which payment it is about, from 1.
    pub(super) round: u64,
    pub(super) set: Vec<(&'static str, &'static str)>,
    pub(super) previous: Vec<(&'static str, &'static str)>,
}

/// All of them.
pub(super) fn scripts() -> Vec<Script> {
    read(include_str!("scenarios.txt")).expect("the file is ours, and tested")
}

fn read(text: &'static str) -> Result<Vec<Script>, String> {
    let mut scripts: Vec<Script> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            let (name, about) =
                header.split_once("] ").ok_or_else(|| format!("not a name: {line}"))?;
            scripts.push(Script { name, about, steps: Vec::new() });
            continue;
        }
        let script = scripts.last_mut().ok_or_else(|| format!("before the first name: {line}"))?;
        match script.steps.last_mut() {
            Some(step) if line.starts_with(' ') => add(line, step)?,
            _ => script.steps.push(step(line)?),
        }
    }
    Ok(scripts)
}

fn step(line: &'static str) -> Result<Step, String> {
    let (event_type, rest) = line.split_once(' ').unwrap_or((line, ""));
    let after = Duration::from_secs(1);
    let mut step = Step { event_type, after, round: 1, ..Step::default() };
    add(rest, &mut step)?;
    Ok(step)
}

/// What is particular about a step, in words.
fn add(line: &'static str, step: &mut Step) -> Result<(), String> {
    for word in line.split_whitespace() {
        if let Some(after) = word.strip_prefix('+') {
            step.after =
                humantime::parse_duration(after).map_err(|error| format!("{error}: {line}"))?;
        } else if let Some(round) = word.strip_prefix('@') {
            step.round = round.parse().map_err(|error| format!("{error}: {line}"))?;
        } else {
            let (path, value) = word.split_once('=').ok_or_else(|| format!("no `=`: {line}"))?;
            match path.strip_prefix("was.") {
                Some(path) => step.previous.push((path, value)),
                None => step.set.push((path, value)),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_type_and_what_is_particular() {
        let line = "invoice.paid +2d @2 status=paid was.status=open metadata.a=b";
        let expected = Step {
            event_type: "invoice.paid",
            after: Duration::from_secs(2 * 24 * 60 * 60),
            round: 2,
            set: vec![("status", "paid"), ("metadata.a", "b")],
            previous: vec![("status", "open")],
        };
        assert_eq!(step(line).as_ref(), Ok(&expected));
        let lines = "[a] It is.\ninvoice.paid +2d @2 status=paid\n    was.status=open metadata.a=b";
        assert_eq!(read(lines).unwrap()[0].steps, [expected]);
        assert!(step("invoice.paid paid").is_err());
        assert!(step("invoice.paid +soon").is_err());
    }

    #[test]
    fn there_is_a_sequence_of_each_name() {
        let names: Vec<&str> = scripts().iter().map(|script| script.name).collect();
        assert_eq!(names, ["subscription-lifecycle", "checkout", "refund", "dispute"]);
    }
}
