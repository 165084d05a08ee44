//! `token import`: a token made of a transcript.

use std::path::PathBuf;

use super::transcript::{self, Format, Transcript};
use crate::{
    cli::{
        console::Console,
        error::CliError,
        file::read_input,
        home::LOCAL_USER,
        secret::fill_random,
        settings::for_tokens,
        stored_token::{codec, exact},
        system::System,
    },
    config::{Config, TokenSettings},
    proto::{
        principal::{IDP_NONE, Principal},
        token::{self, Claims, Id, NONCE_BYTES},
    },
    service::Clock as _,
    shell::SystemClock,
};

/// The arguments of `token import`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// File that holds the transcript; `-` for standard input
    file: PathBuf,
    /// User whose conversation it is to be
    #[arg(long, value_name = "NAME", default_value = LOCAL_USER)]
    user: String,
    /// Who vouches for the user: none, header, key, or `jwt:` and the issuer
    #[arg(long, value_name = "SOURCE", default_value = IDP_NONE)]
    idp: String,
    /// Alias of the model that it goes on with
    #[arg(long, value_name = "ALIAS", default_value = "default")]
    model: String,
    /// Form of the transcript
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    #[command(flatten)]
    settings: TokenSettings,
}

/// Prints the token.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let Transcript { items, system_messages } = transcript::read(&read_input(&args.file)?, args.format)
        .map_err(|fault| CliError::new(format!("{}: {fault}", args.file.display())))?;
    let principal = Principal::new(args.user.as_str(), args.idp.as_str())
        .map_err(|fault| CliError::new(format!("--user, --idp: {fault}")))?;
    let Config { deployment, .. } = for_tokens(&args.settings, true, &System)?;
    let now = SystemClock::new().now();
    let mut chance = [[0; 16]; 2];
    chance.iter_mut().try_for_each(|bytes| fill_random(bytes))?;
    let ids = chance.map(|bytes| Id::new(now, bytes));
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce)?;
    let first = Claims::first(principal, args.model.clone(), ids, now, &deployment.policy);
    let claims = Claims { turn: transcript::turns(&items), ..first };
    let mut lines = String::new();
    items.iter().for_each(|item| item.write_line(&mut lines));
    let issued = token::issue(&claims, None, &lines, deployment.token_context(), &nonce, &mut codec()?)
        .map_err(|error| CliError::new(exact(&error)))?;
    if system_messages > 0 {
        console.warn(&format!(
            "{system_messages} system message{} left out; the system prompt is the server's (--system-prompt)",
            if system_messages == 1 { "" } else { "s" },
        ));
    }
    console.print(&format!("{}\n", issued.token))
}
