//! The rows of settings as flags of the command line.

use std::ffi::OsStr;

use clap::{
    Arg, ArgAction, ArgMatches, Command, Error,
    builder::{PossibleValue, TypedValueParser},
};
use toml::Value;

use super::values::Values;
use crate::config::{
    setting::{DefaultValue, Kind, Setting},
    settings::Section,
};

/// Adds the flags of these sections to `command`.
pub(super) fn add(command: Command, sections: &[Section]) -> Command {
    sections.iter().fold(command, |command, section| {
        let flags = section.settings.iter().filter_map(flag);
        command.args(flags.map(|flag| flag.help_heading(section.heading)))
    })
}

/// The values of the flags of these sections, or of their variables.
pub(super) fn values(matches: &ArgMatches, sections: &[Section]) -> Values {
    let settings = sections.iter().flat_map(|section| section.settings);
    Values(settings.filter_map(|setting| Some((setting.flag?, value(matches, setting)?))).collect())
}

/// The flag of a setting, if it has one.
fn flag(setting: &Setting) -> Option<Arg> {
    let name = setting.flag?;
    let arg = Arg::new(name)
        .long(name.trim_start_matches('-'))
        .env(setting.variable?)
        .value_name(value_name(setting.kind))
        .value_parser(setting.kind)
        .help(help(setting))
        .hide(setting.hidden);
    Some(match setting.kind {
        Kind::List(_) => arg.action(ArgAction::Append),
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg,
    })
}

/// The value of a setting. The elements of repeated lists are joined.
fn value(matches: &ArgMatches, setting: &Setting) -> Option<Value> {
    let mut values = matches.get_many::<Value>(setting.flag?)?.cloned();
    match setting.kind {
        Kind::List(_) => {
            let lists = values.filter_map(|list| list.as_array().cloned());
            Some(lists.flatten().collect::<Vec<_>>().into())
        }
        _ => values.next_back(),
    }
}

fn value_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Boolean | Kind::Switch => "BOOL",
        Kind::List(name) | Kind::Number(name) | Kind::Text(name) => name,
    }
}

fn help(setting: &Setting) -> String {
    match setting.default {
        Some(DefaultValue::Text(default) | DefaultValue::Description(default)) => {
            format!("{} [default: {default}]", setting.help)
        }
        None => setting.help.to_owned(),
    }
}

impl TypedValueParser for Kind {
    type Value = Value;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, text: &OsStr) -> Result<Value, Error> {
        let kind = *self;
        (move |text: &str| kind.read(text)).parse_ref(command, arg, text)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        match self {
            Self::Boolean | Self::Switch => Some(Box::new(["true", "false"].map(PossibleValue::new).into_iter())),
            _ => None,
        }
    }
}
