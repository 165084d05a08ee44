//! Environment variables that look like settings and are none.
//!
//! A misspelt variable has no effect, so a server without its limits would start as if nothing were
//! wrong. A name that differs from a known one in at most [`MISSPELT_EDITS`] characters is refused.
//! Any other name with the prefix of the settings causes a warning. A message shows names only,
//! because a value may be a secret.

use std::collections::BTreeSet;

use super::{error::ConfigError, settings};

/// The names that start with [`PREFIX`] and have no effect, in alphabetical order. `names` are the
/// variables that are set, and `used` those that the configuration names, such as by `api_key_env`.
///
/// # Errors
/// [`ConfigError::Settings`] for a misspelt name.
pub(super) fn unknown_variables(names: Vec<String>, used: &BTreeSet<String>) -> Result<Vec<String>, ConfigError> {
    let known = || settings::all().filter_map(|setting| setting.variable).chain(OTHER_VARIABLES.iter().copied());
    let is_known = |name: &str| used.contains(name) || known().any(|known| known == name) || is_of_kubernetes(name);
    let unknown: BTreeSet<String> = names.into_iter().filter(|name| !is_known(name)).collect();
    for name in &unknown {
        let nearest = known().map(|known| (edits(&name.to_ascii_uppercase(), known), known)).min();
        if let Some((0..=MISSPELT_EDITS, known)) = nearest {
            return Err(ConfigError::settings(
                format!("the variable `{name}` is not a setting"),
                format!("write `{known}`, or rename the variable if it is not for Holdall"),
            ));
        }
    }
    Ok(unknown.into_iter().filter(|name| name.starts_with(PREFIX)).collect())
}

/// The warning about unknown variables, if there are any.
pub(super) fn warning(unknown: &[String]) -> Option<String> {
    let names = unknown.join("`, `");
    (!unknown.is_empty()).then(|| format!("these variables are not settings and have no effect: `{names}`"))
}

/// True for the variables that Kubernetes sets in each container for a service whose name starts
/// with `holdall`.
fn is_of_kubernetes(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let rest = format!("_{rest}");
    let has_port_number = rest.split_once("_PORT_").is_some_and(|(_, rest)| {
        rest.split_once('_')
            .is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
    });
    rest.ends_with("_SERVICE_HOST") || rest.contains("_SERVICE_PORT") || rest.ends_with("_PORT") || has_port_number
}

