//! The line protocol between the benchmark and its helper processes: one command in, one line of
//! JSON out. End of input ends the helper, so none outlives the benchmark.

use std::io::{self, Write};

use anyhow::Result;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::io::{Errno, ioctl_fionbio};
use serde::Serialize;

pub struct Commands {
    input: Vec<u8>,
}

pub enum Command {
    Line(String),
    End,
}

impl Commands {
    pub fn register(registry: &Registry, token: Token) -> Result<Self> {
        ioctl_fionbio(rustix::stdio::stdin(), true)?;
        registry.register(&mut SourceFd(&0), token, Interest::READABLE)?;
        Ok(Self { input: Vec::new() })
    }

    /// All commands that have come in.
    pub fn read(&mut self) -> Result<Vec<Command>> {
        let ended = self.fill()?;
        let mut commands = Vec::new();
        while let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            commands.push(Command::Line(String::from_utf8(line)?.trim().to_owned()));
        }
        if ended {
            commands.push(Command::End);
        }
        Ok(commands)
    }

    fn fill(&mut self) -> Result<bool> {
        let mut chunk = [0; 4096];
        loop {
            match rustix::io::read(rustix::stdio::stdin(), &mut chunk) {
                Ok(0) => return Ok(true),
                Ok(read) => self.input.extend_from_slice(&chunk[..read]),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

pub fn reply(value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()?;
    Ok(())
}
