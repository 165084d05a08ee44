//! `holdall openapi`: the description of the HTTP API that the server serves at `/openapi.json`.

use super::{console::Console, error::CliError};
use crate::service::openapi::DOCUMENT;

/// Prints the document, which is JSON.
///
/// # Errors
/// [`CliError`] if standard output fails.
pub(super) fn run() -> Result<(), CliError> {
    Console::system().print(DOCUMENT)
}
