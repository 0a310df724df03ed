//! The application behind nginx: answers every request and remembers in which order they came.
//!
//! A request's number is the last segment of its path. Two orders are kept: that of the connections
//! (the order in which nginx opened them, which is the order in which the gate let go) and that of
//! the requests on them. Two paths are not a user's: `/up` answers whether the application is well, and
//! `/plug` is never answered, so that it takes a place.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::clock::now;
use crate::commands::{Command, Commands, reply};

const LISTENER: Token = Token(0);
const COMMANDS: Token = Token(1);
const FIRST_CONNECTION: usize = 2;

/// An origin that is to end has nothing to do any more when nothing has come for this long.
const LULL: Duration = Duration::from_millis(50);

const KEPT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
const ILL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
const CLOSED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// One request at the origin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Arrival {
    pub id: u32,
    /// The place of its connection in the order of accepting.
    pub connection: u64,
    /// When its head was complete, by the monotonic clock.
    pub at: u64,
    /// How many were being answered then, this one included.
    pub in_flight: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Listening {
    pub address: SocketAddr,
}

pub fn run(address: SocketAddr) -> Result<()> {
    let mut origin = Origin::bind(address)?;
    reply(&Listening { address: origin.address()? })?;
    // All that is ready at a time: what is left for the next may be put behind what comes then.
    let mut events = Events::with_capacity(65536);
    while !origin.ended {
        origin.turn(&mut events)?;
    }
    Ok(())
}

struct Origin {
    poll: Poll,
    /// None, once it is to end.
    listener: Option<TcpListener>,
    commands: Commands,
    connections: HashMap<Token, Connection>,
    next: usize,
    /// How long an answer takes.
    delay: Duration,
    /// Answers to be given, earliest first.
    due: VecDeque<(u64, Token)>,
    in_flight: u32,
    log: Vec<Arrival>,
    healthy: bool,
    plugs: u32,
    ended: bool,
}

struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    request: Option<Request>,
}

/// A request whose head has been read.
struct Request {
    body_left: usize,
    close: bool,
    /// Whether its answer has its place among those that are due.
    due: bool,
}

