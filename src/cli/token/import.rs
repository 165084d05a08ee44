//! `holdall token import`: a new token that contains a transcript.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::transcript::{self, Format, Transcript};
use crate::{
    cli::{
        console::Console,
        error::CliError,
        file::{is_standard_input, read_input},
        home::LOCAL_USER,
        owner::{parse_idp, principal, provider},
        render::count,
        secret::fill_random,
        settings::{DataFolderKey, token_config},
        stored_token::{codec, exact_cause},
        system::System,
    },
    config::OwnerSettings,
    proto::{
        chat::Item,
        deployment::Deployment,
        principal::{IDP_NONE, Principal},
        token::{self, Claims, Id, NONCE_BYTES},
    },
    service::Clock as _,
    shell::SystemClock,
};

/// The arguments of `token import`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Transcript file; `-` is standard input
    file: PathBuf,
    /// Format of the transcript; `auto` detects it from the first message
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// User of the new token [default: local, the user of local chats]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Identity provider of the user: `none`, `header`, `key` or `jwt:ISSUER` [default: that of the
    /// settings, or `none`]
    #[arg(long, value_name = "IDP", value_parser = parse_idp)]
    idp: Option<String>,
    /// Alias of the model that continues the conversation
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = NonEmptyStringValueParser::new())]
    model: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: OwnerSettings,
}

/// Prints the token.
///
/// # Errors
/// [`CliError`] if the transcript or a setting is not valid, or standard output fails.
pub(super) fn run(args: &Args, console: Console) -> Result<(), CliError> {
    let text = read_input(&args.file)?;
    let deployment = token_config(&args.settings.clone().into(), DataFolderKey::Create, &System)?.deployment;
    let Transcript { items, system_messages } =
        transcript::read(&text, args.format, &deployment.images).map_err(|fault| args.unreadable(&fault))?;
    let principal = args.principal()?;
    let claims = first_claims(principal, args.model.clone(), &items, &deployment)?;
    let token = issue(&claims, &items, &deployment)?;
    if system_messages > 0 {
        console.warn(&format!(
            "left out {}: a token contains no system prompt; pass it to the server with --system-prompt",
            count(system_messages as u64, "system message")
        ));
    }
    if args.json {
        let expires_at = claims.effective_expiry(&deployment.policy).to_string();
        let user = claims.principal.subject();
        let value = json!({ "token": token, "user": user, "turn": claims.turn, "expires_at": expires_at });
        return console.print(&format!("{value}\n"));
    }
    console.print(&format!("{token}\n"))
}

impl Args {
    /// The user of the new token. Local chats have the identity provider `none`, whatever the
    /// settings of the servers say.
    fn principal(&self) -> Result<Principal, CliError> {
        let idp = match (&self.user, self.idp.as_deref()) {
            (_, Some(IDP_NONE)) | (None, None) => None,
            (_, idp) => provider(idp, &self.settings)?,
        };
        principal(self.user.as_deref().unwrap_or(LOCAL_USER), idp.as_deref().unwrap_or(IDP_NONE))
    }

    fn unreadable(&self, fault: &str) -> CliError {
        match is_standard_input(&self.file) {
            true => CliError::new(format!("cannot import standard input: {fault}")),
            false => CliError::new(format!("cannot import `{}`: {fault}", self.file.display())),
        }
    }
}

/// The claims of a new conversation that has these items.
fn first_claims(
    principal: Principal,
    model: String,
    items: &[Item],
    deployment: &Deployment,
) -> Result<Claims, CliError> {
    let now = SystemClock::new().now();
    let mut random = [[0; 16]; 2];
    random.iter_mut().try_for_each(|bytes| fill_random(bytes))?;
    let ids = random.map(|bytes| Id::new(now, bytes));
    let first = Claims::first(principal, model, ids, now, &deployment.policy);
    Ok(Claims { turn: transcript::turns(items), ..first })
}

fn issue(claims: &Claims, items: &[Item], deployment: &Deployment) -> Result<String, CliError> {
    let mut nonce = [0; NONCE_BYTES];
    fill_random(&mut nonce)?;
    let mut lines = String::new();
    items.iter().for_each(|item| item.write_line(&mut lines));
    let issued = token::issue(claims, None, &lines, deployment.token_context(), &nonce, &mut codec()?);
    issued
        .map(|issued| issued.token)
        .map_err(|error| CliError::new(format!("cannot create the token: {}", exact_cause(&error))))
}
