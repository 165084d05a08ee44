//! Files and environment variables of this process, as the configuration reads them.

use std::ffi::OsStr;

use zeroize::Zeroizing;

use super::error::system_message;
use crate::config::Sources;

/// Files and variables of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl Sources for System {
    fn file(&self, path: &str) -> Result<Zeroizing<String>, String> {
        std::fs::read_to_string(path).map(Zeroizing::new).map_err(|error| system_message(&error))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
    fn variable(&self, name: &str) -> Option<Zeroizing<String>> {
        std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
    }
}

/// Returns true if a variable of this process is set to the empty text.
pub(crate) fn is_empty_variable(variable: &OsStr) -> bool {
    std::env::var_os(variable).is_some_and(|value| value.is_empty())
}
