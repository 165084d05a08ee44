//! `holdall openapi`: the API's description, as the server has it at `/openapi.json`.

use super::{CliError, console::Console};
use crate::service::openapi::DOCUMENT;

/// Prints the document.
pub(super) fn run() -> Result<(), CliError> {
    Console::system().print(DOCUMENT)
}
