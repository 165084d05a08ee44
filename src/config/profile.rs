//! The profile of an upstream: the row that its host or its settings choose, and the members that
//! its settings override.

use std::sync::{Mutex, PoisonError};

use super::{check::unknown, error::ConfigError, raw::RawUpstream};
use crate::proto::provider::{CallIds, PROFILES, Profile, Seed, ServiceState, TokenLimit};

/// How the profile of an upstream was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileChoice {
    /// What chose the row.
    pub by: ProfileSource,
    /// The keys of `[[upstream]]` that override members of the row.
    pub overrides: Vec<&'static str>,
}

/// What chose a row of the table of profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileSource {
    /// No row names the host.
    Default,
    /// The host.
    Host,
    /// The key `profile`.
    Setting,
}

impl ProfileSource {
    /// The name in the output of commands and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Host => "host",
            Self::Setting => "setting",
        }
    }
}

/// The profile of an upstream at this address.
pub(super) fn profile(raw: &RawUpstream, base_url: &str) -> Result<(Profile, ProfileChoice), ConfigError> {
    let (mut profile, by) = match &raw.profile {
        Some(name) => (Profile::by_name(name).ok_or_else(|| unknown_profile(name))?, ProfileSource::Setting),
        None => {
            let profile = Profile::of_base_url(base_url);
            let is_named = !profile.hosts.is_empty();
            (profile, if is_named { ProfileSource::Host } else { ProfileSource::Default })
        }
    };
    let overrides = overrides(raw);
    if let Some(key) = overrides.first().filter(|_| raw.kind != CHAT) {
        let fault = format!(
            "of `{}` sets `{key}`, which has no effect at the kind `{}`; remove it, or use the kind `{CHAT}`",
            raw.name, raw.kind
        );
        return Err(ConfigError::invalid("upstream", fault));
    }
    profile.stream_options = raw.stream_options.unwrap_or(profile.stream_options);
    profile.text_lists = raw.text_lists.unwrap_or(profile.text_lists);
    profile.empty_messages = raw.empty_messages.unwrap_or(profile.empty_messages);
    let limit = find("upstream.token_limit", raw.token_limit.as_deref(), TokenLimit::ALL, TokenLimit::as_str)?;
    profile.token_limit = limit.unwrap_or(profile.token_limit);
    let seed = find("upstream.seed", raw.seed.as_deref(), Seed::ALL, Seed::as_str)?;
    profile.seed = seed.unwrap_or(profile.seed);
    let call_ids = find("upstream.call_ids", raw.call_ids.as_deref(), CallIds::ALL, CallIds::as_str)?;
    profile.call_ids = call_ids.unwrap_or(profile.call_ids);
    let state = find("upstream.service_state", raw.service_state.as_deref(), ServiceState::ALL, ServiceState::as_str)?;
    profile.service_state = state.unwrap_or(profile.service_state);
    if let Some(names) = &raw.opaque_members {
        check_members(names)?;
        profile.call_members = with_names(profile.call_members, names);
        profile.message_members = with_names(profile.message_members, names);
    }
    Ok((profile, ProfileChoice { by, overrides }))
}

/// The keys that override members of the row.
fn overrides(raw: &RawUpstream) -> Vec<&'static str> {
    let keys = [
        ("token_limit", raw.token_limit.is_some()),
        ("stream_options", raw.stream_options.is_some()),
        ("seed", raw.seed.is_some()),
        ("text_lists", raw.text_lists.is_some()),
        ("empty_messages", raw.empty_messages.is_some()),
        ("call_ids", raw.call_ids.is_some()),
        ("service_state", raw.service_state.is_some()),
        ("opaque_members", raw.opaque_members.is_some()),
    ];
    keys.into_iter().filter_map(|(key, is_set)| is_set.then_some(key)).collect()
}

/// Checks the names of opaque members.
fn check_members(names: &[String]) -> Result<(), ConfigError> {
    let invalid = |fault: String| Err(ConfigError::invalid("upstream.opaque_members", fault));
    if names.is_empty() || names.len() > MAX_MEMBERS {
        return invalid(format!("has {} names; it must have 1 to {MAX_MEMBERS}", names.len()));
    }
    for name in names {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || name.len() > MAX_MEMBER_BYTES || !name.bytes().all(is_plain) {
            return invalid(format!(
                "has `{}`; a name must have 1 to {MAX_MEMBER_BYTES} characters of `A-Z a-z 0-9 _ - .`",
                name.escape_debug()
            ));
        }
        if FORMAT_MEMBERS.contains(&name.as_str()) {
            return invalid(format!(
                "has `{name}`, a member of the format itself; name only members that it does not define"
            ));
        }
    }
    Ok(())
}

/// `names` after `members`, without repetitions.
fn with_names(members: &[&'static str], names: &[String]) -> &'static [&'static str] {
    let mut all: Vec<&str> = members.to_vec();
    for name in names {
        if !all.contains(&name.as_str()) {
            all.push(name);
        }
    }
    kept_for_good(&all)
}

/// A list with these names that is never freed, because a profile is copied like a number. Each
/// list is made once, however often the configuration is read again.
fn kept_for_good(names: &[&str]) -> &'static [&'static str] {
    static LISTS: Mutex<Vec<&'static [&'static str]>> = Mutex::new(Vec::new());
    let mut lists = LISTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(list) = lists.iter().find(|list| **list == names) {
        return list;
    }
    let leaked = |name: &&str| -> &'static str { Box::leak((*name).into()) };
    let list: &'static [&'static str] = Box::leak(names.iter().map(leaked).collect());
    lists.push(list);
    list
}

fn unknown_profile(name: &str) -> ConfigError {
    let names_of = |profile: &Profile| [&[profile.name], profile.other_names].concat();
    let names: Vec<_> = PROFILES.iter().flat_map(names_of).collect();
    ConfigError::invalid("upstream.profile", unknown(name, &names))
}

/// The value with this name, if one is given.
fn find<T: Copy>(
    key: &'static str,
    given: Option<&str>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<Option<T>, ConfigError> {
    let Some(given) = given else { return Ok(None) };
    let found = all.iter().copied().find(|value| name(*value) == given);
    found.map(Some).ok_or_else(|| {
        let names: Vec<_> = all.iter().copied().map(name).collect();
        ConfigError::invalid(key, unknown(given, &names))
    })
}

/// The kind with the format of Chat Completions. Only its requests and replies depend on the
/// members that keys override.
const CHAT: &str = "openai";

/// The most names of opaque members.
const MAX_MEMBERS: usize = 16;
/// The longest name of an opaque member, in bytes.
const MAX_MEMBER_BYTES: usize = 64;

/// The members of messages and calls that the format or Holdall defines.
const FORMAT_MEMBERS: [&str; 18] = [
    "annotations",
    "arguments",
    "audio",
    "content",
    "conversation_token",
    "custom",
    "function",
    "function_call",
    "holdall",
    "holdall_service",
    "id",
    "index",
    "name",
    "refusal",
    "role",
    "tool_call_id",
    "tool_calls",
    "type",
];
