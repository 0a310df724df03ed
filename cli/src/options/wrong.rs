//! What is wrong with the options, in one line.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::definitions;
use crate::say::printable;

#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing is: this is what was asked for.
    Help(String),
    /// With the words that explain it.
    Options(String),
}

impl Wrong {
    pub fn options(action: &str, problem: &str) -> Self {
        let action = if action.is_empty() { String::new() } else { format!(" {action}") };
        Self::Options(format!("{problem}. See intermission{action} --help."))
    }

    /// What clap has to say, in the words of this command.
    pub fn of_clap(action: &str, error: &clap::Error) -> Self {
        if !error.use_stderr() {
            return Self::Help(error.render().to_string());
        }
        let about = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.as_str(),
            Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
            _ => "",
        };
        let argument = about(ContextKind::InvalidArg);
        // As clap names it: `--for <TIME>`, or, if it does not know it, `--for=60s`.
        let option = argument.split([' ', '=']).next().unwrap_or_default();
        let value = about(ContextKind::InvalidValue);
        let problem = match error.kind() {
            ErrorKind::InvalidSubcommand => {
                let name = printable(about(ContextKind::InvalidSubcommand));
                return Self::options("", &format!("there is no help on {name}"));
            }
            ErrorKind::UnknownArgument if option.starts_with('-') => {
                format!("there is no option {}", printable(option))
            }
            ErrorKind::UnknownArgument => {
                format!("there is something behind the options: {}", printable(argument))
            }
            ErrorKind::MissingRequiredArgument if action == "run" => {
                "there is no command to run".to_owned()
            }
            ErrorKind::MissingRequiredArgument => format!("{argument} is missing"),
            ErrorKind::ValueValidation if value.is_empty() => format!("{option} is empty"),
            ErrorKind::ValueValidation => {
                let expected = error.source().map(ToString::to_string).unwrap_or_default();
                format!("{option} is {}: {expected}", printable(value))
            }
            ErrorKind::InvalidValue if value.is_empty() => format!("{option} needs a value"),
            ErrorKind::InvalidValue => {
                let valid = match error.get(ContextKind::ValidValue) {
                    Some(ContextValue::Strings(names)) => names.join(", "),
                    _ => String::new(),
                };
                format!("{option} is {}: expected one of: {valid}", printable(value))
            }
            ErrorKind::TooManyValues => format!("{option} takes no value"),
            kind => kind.as_str().unwrap_or("the options are wrong").to_owned(),
        };
        Self::options(action, &problem)
    }
}

/// Looks at the first word, which says what the others may be.
pub fn check_first(count: usize, name: &str) -> Result<(), Wrong> {
    if count < 2 {
        return Err(Wrong::options("", "there is nothing to do"));
    }
    let commands = definitions();
    let names = commands.get_subcommands().filter(|command| !command.is_hide_set());
    let names: Vec<_> = names.map(clap::Command::get_name).collect();
    let is_known = names.contains(&name)
        || ["help", "manual", "-h", "--help", "-V", "--version"].contains(&name);
    if is_known {
        return Ok(());
    }
    let problem = format!("the first argument is to be one of: {}", names.join(", "));
    Err(Wrong::options("", &problem))
}