/// The number of characters to insert, remove or replace to make `one` from `other` (Levenshtein).
fn edits(one: &str, other: &str) -> usize {
    let length = one.len().abs_diff(other.len());
    if length > MISSPELT_EDITS {
        return length;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, other_byte) in row.iter_mut().skip(1).zip(other.bytes()) {
            let replaced = diagonal.saturating_add(usize::from(byte != other_byte));
            diagonal = *cell;
            left = replaced.min(left.min(diagonal).saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// The prefix of every variable of a setting.
const PREFIX: &str = "HOLDALL_";
/// The most edits between a misspelt name and the name that was meant.
const MISSPELT_EDITS: usize = 2;
/// Variables that are no settings of a server: those of the commands `chat` and `send`, of the
/// example programs, of the build scripts, and of the test suites.
const OTHER_VARIABLES: &[&str] = &[
    "HOLDALL_AMD64",
    "HOLDALL_API_KEY",
    "HOLDALL_ARM64",
    "HOLDALL_BEARER",
    "HOLDALL_BIN",
    "HOLDALL_FUNCTION",
    "HOLDALL_GLIBC",
    "HOLDALL_MOBILE",
    "HOLDALL_OWN_NETWORK",
    "HOLDALL_TOOLS",
    "HOLDALL_URL",
    "HOLDALL_USER",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], used: &[&str]) -> Result<Vec<String>, String> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let used = used.iter().map(|name| (*name).to_owned()).collect();
        unknown_variables(names, &used).map_err(|error| format!("{error}; {}", error.hint().unwrap_or_default()))
    }

    #[test]
    fn a_misspelt_name_is_refused_with_the_known_one() {
        for (name, known) in [
            ("HOLDALL_RATEE", "HOLDALL_RATE"),
            ("HOLDALL_IDENTITTY", "HOLDALL_IDENTITY"),
            ("HOLDALL_IDENTIYT", "HOLDALL_IDENTITY"),
            ("HOLDALL_KEY", "HOLDALL_KEYS"),
            ("HOLDALL_SINGLEUSE", "HOLDALL_SINGLE_USE"),
            ("HOLDAL_RATE", "HOLDALL_RATE"),
            ("HODALL_REDIS_URI", "HOLDALL_REDIS_URL"),
            ("holdall_rate", "HOLDALL_RATE"),
            ("HOLDALL_BEARRER", "HOLDALL_BEARER"),
            ("HOLDALL_CONFIGTEXT", "HOLDALL_CONFIG_TEXT"),
        ] {
            let fault = format!(
                "the variable `{name}` is not a setting; write `{known}`, or rename the variable if it is not for \
                 Holdall"
            );
            assert_eq!(check(&["PATH", name], &[]), Err(fault));
        }
    }

    #[test]
    fn the_third_edit_is_another_name() {
        assert_eq!(edits("HOLDALL_RATE", "HOLDALL_RATE"), 0);
        assert_eq!(edits("HOLDALL_RAT", "HOLDALL_RATE"), 1);
        assert_eq!(edits("HOLDALL_TARE", "HOLDALL_RATE"), 2);
        assert_eq!(edits("HOLDALL_RATIOS", "HOLDALL_RATE"), 3);
        assert_eq!(edits("", "HOLDALL_RATE"), 12);
        assert_eq!(check(&["HOLDALL_RATIOS"], &[]), Ok(vec!["HOLDALL_RATIOS".to_owned()]));
    }

    #[test]
    fn unknown_names_are_listed_once_in_order() {
        let unknown = check(&["HOLDALL_ZEBRA", "HOLDALLX", "HOME", "HOLDALL_COLOURS", "HOLDALL_ZEBRA"], &[]).unwrap();
        assert_eq!(unknown, ["HOLDALL_COLOURS", "HOLDALL_ZEBRA"]);
        let text = "these variables are not settings and have no effect: `HOLDALL_COLOURS`, `HOLDALL_ZEBRA`";
        assert_eq!((warning(&unknown).as_deref(), warning(&[])), (Some(text), None));
    }

    #[test]
    fn names_with_an_effect_elsewhere_are_not_listed() {
        assert_eq!(
            check(&["HOLDALL_UPSTREAM_KEY2", "HOLDALL_ZEBRA"], &["HOLDALL_UPSTREAM_KEY2", "HOLDALL_ZEBRA"]),
            Ok(vec![])
        );
        assert_eq!(check(OTHER_VARIABLES, &[]), Ok(vec![]));
        for name in [
            "HOLDALL_SERVICE_HOST",
            "HOLDALL_SERVICE_PORT",
            "HOLDALL_SERVICE_PORT_HTTP",
            "HOLDALL_PORT",
            "HOLDALL_PORT_8787_TCP",
            "HOLDALL_PORT_8787_TCP_ADDR",
            "HOLDALL_REDIS_SERVICE_HOST",
            "HOLDALL_REDIS_PORT_6379_TCP_PROTO",
        ] {
            assert_eq!(check(&[name], &[]), Ok(vec![]), "{name}");
        }
        for name in ["HOLDALL_PORTS_OPEN", "HOLDALL_PORT_", "HOLDALL_PORT_A_TCP", "HOLDALL_EXPORT"] {
            assert_eq!(check(&[name], &[]), Ok(vec![name.to_owned()]), "{name}");
        }
    }

    #[test]
    fn every_setting_is_known() {
        for variable in settings::all().filter_map(|setting| setting.variable) {
            assert_eq!(check(&[variable], &[]), Ok(vec![]), "{variable}");
        }
    }
}
