//! The options, and what is wrong with them.

mod fleet;
mod values;
mod wrong;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

pub use self::fleet::{Agent, Etcd, Fleet, FleetAction, FleetPace, FleetResume, FleetShow, OnLoss};
pub use self::wrong::Wrong;
use crate::address::Address;
use crate::time::Time;

const FOR_BY_DEFAULT: &str = "60s";
const DRAIN_BY_DEFAULT: &str = "10s";
/// As it is to be renewed in time.
const SHORTEST_FOR: Duration = Duration::from_secs(3);

const HELP: &str =
    "{name} - {about}\n\nusage:\n  {usage}\n\n{before-help}options:\n{options}{after-help}\n";

/// hold the traffic of an app in nginx, and let it go again
#[derive(Debug, Parser)]
#[command(
    name = "intermission",
    version,
    max_term_width = 84,
    override_usage = "intermission run --url URL [OPTION]... [--] COMMAND [ARGUMENT]...\n  \
        intermission status|enable|disable|maintenance|watch --url URL [OPTION]...\n  \
        intermission COMMAND --help",
    help_template = "{name} - {about}\n\nusage:\n  {usage}\n\n{before-help}commands:\n{subcommands}\
        {after-help}\n",
    before_help = include_str!("help/intermission.txt"),
    after_help = include_str!("help/after.txt")
)]
struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// run a command while the app is paused
    #[command(
        display_name = "intermission run",
        override_usage = "intermission run --url URL [OPTION]... [--] COMMAND [ARGUMENT]...",
        before_help = include_str!("help/run.txt"),
        after_help = include_str!("help/run-after.txt"),
        help_template = HELP,
        args_override_self = true
    )]
    Run(Box<Run>),
    /// show the state of the app
    #[command(
        display_name = "intermission status",
        override_usage = "intermission status --url URL [OPTION]...",
        before_help = include_str!("help/status.txt"),
        help_template = HELP,
        args_override_self = true
    )]
    Status(Show),
    /// pause the app
    #[command(
        display_name = "intermission enable",
        override_usage = "intermission enable --url URL [OPTION]...",
        before_help = include_str!("help/enable.txt"),
        help_template = HELP,
        args_override_self = true
    )]
    Enable(Enable),
    /// resume the app
    #[command(
        display_name = "intermission disable",
        override_usage = "intermission disable --url URL [OPTION]...",
        before_help = include_str!("help/disable.txt"),
        help_template = HELP,
        args_override_self = true
    )]
    Disable(Disable),
    /// have all requests answered 503
    #[command(
        display_name = "intermission maintenance",
        override_usage = "intermission maintenance --url URL [OPTION]...",
        before_help = include_str!("help/maintenance.txt"),
        help_template = HELP,
        args_override_self = true
    )]
    Maintenance(Maintenance),
    /// show the state of the app, again and again
    #[command(
        display_name = "intermission watch",
        override_usage = "intermission watch --url URL [OPTION]...",
        before_help = include_str!("help/watch.txt"),
        help_template = HELP,
        args_override_self = true
    )]
    Watch(Show),
    /// have this nginx paused and resumed with the others of its fleet
    #[command(
        display_name = "intermission agent",
        override_usage = "intermission agent --etcd URL --node NAME --url URL [OPTION]...",
        before_help = include_str!("help/agent.txt"),
        help_template = HELP,
        args_override_self = true
    )]
    Agent(Agent),
    /// show all nodes of a fleet, or resume an app at all of them
    #[command(
        display_name = "intermission fleet",
        override_usage = "intermission fleet status|watch --app NAME --etcd URL [OPTION]...\n  \
            intermission fleet resume --app NAME --etcd URL [OPTION]...",
        before_help = include_str!("help/fleet.txt"),
        help_template = "{name} - {about}\n\nusage:\n  {usage}\n\n{before-help}commands:\n{subcommands}\n"
    )]
    Fleet {
        #[command(subcommand)]
        action: FleetAction,
    },
    /// print what a shell needs to complete this command
    #[command(
        display_name = "intermission completion",
        override_usage = "intermission completion SHELL",
        before_help = include_str!("help/completion.txt"),
        help_template = HELP
    )]
    Completion {
        /// the shell that is to complete it
        shell: Shell,
    },
    /// print the manual page
    #[command(display_name = "intermission manual",
        override_usage = "intermission manual",
        before_help = include_str!("help/manual.txt"), help_template = HELP)]
    Manual,
}

#[derive(Args, Debug)]
pub struct Place {
    /// the control location; may be given several times
    #[arg(long = "url", value_name = "URL", value_parser = values::address, allow_hyphen_values = true,
        value_hint = ValueHint::Url)]
    pub urls: Vec<Address>,
    /// the app, if not the one of the control location; for `status`, `disable` and `watch` also * for all
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub app: OsString,
}