impl Origin {
    fn bind(address: SocketAddr) -> Result<Self> {
        let poll = Poll::new()?;
        let mut listener = listen(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let commands = Commands::register(poll.registry(), COMMANDS)?;
        Ok(Self {
            poll,
            listener: Some(listener),
            commands,
            connections: HashMap::new(),
            next: FIRST_CONNECTION,
            delay: Duration::ZERO,
            due: VecDeque::new(),
            in_flight: 0,
            log: Vec::new(),
            healthy: true,
            plugs: 0,
            ended: false,
        })
    }

    fn turn(&mut self, events: &mut Events) -> Result<()> {
        let wait = if self.listener.is_none() { Some(LULL) } else { self.until_due() };
        match self.poll.poll(events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in events.iter() {
            match event.token() {
                LISTENER => self.accept()?,
                COMMANDS => self.obey()?,
                token => self.serve(token)?,
            }
        }
        self.answer_due();
        if self.listener.is_none() && events.is_empty() && self.in_flight == 0 {
            self.ended = true;
            return reply(&self.log);
        }
        Ok(())
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.listener.as_ref().context("an origin that listens no more")?.local_addr()?)
    }

    /// Ends as a program does that is asked to: whoever has connected is answered, and nobody else.
    fn close(&mut self) -> Result<()> {
        self.accept()?;
        if let Some(mut listener) = self.listener.take() {
            self.poll.registry().deregister(&mut listener)?;
        }
        Ok(())
    }

    fn until_due(&self) -> Option<Duration> {
        let (at, _) = self.due.front()?;
        Some(Duration::from_nanos(at.saturating_sub(now())))
    }

    /// A new connection is not read here but when the poll names it: the poll's order is that in
    /// which the requests came, over all connections.
    fn accept(&mut self) -> Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("the origin cannot accept"),
            };
            let token = Token(self.next);
            self.next += 1;
            stream.set_nodelay(true)?;
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            let connection = Connection { stream, input: Vec::new(), request: None };
            self.connections.insert(token, connection);
        }
    }

    fn serve(&mut self, token: Token) -> Result<()> {
        let Some(connection) = self.connections.get_mut(&token) else { return Ok(()) };
        let ended = connection.fill();
        match if connection.request.is_none() { connection.read_head()? } else { None } {
            Some(Asked::User(id)) => self.note(id, token),
            Some(Asked::Health) => connection.answer(if self.healthy { KEPT } else { ILL }),
            Some(Asked::Plug) => self.plugs += 1,
            None => {}
        }
        self.plan_answer(token);
        if ended {
            self.forget(token);
        }
        Ok(())
    }

    fn note(&mut self, id: u32, token: Token) {
        self.in_flight += 1;
        let connection = (token.0 - FIRST_CONNECTION) as u64;
        self.log.push(Arrival { id, connection, at: now(), in_flight: self.in_flight });
    }

    fn plan_answer(&mut self, token: Token) {
        let becomes_due = |connection: &mut Connection| connection.becomes_due();
        if self.connections.get_mut(&token).is_some_and(becomes_due) {
            self.due.push_back((now() + self.delay.as_nanos() as u64, token));
        }
    }

    fn answer_due(&mut self) {
        let time = now();
        while let Some(&(_, token)) = self.due.front().filter(|(at, _)| *at <= time) {
            self.due.pop_front();
            let Some(connection) = self.connections.get_mut(&token) else { continue };
            let Some(request) = connection.request.take() else { continue };
            self.in_flight -= 1;
            connection.answer(if request.close { CLOSED } else { KEPT });
            if request.close {
                self.forget(token);
            }
        }
    }

    fn forget(&mut self, token: Token) {
        if self.connections.remove(&token).is_some_and(|connection| connection.request.is_some()) {
            self.in_flight -= 1;
        }
    }

    fn obey(&mut self) -> Result<()> {
        for command in self.commands.read()? {
            let Command::Line(line) = command else {
                self.ended = true;
                break;
            };
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["count"] => reply(&self.log.len())?,
                ["log"] => reply(&std::mem::take(&mut self.log))?,
                ["close"] => self.close()?,
                ["plugs"] => reply(&self.plugs)?,
                ["health", word] => {
                    self.healthy = word == "good";
                    reply(&())?;
                }
                ["delay", millis] => {
                    self.delay = Duration::from_millis(millis.parse()?);
                    reply(&())?;
                }
                _ => bail!("the origin knows no command \"{line}\""),
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Reads all there is; true at the end of the stream.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16384];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return true,
                Ok(read) => self.take(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }

    /// Bodies are counted, not kept.
    fn take(&mut self, bytes: &[u8]) {
        let body = self.request.as_mut().map_or(0, |request| {
            let body = request.body_left.min(bytes.len());
            request.body_left -= body;
            body
        });
        self.input.extend_from_slice(&bytes[body..]);
    }

    /// What is asked for, once the head is complete.
    fn read_head(&mut self) -> Result<Option<Asked>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = head.parse(&self.input)? else { return Ok(None) };
        let asked = asked(head.path.unwrap_or_default());
        if let Asked::User(_) = asked {
            self.request = Some(Request::read(&head)?);
        }
        let rest = self.input.split_off(length);
        self.input.clear();
        self.take(&rest);
        Ok(Some(asked))
    }

    /// An answer this small fits any socket buffer, unless the other side has gone.
    fn answer(&mut self, answer: &[u8]) {
        let _ = self.stream.write(answer);
    }

    /// True once, when the whole request has been read.
    fn becomes_due(&mut self) -> bool {
        self.request.as_mut().is_some_and(|request| {
            request.body_left == 0 && !std::mem::replace(&mut request.due, true)
        })
    }
}

impl Request {
    fn read(head: &httparse::Request<'_, '_>) -> Result<Self> {
        let header = |name| {
            let mut found =
                head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
            found.next().map(|header| String::from_utf8_lossy(header.value))
        };
        let close = match header("connection") {
            Some(value) => value.eq_ignore_ascii_case("close"),
            None => head.version == Some(0),
        };
        let body_left = header("content-length").map_or(Ok(0), |value| value.parse())?;
        Ok(Self { body_left, close, due: false })
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // As many as the kernel lets it be: a full queue would cost whoever connects a second.
    socket.listen(65535)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// By the number at the end of its path; without one it is the largest, so that it stands out.
    User(u32),
    Health,
    Plug,
}

fn asked(path: &str) -> Asked {
    let path = path.split('?').next().unwrap_or_default();
    match path {
        "/up" => Asked::Health,
        "/plug" => Asked::Plug,
        _ => {
            let number = path.rsplit('/').next().and_then(|segment| segment.parse().ok());
            Asked::User(number.unwrap_or(u32::MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, asked};

    #[test]
    fn the_number_is_the_last_segment() {
        assert_eq!(asked("/r/17"), Asked::User(17));
        assert_eq!(asked("/r/17?x=/4"), Asked::User(17));
        assert_eq!(asked("/favicon.ico"), Asked::User(u32::MAX));
        assert_eq!(asked("/up"), Asked::Health);
    }
}
