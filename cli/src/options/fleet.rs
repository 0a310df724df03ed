//! The options of a fleet.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::{HELP, Run, goes_with, values};
use crate::address::Address;

/// A node that is cut off is to be known as lost before its deadline, and the store may be without a leader for a while.
const SHORTEST_FOR: Duration = Duration::from_secs(15);

/// How etcd is reached.
#[derive(Args, Clone, Debug, Default)]
pub struct Etcd {
    /// with a fleet: the address of a member of etcd, http://HOST:2379; may be given several times, for the others.
    /// A password goes into ~/.netrc
    #[arg(id = "etcd", long, value_name = "URL", value_parser = values::etcd, allow_hyphen_values = true,
        value_hint = ValueHint::Url)]
    pub urls: Vec<Address>,
    /// the certificates to trust for etcd, instead of the system's
    #[arg(long = "etcd-ca", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub authority: Option<PathBuf>,
    /// the certificate to show to etcd, with --etcd-key
    #[arg(long = "etcd-cert", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub certificate: Option<PathBuf>,
    /// the key of that certificate
    #[arg(long = "etcd-key", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnLoss {
    #[default]
    GoOn,
    Stop,
}

#[derive(Args, Debug)]
pub struct OfRun {
    /// pause this app at all nodes of the fleet, instead of at the addresses of --url. Each has an agent
    #[arg(id = "fleet", long, value_name = "APP", allow_hyphen_values = true)]
    app: Option<String>,
    /// with --fleet: how many nodes there have to be. An nginx without an agent is not known
    #[arg(long, value_name = "N", value_parser = values::count, allow_hyphen_values = true)]
    nodes: Option<u32>,
    /// with --fleet: what to do when a node is lost while the command runs: go-on, which is to say so and leave it to
    /// the command, or stop, which ends the command (SIGTERM)
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    on_loss: Option<OnLoss>,
    #[command(flatten)]
    etcd: Etcd,
}

/// A fleet in which a command is run.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub app: String,
    pub nodes: Option<u32>,
    pub on_loss: OnLoss,
    pub pace: FleetPace,
    pub etcd: Etcd,
}

/// How all nodes together are to release what they hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct FleetPace {
    /// Requests a second.
    pub rate: Option<u32>,
    pub canary: Option<u32>,
}

#[derive(Args, Debug)]
pub struct Agent {
    #[command(flatten)]
    pub etcd: Etcd,
    /// what this nginx is called: a name that no other in the fleet has
    #[arg(long, value_name = "NAME", value_parser = values::node, allow_hyphen_values = true)]
    pub node: String,
    /// the control location of this nginx
    #[arg(long, value_name = "URL", value_parser = values::address, allow_hyphen_values = true,
        value_hint = ValueHint::Url)]
    pub url: Address,
}

#[derive(Debug, Subcommand)]
pub enum FleetAction {
    /// show the nodes
    #[command(
        display_name = "intermission fleet status",
        override_usage = "intermission fleet status --app NAME --etcd URL [OPTION]...",
        help_template = HELP,
        args_override_self = true
    )]
    Status(FleetShow),
    /// show the nodes, again and again
    #[command(
        display_name = "intermission fleet watch",
        override_usage = "intermission fleet watch --app NAME --etcd URL [OPTION]...",
        help_template = HELP,
        args_override_self = true
    )]
    Watch(FleetShow),
    /// resume an app at all nodes, whoever has paused it
    #[command(
        display_name = "intermission fleet resume",
        override_usage = "intermission fleet resume --app NAME --etcd URL [OPTION]...",
        help_template = HELP,
        args_override_self = true
    )]
    Resume(FleetResume),
}

#[derive(Args, Debug)]
pub struct FleetShow {
    /// the app
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub app: String,
    #[command(flatten)]
    pub etcd: Etcd,
    /// print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct FleetResume {
    /// the app
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub app: String,
    #[command(flatten)]
    pub etcd: Etcd,
    /// all nodes together release at most so many requests a second, each as many as it has of what is held:
    /// 500r/s
    #[arg(long, value_parser = values::rate, allow_hyphen_values = true)]
    pub rate: Option<String>,
    /// do not ask
    #[arg(long)]
    pub yes: bool,
}

impl FleetResume {
    pub fn per_second(&self) -> Option<u32> {
        self.rate.as_deref().and_then(values::per_second)
    }
}

impl Etcd {
    fn is_given(&self) -> bool {
        let files = [&self.authority, &self.certificate, &self.key];
        !self.urls.is_empty() || files.into_iter().any(Option::is_some)
    }

    fn check(&self) -> Result<(), String> {
        if self.urls.is_empty() {
            return Err("--etcd is missing".to_owned());
        }
        goes_with("etcd-cert", self.certificate.is_some(), "etcd-key", self.key.is_some())?;
        goes_with("etcd-key", self.key.is_some(), "etcd-cert", self.certificate.is_some())
    }
}

impl OfRun {
    pub fn is_given(&self) -> bool {
        let others = self.nodes.is_some() || self.on_loss.is_some();
        self.app.is_some() || others || self.etcd.is_given()
    }
}

impl Agent {
    pub fn check(&self) -> Result<(), String> {
        self.etcd.check()
    }
}

impl FleetAction {
    pub fn check(&self) -> Result<(), String> {
        let (app, etcd) = match self {
            Self::Status(show) | Self::Watch(show) => (&show.app, &show.etcd),
            Self::Resume(resume) => (&resume.app, &resume.etcd),
        };
        check_app("app", app)?;
        etcd.check()
    }
}

fn check_app(option: &str, app: &str) -> Result<(), String> {
    match app {
        "" => Err(format!("--{option} is empty")),
        "*" => Err(format!("--{option} is *: expected one app")),
        _ => Ok(()),
    }
}

impl Run {
    pub(super) fn check_fleet(&mut self) -> Result<(), String> {
        let given = &self.of_fleet;
        let Some(app) = given.app.clone() else {
            let options = [("nodes", given.nodes.is_some()), ("on-loss", given.on_loss.is_some())];
            let option =
                options.iter().find(|(_, is_given)| *is_given).map_or("etcd", |(name, _)| name);
            return goes_with(option, true, "fleet", false);
        };
        check_app("fleet", &app)?;
        given.etcd.check()?;
        let not_yet = [
            ("url", !self.place.urls.is_empty()),
            ("app", !self.place.app.is_empty()),
            ("burst", self.pace.burst.is_some()),
            ("concurrency", self.pace.concurrency.is_some()),
        ];
        if let Some((option, _)) = not_yet.iter().find(|(_, is_given)| *is_given) {
            return Err(format!("--{option} does not go with --fleet"));
        }
        if self.lasts.length < SHORTEST_FOR {
            let lasts = &self.lasts;
            return Err(format!("--for is {lasts}: expected at least 15s for a fleet"));
        }
        let (nodes, etcd) = (given.nodes, given.etcd.clone());
        let on_loss = given.on_loss.unwrap_or_default();
        let rate = self.pace.rate.as_deref().and_then(values::per_second);
        let pace = FleetPace { rate, canary: self.pace.canary };
        self.fleet = Some(Fleet { app, nodes, on_loss, pace, etcd });
        Ok(())
    }
}