#[derive(Args, Debug)]
pub struct Form {
    /// print JSON, one line for each address
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Show {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub form: Form,
}

#[derive(Args, Debug, Default)]
pub struct Pace {
    /// release at most so many requests a second: 500r/s
    #[arg(long, value_parser = values::rate, allow_hyphen_values = true)]
    pub rate: Option<String>,
    /// with --rate: at most so many of them at once
    #[arg(long, value_name = "N", value_parser = values::count, allow_hyphen_values = true)]
    pub burst: Option<u32>,
    /// release only so many that at most N of them are in flight
    #[arg(long, value_name = "N", value_parser = values::count, allow_hyphen_values = true)]
    pub concurrency: Option<u32>,
    /// release N requests first, and the others only if those came back well. If not, the app is paused again,
    /// without a deadline, and the exit status is 75, or 69 if a command was run
    #[arg(long, value_name = "N", value_parser = values::count, allow_hyphen_values = true)]
    pub canary: Option<u32>,
}

#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    pub place: Place,
    /// the longest time to wait until nothing is in flight
    #[arg(long, value_name = "TIME", value_parser = values::time, allow_hyphen_values = true,
        default_value = DRAIN_BY_DEFAULT)]
    pub drain: Time,
    /// wait as well until no request was abandoned by its client for this time, as the backend may still work on
    /// what nobody waits for: 2s
    #[arg(long, value_name = "TIME", value_parser = values::time, allow_hyphen_values = true)]
    pub settle: Option<Time>,
    /// how long a pause lasts that is not renewed, at least 3s
    #[arg(long = "for", value_name = "TIME", value_parser = values::time, allow_hyphen_values = true,
        default_value = FOR_BY_DEFAULT)]
    pub lasts: Time,
    #[command(flatten)]
    pub pace: Pace,
    #[command(flatten)]
    pub of_fleet: fleet::OfRun,
    /// What the options above come to.
    #[arg(skip)]
    pub fleet: Option<Fleet>,
    /// the command to run, with its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true,
        value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub struct Enable {
    #[command(flatten)]
    pub place: Place,
    /// resume by itself after this time: 60s
    #[arg(long = "for", value_name = "TIME", value_parser = values::time, allow_hyphen_values = true)]
    pub lasts: Option<Time>,
    /// wait until nothing is in flight any more. If that takes longer, or is interrupted, what was paused is
    /// resumed, and the exit status is 75
    #[arg(long, value_name = "TIME", value_parser = values::time, allow_hyphen_values = true)]
    pub drain: Option<Time>,
    /// with --drain: wait as well until no request was abandoned by its client for this time
    #[arg(long, value_name = "TIME", value_parser = values::time, allow_hyphen_values = true)]
    pub settle: Option<Time>,
    /// with --drain: leave it paused even so
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub form: Form,
}

#[derive(Args, Debug)]
pub struct Disable {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub pace: Pace,
    #[command(flatten)]
    pub form: Form,
}

#[derive(Args, Debug)]
pub struct Maintenance {
    #[command(flatten)]
    pub place: Place,
    /// what Retry-After tells the clients: 120s
    #[arg(long, value_name = "TIME", value_parser = values::time, allow_hyphen_values = true)]
    pub retry_after: Option<Time>,
    #[command(flatten)]
    pub form: Form,
}

/// The definitions, for all that is made of them.
pub fn definitions() -> clap::Command {
    Options::command()
}

/// What is to be done, by the words behind the name of this program.
pub fn read(words: Vec<OsString>, urls_by_default: &str) -> Result<Action, Wrong> {
    let name = words.get(1).cloned().unwrap_or_default();
    let name = name.to_string_lossy();
    wrong::check_first(words.len(), &name)?;
    let matches = definitions().try_get_matches_from(words);
    let options = matches.and_then(|matches| Options::from_arg_matches(&matches));
    let mut action = options.map_err(|error| Wrong::of_clap(&name, &error))?.action;
    action.check(urls_by_default).map_err(|problem| Wrong::options(&name, &problem))?;
    Ok(action)
}

impl Action {
    fn check(&mut self, urls_by_default: &str) -> Result<(), String> {
        match self {
            Self::Run(run) if run.of_fleet.is_given() => run.check_fleet(),
            Self::Agent(agent) => agent.check(),
            Self::Fleet { action } => action.check(),
            Self::Run(run) => {
                run.place.check(urls_by_default)?;
                run.check()
            }
            Self::Enable(enable) => {
                enable.place.check(urls_by_default)?;
                goes_with("settle", enable.settle.is_some(), "drain", enable.drain.is_some())?;
                goes_with("keep", enable.keep, "drain", enable.drain.is_some())
            }
            Self::Disable(disable) => {
                disable.place.check(urls_by_default)?;
                disable.pace.check()
            }
            Self::Maintenance(maintenance) => maintenance.place.check(urls_by_default),
            Self::Status(show) | Self::Watch(show) => show.place.check(urls_by_default),
            Self::Completion { .. } | Self::Manual => Ok(()),
        }
    }
}

impl Place {
    fn check(&mut self, by_default: &str) -> Result<(), String> {
        if self.urls.is_empty() {
            for word in by_default.split_whitespace() {
                let address = word.parse().map_err(|expected| {
                    format!("INTERMISSION_URL is {}: {expected}", crate::say::printable(word))
                })?;
                self.urls.push(address);
            }
        }
        if self.urls.is_empty() {
            return Err("--url is missing".to_owned());
        }
        let twice = (1..self.urls.len()).find(|at| self.urls[..*at].contains(&self.urls[*at]));
        twice.map_or(Ok(()), |at| Err(format!("--url {} is given twice", self.urls[at])))
    }
}

impl Pace {
    fn check(&self) -> Result<(), String> {
        goes_with("burst", self.burst.is_some(), "rate", self.rate.is_some())
    }
}

impl Run {
    fn check(&self) -> Result<(), String> {
        self.pace.check()?;
        if self.place.app == "*" {
            return Err("--app is *: expected one app".to_owned());
        }
        if self.lasts.length < SHORTEST_FOR {
            let lasts = &self.lasts;
            return Err(format!(
                "--for is {lasts}: expected at least 3s, as it is to be renewed in time"
            ));
        }
        Ok(())
    }
}

fn goes_with(
    option: &str,
    is_given: bool,
    other: &str,
    other_is_given: bool,
) -> Result<(), String> {
    if is_given && !other_is_given {
        return Err(format!("--{option} goes with --{other}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
