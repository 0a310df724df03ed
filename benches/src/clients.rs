//! Many clients in one process: each opens a connection, sends one request when told to, and stays.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use crate::clock::now;
use crate::commands::{Command, Commands, reply};

const COMMANDS: Token = Token(usize::MAX - 1);

#[derive(Default)]
pub struct Options {
    pub targets: Vec<SocketAddr>,
    pub count: u32,
    /// The number of the first client's request; the others follow.
    pub first: u32,
    pub path: String,
    /// The size of the body; without one the request is a GET, else a POST.
    pub body: Option<usize>,
}

/// What has become of the requests.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Answers by status.
    pub statuses: BTreeMap<u16, u32>,
    /// Connections that ended without an answer.
    pub failed: u32,
    /// Sent, and neither answered nor failed.
    pub waiting: u32,
}

pub fn run(options: Options) -> Result<()> {
    let mut herd = Herd::connect(options)?;
    reply(&())?;
    let mut events = Events::with_capacity(1024);
    while !herd.ended {
        herd.turn(&mut events)?;
    }
    Ok(())
}

struct Herd {
    poll: Poll,
    commands: Commands,
    options: Options,
    clients: Vec<Client>,
    outcome: Outcome,
    /// Until when an `await` goes on.
    awaiting: Option<u64>,
    ended: bool,
}

struct Client {
    stream: Option<TcpStream>,
    /// What the socket did not take yet.
    output: Vec<u8>,
    input: Vec<u8>,
    waiting: bool,
}

impl Herd {
    fn connect(options: Options) -> Result<Self> {
        let poll = Poll::new()?;
        let commands = Commands::register(poll.registry(), COMMANDS)?;
        let mut clients = Vec::new();
        for (index, target) in (0..options.count as usize).zip(options.targets.iter().cycle()) {
            let stream = std::net::TcpStream::connect(target)
                .with_context(|| format!("client {index} cannot connect to {target}"))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), interest)?;
            clients.push(Client {
                stream: Some(stream),
                output: Vec::new(),
                input: Vec::new(),
                waiting: false,
            });
        }
        let outcome = Outcome { statuses: BTreeMap::new(), failed: 0, waiting: 0 };
        Ok(Self { poll, commands, options, clients, outcome, awaiting: None, ended: false })
    }

    fn turn(&mut self, events: &mut Events) -> Result<()> {
        let left = self.awaiting.map(|until| Duration::from_nanos(until.saturating_sub(now())));
        match self.poll.poll(events, left) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in events.iter() {
            match event.token() {
                COMMANDS => self.obey()?,
                Token(index) => self.serve(index),
            }
        }
        self.end_awaiting()
    }

    fn end_awaiting(&mut self) -> Result<()> {
        let over = |until: u64| self.outcome.waiting == 0 || until <= now();
        if self.awaiting.is_some_and(over) {
            self.awaiting = None;
            reply(&self.outcome)?;
        }
        Ok(())
    }

    fn obey(&mut self) -> Result<()> {
        for command in self.commands.read()? {
            let Command::Line(line) = command else {
                self.ended = true;
                break;
            };
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["send", from, to, micros] => {
                    self.send(from.parse()?..to.parse()?, Duration::from_micros(micros.parse()?));
                    reply(&())?;
                }
                ["leave", from, to, step] => {
                    self.leave((from.parse()?..to.parse()?).step_by(step.parse()?));
                    reply(&())?;
                }
                ["await", seconds] => {
                    self.awaiting = Some(now() + seconds.parse::<u64>()? * 1_000_000_000);
                }
                _ => bail!("the clients know no command \"{line}\""),
            }
        }
        Ok(())
    }

    fn send(&mut self, range: Range<usize>, gap: Duration) {
        for index in range {
            self.clients[index].output = self.options.request(index);
            self.clients[index].waiting = true;
            self.outcome.waiting += 1;
            self.flush(index);
            if !gap.is_zero() {
                thread::sleep(gap);
            }
        }
    }

    fn leave(&mut self, indices: impl Iterator<Item = usize>) {
        for index in indices {
            let client = &mut self.clients[index];
            client.stream = None;
            if std::mem::take(&mut client.waiting) {
                self.outcome.waiting -= 1;
            }
        }
    }

    fn serve(&mut self, index: usize) {
        self.flush(index);
        let client = &mut self.clients[index];
        let ended = client.fill();
        match client.status() {
            Some(status) if client.waiting => {
                client.waiting = false;
                self.outcome.waiting -= 1;
                *self.outcome.statuses.entry(status).or_default() += 1;
            }
            _ if ended => self.fail(index),
            _ => {}
        }
        if ended {
            self.clients[index].stream = None;
        }
    }

    fn flush(&mut self, index: usize) {
        if self.clients[index].flush().is_err() {
            self.fail(index);
        }
    }

    fn fail(&mut self, index: usize) {
        if std::mem::take(&mut self.clients[index].waiting) {
            self.outcome.waiting -= 1;
            self.outcome.failed += 1;
        }
    }
}

impl Client {
    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while !self.output.is_empty() {
            match stream.write(&self.output) {
                Ok(written) => drop(self.output.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads all there is; true at the end of the stream.
    fn fill(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return true,
                Ok(read) => self.input.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }

    /// The status of the answer, once its head is complete.
    fn status(&self) -> Option<u16> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let complete = head.parse(&self.input).is_ok_and(|parsed| parsed.is_complete());
        head.code.filter(|_| complete)
    }
}

impl Options {
    fn request(&self, index: usize) -> Vec<u8> {
        let path = format!("{}{}", self.path, self.first as usize + index);
        let Some(size) = self.body else {
            return format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n").into_bytes();
        };
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: app.test\r\nContent-Length: {size}\r\n\r\n");
        let mut request = head.into_bytes();
        request.resize(request.len() + size, b'x');
        request
    }
}
