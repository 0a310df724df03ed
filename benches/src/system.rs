//! What is measured: something between clients and the origin that can hold requests, or cannot.

mod caddy;
mod haproxy;
pub mod nginx;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::helper::Origin;
use crate::lab::Lab;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// nginx that holds nothing.
    Plain,
    /// nginx with `limit_req` at a rate so low that it holds all but the first.
    LimitReq,
    Intermission,
    /// The same, where requests that find no origin are held without a call.
    HeldByItself,
    /// nginx with a script that polls, and lets go in order.
    LuaInOrder,
    /// nginx with a script that polls, and lets go as it comes.
    Lua,
    Caddy,
    HaProxy,
}

pub trait System {
    /// Where clients may connect, the usual place first.
    fn addresses(&self) -> Vec<SocketAddr>;
    /// Where another client can reach each of the workers.
    fn probed(&self) -> SocketAddr {
        self.addresses()[0]
    }
    /// The processes that take memory for requests, and those that spend time on them.
    fn processes(&self) -> Vec<u32>;
    fn workers(&self) -> Vec<u32>;
    fn pause(&mut self, origin: &mut Origin) -> Result<()>;
    fn resume(&mut self, origin: &mut Origin) -> Result<()>;
    /// How many it holds, if it can tell.
    fn held(&mut self) -> Result<Option<u32>>;
    /// A call of intermission's control.
    fn call(&mut self, call: &str) -> Result<String> {
        bail!("there is nothing to call for {call}")
    }
}

pub fn start(
    lab: &Lab,
    kind: Kind,
    workers: u32,
    connections: nginx::Connections,
    origin: SocketAddr,
) -> Result<Box<dyn System>> {
    Ok(match kind {
        Kind::Caddy => Box::new(caddy::Caddy::start(lab, workers, origin)?),
        Kind::HaProxy => Box::new(haproxy::HaProxy::start(lab, workers, origin)?),
        _ => {
            let setup = nginx::Setup { connections, ..nginx::Setup::new(kind, workers, origin) };
            Box::new(nginx::Nginx::start(lab, &setup)?)
        }
    })
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "nginx",
            Self::LimitReq => "limit_req",
            Self::Intermission | Self::HeldByItself => crate::figure::OURS,
            Self::LuaInOrder => "Lua, in order",
            Self::Lua => "Lua",
            Self::Caddy => "Caddy",
            Self::HaProxy => "HAProxy",
        }
    }
}

/// A program that runs in a folder of its own and ends with the value.
pub struct Server {
    child: Child,
    folder: TempDir,
}

impl Server {
    pub fn spawn(folder: TempDir, command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("stderr.log"))?)
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
        Ok(Self { child, folder })
    }

    /// Waits until it is there for clients, and its helper processes, if it has any, with it.
    pub fn wait_for(&mut self, address: SocketAddr, ready: impl Fn(u32) -> bool) -> Result<()> {
        for _ in 0..1_500 {
            if let Some(status) = self.child.try_wait()? {
                bail!("it did not start: {status}: {}", self.said()?);
            }
            if ready(self.child.id()) && TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        bail!("it took too long to start: {}", self.said()?)
    }

    fn said(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("stderr.log"))?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(pid) = pid(self.child.id()) {
            // One that has ended by itself was noticed elsewhere.
            let _ = kill_process(pid, Signal::TERM);
        }
        // Some wait for what they hold.
        for _ in 0..100 {
            match self.child.try_wait() {
                Ok(None) => sleep(Duration::from_millis(20)),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(number: u32) -> Result<Pid> {
    Pid::from_raw(number.try_into()?).context("a process without a number")
}

pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

/// A program out of the packages that are unpacked for the benchmark alone, on its cores.
fn foreign(lab: &Lab, workers: u32, program: &str) -> Result<Command> {
    let tools = lab.tools.as_deref().context("the other tools have not been unpacked")?;
    let program = tools.join(program);
    let mut command = match lab.cores.of_workers(workers) {
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(cores).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.env("LD_LIBRARY_PATH", libraries(tools)?.join(":"));
    Ok(command)
}

/// The folders under `usr/lib` and `lib` that hold libraries: the one of the architecture.
fn libraries(tools: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for place in ["usr/lib", "lib"] {
        let Ok(folders) = fs::read_dir(tools.join(place)) else { continue };
        for folder in folders {
            let folder: PathBuf = folder?.path();
            if folder.to_string_lossy().ends_with("-linux-gnu") {
                found.push(folder.display().to_string());
            }
        }
    }
    Ok(found)
}
