//! The way to a server: through a unix socket, or over TCP, with TLS if its address says so; and what may go wrong on
//! it, in words that help.

use std::error::Error as _;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{self as net, AddressFamily, SockFlag, SockType, UnixAddr};
use nix::unistd::{AccessFlags, access};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    TcpConnector, Transport,
};
use ureq::{Agent, Error};

use super::answer::{Answer, Verdict};
use super::tls::{Identity, TlsConnector, TlsFailed};
use super::{LIMIT, proxy};
use crate::address::Address;
use crate::say::printable;

/// A client for this address, or why there can be none.
pub fn agent(address: &Address) -> Result<Agent, String> {
    agent_as(address, Identity::default(), 0)
}

/// The same as somebody, with so many connections that are kept for the next call.
pub fn agent_as(address: &Address, identity: Identity, idle: usize) -> Result<Agent, String> {
    let socket = address.socket().map(Path::to_owned);
    let proxy = match socket {
        Some(_) => None,
        None => proxy::for_address(&address.of_call("status"))?,
    };
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(idle)
        .max_idle_connections_per_host(idle)
        .timeout_connect(Some(LIMIT))
        .proxy(proxy)
        .build();
    let names = Names { are_known: socket.is_some() };
    let connector =
        ().chain(SocketConnector { socket })
            .chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(TlsConnector::new(identity));
    Ok(Agent::with_parts(config, connector, names))
}

/// What a call that brought no answer means.
pub fn trouble(address: &Address, error: Error) -> Answer {
    let (verdict, line) = match error {
        Error::Timeout(_) => (
            Verdict::Lost,
            "no answer came in time: is the server overloaded, or a firewall in between?"
                .to_owned(),
        ),
        Error::HostNotFound => {
            (Verdict::Unsent, "the name of the host is not known: check the address".to_owned())
        }
        Error::Io(error) if is_of_connecting(error.kind()) => {
            (Verdict::Unsent, not_connected(address, &error))
        }
        Error::ConnectProxyFailed(why) => {
            (Verdict::Unsent, format!("the proxy does not lead there: {}", printable(&why)))
        }
        Error::Other(error) if error.is::<TlsFailed>() => (Verdict::Unsent, error.to_string()),
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            (Verdict::Lost, lost("Empty reply from server"))
        }
        error => (Verdict::Lost, lost(&with_cause(&error))),
    };
    Answer::of_trouble(verdict, line)
}

fn lost(why: &str) -> String {
    format!("the call failed, and the server's error log may say why: {}", printable(why))
}

pub fn with_cause(error: &Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// Of none of these is a call that was sent already.
pub fn is_of_connecting(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::AddrNotAvailable
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}

fn not_connected(address: &Address, error: &io::Error) -> String {
    if let Some(socket) = address.socket() {
        if fs::symlink_metadata(socket).is_err() {
            let name = socket.display();
            return format!(
                "there is no socket {name}: is nginx running, and is the address right?"
            );
        } else if access(socket, AccessFlags::W_OK).is_err() {
            let name = socket.display();
            return format!("the socket {name} may not be used: run this as another user");
        }
    }
    format!("nothing answers there: is nginx running, and is the address right? ({error})")
}

/// Names of hosts, which are not looked up for a unix socket.
#[derive(Debug)]
struct Names {
    are_known: bool,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        if self.are_known {
            return Ok(self.empty());
        }
        DefaultResolver::default().resolve(uri, config, timeout).map_err(|error| match error {
            Error::Io(_) => Error::HostNotFound,
            other => other,
        })
    }
}

#[derive(Debug)]
struct SocketConnector {
    socket: Option<PathBuf>,
}

impl<In: Transport> Connector<In> for SocketConnector {
    type Out = Either<In, SocketTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(socket) = &self.socket else { return Ok(chained.map(Either::A)) };
        let (input, output) =
            (details.config.input_buffer_size(), details.config.output_buffer_size());
        let stream = through(socket, details.timeout)?;
        let buffers = LazyBuffers::new(input, output);
        Ok(Some(Either::B(SocketTransport { stream, buffers })))
    }
}

/// Connects in time: where nobody takes connections in, one more waits until there is room for it.
fn through(socket: &Path, timeout: NextTimeout) -> Result<UnixStream, Error> {
    let address = UnixAddr::new(socket).map_err(io::Error::from)?;
    let stream = UnixStream::from(
        net::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .map_err(io::Error::from)?,
    );
    stream.set_write_timeout(time_left(timeout))?;
    net::connect(stream.as_raw_fd(), &address).map_err(|error| in_time(error.into(), timeout))?;
    Ok(stream)
}

#[derive(Debug)]
struct SocketTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.set_write_timeout(time_left(timeout))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(|error| in_time(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.set_read_timeout(time_left(timeout))?;
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input).map_err(|error| in_time(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }
}

fn time_left(timeout: NextTimeout) -> Option<Duration> {
    timeout.not_zero().map(|left| *left)
}

fn in_time(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}
