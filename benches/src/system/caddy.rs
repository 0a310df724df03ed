//! Caddy, which holds requests for want of a healthy upstream.

use std::fs;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;

use super::{Server, System, fill, foreign, free_address};
use crate::helper::Origin;
use crate::lab::Lab;

const TEMPLATE: &str = include_str!("../../conf/Caddyfile");

pub struct Caddy {
    server: Server,
    address: SocketAddr,
}

impl Caddy {
    pub fn start(lab: &Lab, workers: u32, origin: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let values = [("port", &*address.port().to_string()), ("origin", &origin.to_string())];
        fs::write(folder.path().join("Caddyfile"), fill(TEMPLATE, &values))?;
        let mut command = foreign(lab, workers, "usr/bin/caddy")?;
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(folder.path().join("Caddyfile"))
            .env("HOME", folder.path())
            .env("GOMAXPROCS", workers.to_string());
        let mut server = Server::spawn(folder, &mut command)?;
        server.wait_for(address, |_| true)?;
        Ok(Self { server, address })
    }
}

impl System for Caddy {
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
        origin.health(false)?;
        // A few of its health checks.
        sleep(Duration::from_millis(500));
        Ok(())
    }

    fn resume(&mut self, origin: &mut Origin) -> Result<()> {
        origin.health(true)
    }

    fn held(&mut self) -> Result<Option<u32>> {
        Ok(None)
    }
}
