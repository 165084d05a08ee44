//! `holdall openapi`: the API's description, as the server has it at `/openapi.json`.

use super::{console::Console, error::CliError};
use crate::service::openapi::DOCUMENT;

/// Prints the document.
pub(super) fn run() -> Result<(), CliError> {
    Console::system().print(DOCUMENT)
}
