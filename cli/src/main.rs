//! Holds the traffic of an app in nginx, from a script.

mod address;
mod app;
mod call;
mod drain;
mod fleet;
mod made;
mod options;
mod pass_on;
mod pause;
mod run;
mod say;
mod signals;
mod status;
mod time;
mod view;
mod watch;

use std::env;
use std::process::ExitCode;

use options::{Action, FleetAction, Wrong};
use say::{print, say};

fn main() -> ExitCode {
    let urls = env::var("INTERMISSION_URL").unwrap_or_default();
    let status = match options::read(env::args_os().collect(), &urls) {
        Ok(action) => act(action).unwrap_or_else(|problem| {
            say(&problem);
            status::TRY_LATER
        }),
        Err(Wrong::Help(text)) => {
            print(&text);
            0
        }
        Err(Wrong::Options(problem)) => {
            say(&problem);
            status::USAGE
        }
    };
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

/// The exit status, or why there is nothing to do.
fn act(action: Action) -> Result<i32, String> {
    match action {
        Action::Run(mut options) => match options.fleet.take() {
            Some(fleet) => fleet::run(*options, &fleet),
            None => run::run(*options),
        },
        Action::Agent(options) => fleet::agent(options),
        Action::Fleet { action: FleetAction::Status(options) } => fleet::status(options),
        Action::Fleet { action: FleetAction::Watch(options) } => fleet::watch(options),
        Action::Fleet { action: FleetAction::Resume(options) } => fleet::resume(options),
        Action::Status(options) => Ok(pass_on::status(options)),
        Action::Enable(mut options) => match options.drain.take() {
            Some(drain) => drain::enable(options, &drain),
            None => Ok(pass_on::enable(options.place, &options.form, options.lasts.as_ref())),
        },
        Action::Disable(options) => Ok(pass_on::disable(options)),
        Action::Maintenance(options) => Ok(pass_on::maintenance(options)),
        Action::Watch(options) => watch::watch(options),
        Action::Completion { shell } => {
            made::completion(shell);
            Ok(0)
        }
        Action::Manual => {
            print(&made::manual());
            Ok(0)
        }
    }
}
