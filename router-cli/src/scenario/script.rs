//! The scenarios, parsed from `scenarios.txt`.

use std::time::Duration;

/// A scenario: a sequence of events.
pub(super) struct Script {
    pub(super) name: &'static str,
    /// A one-line summary, shown by `--help`.
    pub(super) description: &'static str,
    pub(super) steps: Vec<Step>,
}

/// One event of a scenario.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) event_type: &'static str,
    /// The time since the previous event.
    pub(super) delay: Duration,
    /// The payment that the event is about, counted from 1.
    pub(super) payment: u64,
    /// Fields of the object, as path and value.
    pub(super) set: Vec<(&'static str, &'static str)>,
    /// Previous values of fields, as path and value.
    pub(super) previous: Vec<(&'static str, &'static str)>,
}

/// Returns all scenarios.
pub(super) fn scripts() -> Vec<Script> {
    parse(include_str!("scenarios.txt")).expect("scenarios.txt is valid (tested)")
}

fn parse(text: &'static str) -> Result<Vec<Script>, String> {
    let mut scripts: Vec<Script> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[') {
            let (name, description) = header
                .split_once("] ")
                .ok_or_else(|| format!("expected `[name] description`: {line}"))?;
            scripts.push(Script { name, description, steps: Vec::new() });
            continue;
        }
        let script =
            scripts.last_mut().ok_or_else(|| format!("event before the first `[name]`: {line}"))?;
        match script.steps.last_mut() {
            Some(step) if line.starts_with(' ') => parse_settings(line, step)?,
            _ => script.steps.push(parse_step(line)?),
        }
    }
    Ok(scripts)
}

fn parse_step(line: &'static str) -> Result<Step, String> {
    let (event_type, rest) = line.split_once(' ').unwrap_or((line, ""));
    let delay = Duration::from_secs(1);
    let mut step = Step { event_type, delay, payment: 1, ..Step::default() };
    parse_settings(rest, &mut step)?;
    Ok(step)
}

/// Parses the settings behind an event type, or on an indented line, into a step.
fn parse_settings(line: &'static str, step: &mut Step) -> Result<(), String> {
    for word in line.split_whitespace() {
        if let Some(delay) = word.strip_prefix('+') {
            step.delay =
                humantime::parse_duration(delay).map_err(|error| format!("{error}: {line}"))?;
        } else if let Some(payment) = word.strip_prefix('@') {
            step.payment = payment.parse().map_err(|error| format!("{error}: {line}"))?;
        } else {
            let (path, value) =
                word.split_once('=').ok_or_else(|| format!("expected `path=value`: {line}"))?;
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
    fn step_is_type_and_settings() {
        let line = "invoice.paid +2d @2 status=paid was.status=open metadata.a=b";
        let expected = Step {
            event_type: "invoice.paid",
            delay: Duration::from_secs(2 * 24 * 60 * 60),
            payment: 2,
            set: vec![("status", "paid"), ("metadata.a", "b")],
            previous: vec![("status", "open")],
        };
        assert_eq!(parse_step(line).as_ref(), Ok(&expected));
        let lines = "[a] It is.\ninvoice.paid +2d @2 status=paid\n    was.status=open metadata.a=b";
        assert_eq!(parse(lines).unwrap()[0].steps, [expected]);
        assert!(parse_step("invoice.paid paid").is_err());
        assert!(parse_step("invoice.paid +soon").is_err());
    }

    #[test]
    fn scenarios_are_parsed() {
        let names: Vec<&str> = scripts().iter().map(|script| script.name).collect();
        assert_eq!(
            names,
            [
                "subscription-lifecycle",
                "checkout",
                "delayed-payment",
                "delayed-payment-failed",
                "refund",
                "dispute"
            ]
        );
    }
}
