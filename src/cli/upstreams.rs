//! `holdall upstreams` prints the upstreams of the configuration, with the profile of each service.
//! The command reads only the configuration. It calls no service and reads no key, and needs no
//! `[[model]]`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{console::Console, error::CliError, settings::warn_of_variables, system::System};
use crate::config::{ServeSettings, UpstreamConfig};

/// The arguments of `upstreams`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Print a JSON array with an object for each upstream
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: ServeSettings,
}

/// Prints the upstreams.
///
/// # Errors
/// [`CliError`] if a setting is not valid, or if standard output fails.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    warn_of_variables(args.settings.variables_warning(&System)?);
    let upstreams = args.settings.described_upstreams(&System)?;
    let text = if args.json { to_json(&upstreams) } else { to_text(&upstreams) };
    Console::system().print(&text)
}

fn to_json(upstreams: &[UpstreamConfig]) -> String {
    let objects: Vec<_> = upstreams
        .iter()
        .map(|upstream| {
            let members: Map<_, _> =
                upstream.profile.members().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            json!({
                "name": upstream.name,
                "kind": upstream.provider.name(),
                "base_urls": upstream.base_urls,
                "profile": upstream.profile.name,
                "chosen_by": upstream.profile_choice.by.as_str(),
                "overrides": upstream.profile_choice.overrides,
                "members": members,
            })
        })
        .collect();
    format!("{}\n", Value::Array(objects))
}

fn to_text(upstreams: &[UpstreamConfig]) -> String {
    let mut text = String::new();
    for upstream in upstreams {
        let address = match upstream.is_builtin() {
            true => String::new(),
            false => format!(" at {}", upstream.base_urls.join(", ")),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} ({}{address})", upstream.name, upstream.provider.name());
        let _ = writeln!(text, "  {:28}{}", "profile", profile_words(upstream));
        for (name, value) in upstream.profile.members() {
            let set = if upstream.profile_choice.overrides.contains(&name) { " (set)" } else { "" };
            let _ = writeln!(text, "  {name:28}{}{set}", words(&value));
        }
        text.push('\n');
    }
    text
}

/// The profile of an upstream, and how it was chosen.
pub(super) fn profile_words(upstream: &UpstreamConfig) -> String {
    format!("{}, chosen by {}", upstream.profile.name, upstream.profile_choice.by.as_str())
}

/// A value for people.
fn words(value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(entries) if !entries.is_empty() => entries.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Array(_) | Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
