//! An etcd, and nginxes with an agent each.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http::Client;
use crate::lab::Lab;
use crate::system::{Server, fill, free_address};

const TEMPLATE: &str = include_str!("../conf/node.conf");
const STEP: Duration = Duration::from_millis(20);
/// A hundred nginxes start on two cores meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Fleet {
    // In this order, so that each ends before what it talks to.
    _agents: Vec<Server>,
    _nodes: Vec<Server>,
    _etcd: Server,
    command: PathBuf,
    etcd: SocketAddr,
    count: usize,
}

/// A pause of the whole fleet: a command runs, until it is told to end.
pub struct Pause {
    child: Child,
    input: ChildStdin,
}

impl Fleet {
    pub fn is_possible(lab: &Lab) -> bool {
        let has_etcd = Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_ok();
        has_etcd && lab.command.is_some() && lab.module.is_some()
    }

    pub fn start(lab: &Lab, count: usize) -> Result<Self> {
        let command = lab.command.clone().context("no command to measure")?;
        let (server, etcd) = start_etcd()?;
        let (mut nodes, mut agents) = (Vec::new(), Vec::new());
        for number in 0..count {
            let (node, socket) = start_node(lab)?;
            let url = format!("unix:{}:/intermission", socket.display());
            let mut agent = Command::new(&command);
            agent.args(["agent", "--etcd", &format!("http://{etcd}"), "--url", &url]);
            agent.args(["--node", &format!("node{number}")]);
            agents.push(Server::spawn(tempfile::tempdir()?, &mut agent)?);
            nodes.push(node);
        }
        let fleet = Self { _agents: agents, _nodes: nodes, _etcd: server, command, etcd, count };
        fleet.wait_for_agents()?;
        Ok(fleet)
    }

    fn call(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.command);
        command.args(words).args(["--etcd", &format!("http://{}", self.etcd)]);
        command
    }

    fn wait_for_agents(&self) -> Result<()> {
        let mut seen = 0;
        wait_until("all agents", || {
            let shown = self.call(&["fleet", "status", "--app", "app", "--json"]).output()?;
            let status: Value = serde_json::from_slice(&shown.stdout).unwrap_or_default();
            seen = status["nodes"].as_array().map_or(0, Vec::len);
            Ok(seen == self.count)
        })
    }

    /// Returns when the command runs, and so all nodes have said that they are paused and quiet.
    pub fn pause(&self) -> Result<Pause> {
        let mut run = self.call(&["run", "--fleet", "app"]);
        run.args(["--nodes", &self.count.to_string(), "sh", "-c", "echo begun; read end"]);
        let mut child =
            run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("a command without output")?;
        let input = child.stdin.take().context("a command without input")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line != "begun\n" {
            drop(input);
            let said = child.wait_with_output()?.stderr;
            bail!("the fleet was not paused: {}", String::from_utf8_lossy(&said));
        }
        Ok(Pause { child, input })
    }

    /// How many questions it was asked so far, by its own count.
    pub fn asked_of_etcd(&self) -> Result<f64> {
        let metrics = Client::connect(self.etcd)?.get("/metrics")?.body;
        let counts = metrics.lines().filter(|line| line.starts_with("grpc_server_started_total{"));
        Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

impl Pause {
    /// Returns when all nodes have said that they are open.
    pub fn end(mut self) -> Result<()> {
        self.input.write_all(b"end\n")?;
        let output = self.child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the fleet was not resumed: {said}");
        Ok(())
    }
}

fn start_etcd() -> Result<(Server, SocketAddr)> {
    let folder = tempfile::tempdir()?;
    let (address, peers) = (free_address()?, free_address()?);
    let (url, peer) = (format!("http://{address}"), format!("http://{peers}"));
    let mut etcd = Command::new("etcd");
    etcd.arg("--data-dir").arg(folder.path().join("data")).args(["--name", "one"]);
    etcd.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    etcd.args(["--initial-cluster", &format!("one={peer}")]);
    let mut server = Server::spawn(folder, &mut etcd)?;
    server.wait_for(address, |_| true)?;
    Ok((server, address))
}

fn start_node(lab: &Lab) -> Result<(Server, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let module = lab.module.as_deref().context("no module to measure")?;
    let path = |path: &Path| path.display().to_string();
    let file = folder.path().join("nginx.conf");
    let values = [("module", &*path(module)), ("folder", &*path(folder.path()))];
    fs::write(&file, fill(TEMPLATE, &values))?;
    let socket = folder.path().join("control.sock");
    let mut nginx = Command::new(&lab.nginx);
    nginx.arg("-e").arg(folder.path().join("error.log")).arg("-p").arg(folder.path());
    nginx.arg("-c").arg(file);
    let server = Server::spawn(folder, &mut nginx)?;
    wait_until("an nginx", || Ok(UnixStream::connect(&socket).is_ok()))?;
    Ok((server, socket))
}

fn wait_until(what: &str, mut is_there: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = std::time::Instant::now();
    while !is_there()? {
        ensure!(begun.elapsed() < PATIENCE, "it took too long to start: {what}");
        sleep(STEP);
    }
    Ok(())
}
