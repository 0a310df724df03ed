//! HAProxy, which queues requests that a server has no room for.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::{Server, System, fill, foreign, free_address};
use crate::helper::Origin;
use crate::lab::Lab;

const TEMPLATE: &str = include_str!("../../conf/haproxy.cfg");

pub struct HaProxy {
    server: Server,
    address: SocketAddr,
    socket: PathBuf,
    /// The request that takes the only place while the app is paused.
    plug: Option<TcpStream>,
}

impl HaProxy {
    pub fn start(lab: &Lab, workers: u32, origin: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let socket = folder.path().join("admin");
        let values = [
            ("port", &*address.port().to_string()),
            ("origin", &origin.to_string()),
            ("workers", &workers.to_string()),
            ("socket", &socket.display().to_string()),
        ];
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, fill(TEMPLATE, &values))?;
        let mut command = foreign(lab, workers, "usr/sbin/haproxy")?;
        command.arg("-db").arg("-f").arg(file);
        let mut server = Server::spawn(folder, &mut command)?;
        // The socket for its operator comes behind the ports.
        server.wait_for(address, |_| UnixStream::connect(&socket).is_ok())?;
        Ok(Self { server, address, socket, plug: None })
    }

    fn command(&self, line: &str) -> Result<String> {
        let socket = UnixStream::connect(&self.socket);
        let mut socket = socket.context("HAProxy's socket for commands")?;
        socket.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn room(&self, requests: u32) -> Result<()> {
        let answer = self.command(&format!("set maxconn server app/app {requests}"))?;
        ensure!(answer.trim().is_empty(), "HAProxy says: {}", answer.trim());
        Ok(())
    }
}

impl System for HaProxy {
    fn addresses(&self) -> Vec<SocketAddr> {
        vec![self.address]
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.server.child.id()]
    }

    fn workers(&self) -> Vec<u32> {
        self.processes()
    }

    fn pause(&mut self, origin: &mut Origin) -> Result<()> {
        self.room(1)?;
        let mut plug = TcpStream::connect(self.address)?;
        plug.write_all(b"GET /plug HTTP/1.1\r\nHost: app.test\r\n\r\n")?;
        self.plug = Some(plug);
        origin.wait_for_plug()
    }

    fn resume(&mut self, _origin: &mut Origin) -> Result<()> {
        self.room(10_000)?;
        self.plug = None;
        Ok(())
    }

    /// What waits for a server, the third column of its statistics.
    fn held(&mut self) -> Result<Option<u32>> {
        let table = self.command("show stat")?;
        let line = table.lines().find(|line| line.starts_with("app,BACKEND,"));
        let queued = line.and_then(|line| line.split(',').nth(2)).context("no queue to be seen")?;
        Ok(Some(queued.parse()?))
    }
}
