//! One setting: its flag, variable and key, how its text is read, its default, its help, and the
//! effect of a reload.

use toml::Value;

use super::{checked::Config, fingerprint::Fingerprint};

/// A row of the table of [settings](super::settings).
///
/// The row is the only place that names the setting's flag and variable. These are made from it:
/// the flag and its help, the reading of the variable, the value that replaces the file's, the
/// comparison at a reload, and the tables in docs/configuration.md.
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only the command line shows help"))]
pub(super) struct Setting {
    /// The flag, with its dashes. Secrets have none, because other users of a machine can read
    /// command lines.
    pub(super) flag: Option<&'static str>,
    /// The environment variable.
    pub(super) variable: Option<&'static str>,
    /// The key of the file, and the effect of a reload on it.
    pub(super) key: Option<Key>,
    /// How the text of the flag or variable is read.
    pub(super) kind: Kind,
    /// The value if nothing is set.
    pub(super) default: Option<DefaultValue>,
    /// The description, in the help and in docs/configuration.md.
    pub(super) help: &'static str,
    /// True if neither the help nor docs/configuration.md shows the setting.
    pub(super) hidden: bool,
}

impl Setting {
    /// A setting with a flag. The variable has the same name: `--max-age` and `HOLDALL_MAX_AGE`.
    pub(super) const fn flag(flag: &'static str, variable: &'static str, kind: Kind) -> Self {
        Self { flag: Some(flag), kind, ..Self::variable(variable) }
    }

    /// A setting that is a variable, but not a flag.
    pub(super) const fn variable(variable: &'static str) -> Self {
        let kind = Kind::Text("TEXT");
        Self { flag: None, variable: Some(variable), key: None, kind, default: None, help: "", hidden: false }
    }

    /// A setting that only the file has. Its section of docs/configuration.md describes it.
    pub(super) const fn file_only(path: &'static str, reload: Reload) -> Self {
        Self { variable: None, ..Self::variable("") }.key(path, reload)
    }

    /// Sets the key of the file, with dots between the names of tables.
    pub(super) const fn key(self, path: &'static str, reload: Reload) -> Self {
        Self { key: Some(Key { path, reload }), ..self }
    }

    /// Sets the default, as the setting's text.
    pub(super) const fn default(self, text: &'static str) -> Self {
        Self { default: Some(DefaultValue::Text(text)), ..self }
    }

    /// Sets the default, if it is not a text that the setting accepts: `no limit`.
    pub(super) const fn default_description(self, description: &'static str) -> Self {
        Self { default: Some(DefaultValue::Description(description)), ..self }
    }

    /// Sets the description: a sentence without a period.
    pub(super) const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    /// Hides the setting from the help and from docs/configuration.md.
    pub(super) const fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }
}

/// A key of the file.
#[derive(Clone, Copy)]
pub(super) struct Key {
    /// The path, with dots between the names of tables.
    pub(super) path: &'static str,
    /// The effect of a reload that finds another value.
    pub(super) reload: Reload,
}

impl Key {
    /// Returns true if the key belongs to the lists `[[upstream]]` and `[[model]]`.
    pub(super) fn is_in_list(self) -> bool {
        matches!(self.path.split('.').next(), Some("model" | "upstream"))
    }
}

/// The effect of a reload that finds another value of a key.
///
/// The functions return the value that is in use.
#[derive(Clone, Copy)]
pub(super) enum Reload {
    /// New requests use the new value.
    Applied,
    /// New requests use the new value. With a store, the reload is rejected. The function returns
    /// `None` without a store.
    AppliedWithoutStore(fn(&Config) -> Option<Fingerprint>),
    /// The key belongs to `[[upstream]]`, whose own row detects the change. The reload is rejected.
    PartOfUpstream,
    /// The reload is rejected.
    Refused(fn(&Config) -> Fingerprint),
    /// The old value stays in use until the server restarts.
    Restart(fn(&Config) -> Fingerprint),
}

/// The default of a setting.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only the command line shows help"))]
pub(super) enum DefaultValue {
    /// A description, such as `no limit`.
    Description(&'static str),
    /// A text that the setting accepts, with the same effect as no text.
    Text(&'static str),
}

/// The kind of value that a flag or variable has. The text is the value's name in the help.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "only the command line shows help"))]
pub(super) enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Comma-separated texts. The flag may be repeated.
    List(&'static str),
    /// A whole number.
    Number(&'static str),
    /// `true` or `false`. The flag without a value means `true`.
    Switch,
    /// Any text.
    Text(&'static str),
}

impl Kind {
    /// Reads the text of a flag or variable. The value has the type that the key has in the file.
    ///
    /// # Errors
    /// The expected text.
    pub(super) fn read(self, text: &str) -> Result<Value, &'static str> {
        match self {
            Self::Boolean | Self::Switch => match text.to_ascii_lowercase().as_str() {
                "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true.into()),
                "n" | "no" | "f" | "false" | "off" | "0" => Ok(false.into()),
                _ => Err("expected `true` or `false`"),
            },
            Self::List(_) => Ok(text.split(',').map(str::to_owned).collect::<Vec<_>>().into()),
            Self::Number(_) => {
                let number = text.parse::<u32>().map_err(|_| "expected a whole number from 0 to 4294967295")?;
                Ok(number.into())
            }
            Self::Text(_) => Ok(text.into()),
        }
    }
}
