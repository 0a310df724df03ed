//! The benchmark's end of its helper processes: the origin and the clients.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;

use crate::clients::Outcome;
use crate::origin::{Arrival, Listening};

/// A process of this same program. Closing its input ends it.
struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Helper {
    fn start(cpus: Option<&str>, arguments: &[String]) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = match cpus {
            Some(cpus) => {
                let mut command = Command::new("taskset");
                command.args(["-c", cpus]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let mut child =
            command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("a helper without output")?);
        Ok(Self { input: child.stdin.take(), output, child })
    }

    fn ask<T: DeserializeOwned>(&mut self, command: &str) -> Result<T> {
        self.tell(command)?;
        self.hear()
    }

    fn tell(&mut self, command: &str) -> Result<()> {
        let input = self.input.as_mut().context("a helper without input")?;
        input.write_all(format!("{command}\n").as_bytes())?;
        Ok(())
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "a helper process has ended early");
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.input = None;
        // Only its exit is of interest, and that it leaves no zombie.
        let _ = self.child.wait();
    }
}

pub struct Origin {
    helper: Helper,
    pub address: SocketAddr,
}

impl Origin {
    pub fn start(cpus: Option<&str>) -> Result<Self> {
        Self::start_at(cpus, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub fn start_at(cpus: Option<&str>, address: SocketAddr) -> Result<Self> {
        let mut helper = Helper::start(cpus, &["origin".to_owned(), address.to_string()])?;
        let Listening { address } = helper.hear()?;
        Ok(Self { helper, address })
    }

    /// Ends when whoever has connected is answered. What has come since the last look.
    pub fn close(&mut self) -> Result<Vec<Arrival>> {
        self.helper.ask("close")
    }

    /// Ends at once.
    pub fn kill(&mut self) -> Result<()> {
        Ok(self.helper.child.kill()?)
    }

    pub fn delay(&mut self, millis: u64) -> Result<()> {
        self.helper.ask(&format!("delay {millis}"))
    }

    /// What its health check says.
    pub fn health(&mut self, good: bool) -> Result<()> {
        self.helper.ask(if good { "health good" } else { "health bad" })
    }

    /// Until a request that is never answered has come.
    pub fn wait_for_plug(&mut self) -> Result<()> {
        for _ in 0..500 {
            if self.helper.ask::<u32>("plugs")? > 0 {
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        bail!("the request that takes the place did not come")
    }

    /// The requests that have come since the last look, in their order.
    pub fn arrivals(&mut self) -> Result<Vec<Arrival>> {
        self.helper.ask("log")
    }
}

pub struct Clients {
    helper: Helper,
    count: u32,
}

pub struct Herd<'a> {
    pub targets: &'a [SocketAddr],
    pub first: u32,
    pub count: u32,
    pub path: &'a str,
    pub body: Option<usize>,
}

impl Clients {
    /// Returns when all are connected.
    pub fn connect(cpus: Option<&str>, herd: &Herd<'_>) -> Result<Self> {
        let mut arguments = vec!["clients".to_owned()];
        let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        for target in herd.targets {
            option("--target", target.to_string());
        }
        option("--first", herd.first.to_string());
        option("--count", herd.count.to_string());
        option("--path", herd.path.to_owned());
        if let Some(size) = herd.body {
            option("--body", size.to_string());
        }
        let mut helper = Helper::start(cpus, &arguments)?;
        let () = helper.hear()?;
        Ok(Self { helper, count: herd.count })
    }

    pub fn send_all(&mut self) -> Result<()> {
        self.helper.ask(&format!("send 0 {} 0", self.count))
    }

    /// One after the other, with a pause between them.
    pub fn send_spaced(&mut self, micros: u64) -> Result<()> {
        self.helper.ask(&format!("send 0 {} {micros}", self.count))
    }

    pub fn send_one(&mut self, index: u32) -> Result<()> {
        self.helper.ask(&format!("send {index} {} 0", index + 1))
    }

    /// Every `step`th client closes its connection.
    pub fn leave(&mut self, step: u32) -> Result<()> {
        self.helper.ask(&format!("leave 0 {} {step}", self.count))
    }

    /// Waits until every request has its answer, or the time is up.
    pub fn outcome(&mut self, seconds: u64) -> Result<Outcome> {
        self.helper.ask(&format!("await {seconds}"))
    }
}
