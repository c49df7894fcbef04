//! Checks the parameters of an inbox's URL before a database driver reads them.
//!
//! A driver may ignore an unknown parameter and log its value. If the parameter's name is
//! misspelled, the value can be a password. A parameter without a value can also be a password.

use percent_encoding::percent_decode_str;
use router_catalog::nearest_of;

/// The reason why the parameters of a URL are refused. Contains no values.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParameterError {
    #[error("the inbox's URL has an unknown parameter `{name}`; {advice}")]
    Unknown { name: String, advice: String },
    #[error("the inbox's URL has the parameter `{0}` more than once; keep one of them")]
    Repeated(String),
    #[error("the inbox's URL has a parameter without a name or without `=`; write `name=value`")]
    Malformed,
}

/// Checks the part of a URL after the `?`.
///
/// `known` are the names that the driver knows. A name that ends with `[` is a prefix.
///
/// # Errors
///
/// Fails if a name is unknown, is empty or has no value, or occurs twice.
pub(crate) fn check(query: &str, known: &[&str]) -> Result<(), ParameterError> {
    let mut names: Vec<String> = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, _) = parameter.split_once('=').ok_or(ParameterError::Malformed)?;
        let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
        if name.is_empty() {
            return Err(ParameterError::Malformed);
        }
        let is_known = |known: &&str| match known.strip_suffix('[') {
            Some(prefix) => name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('[')),
            None => name == **known,
        };
        if !known.iter().any(is_known) {
            let advice = advice(&name, known);
            return Err(ParameterError::Unknown { name: name.escape_debug().to_string(), advice });
        }
        if names.contains(&name) {
            return Err(ParameterError::Repeated(name));
        }
        names.push(name);
    }
    Ok(())
}

fn advice(name: &str, known: &[&str]) -> String {
    let plain = known.iter().copied().filter(|known| !known.ends_with('['));
    match nearest_of(&name.to_lowercase(), plain.clone()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("known are {}", plain.collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameter_is_refused_by_name_without_its_value() {
        let known = ["password", "sslmode", "options", "options["];
        for accepted in ["", "sslmode=require", "options[a]=1&options[b]=2", "options%5Ba%5D=1&&"] {
            assert_eq!(check(accepted, &known), Ok(()), "{accepted}");
        }
        let rows = [
            ("passwd=hunter2", "unknown parameter `passwd`; did you mean `password`?"),
            ("sslmode=require&PASSWORD=hunter2", "`PASSWORD`; did you mean `password`?"),
            ("p%61sswd=hunter2", "unknown parameter `passwd`"),
            ("token=hunter2", "`token`; known are password, sslmode, options"),
            ("%0A=hunter2", "unknown parameter `\\n`"),
            ("optionsa=hunter2", "unknown parameter `optionsa`; did you mean `options`?"),
            ("password=a&password=hunter2", "`password` more than once"),
            ("hunter2", "without a name or without `=`"),
            ("=hunter2", "without a name or without `=`"),
        ];
        for (query, expected) in rows {
            let error = check(query, &known).unwrap_err();
            assert!(error.to_string().contains(expected), "{query}: {error}");
            assert!(!format!("{error}{error:?}").contains("hunter2"), "{query}: {error:?}");
        }
    }
}
