//! Calls to a control location.

mod answer;
pub mod connect;
pub mod netrc;
mod proxy;
pub mod tls;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, LOCATION, USER_AGENT};
use ureq::{Agent, Error};

use self::answer::Response;
pub use self::answer::{Answer, Verdict, number};
use crate::address::Address;
use crate::signals;

/// A call is answered within this time,
pub const LIMIT: Duration = Duration::from_secs(5);
/// but for a canary, which ends with intermission_release_timeout at the latest.
pub const CANARY_LIMIT: Duration = Duration::from_secs(600);

/// More than the status of all apps that a zone has room for.
const LONGEST_ANSWER: u64 = 256 << 20;

const AGENT: &str = concat!("intermission/", env!("CARGO_PKG_VERSION"));

/// A control location that can be called.
pub struct Server {
    pub address: Address,
    agent: OnceLock<Result<Agent, String>>,
    /// The number of the pause there that this process looks after, 0 if it is not known.
    pause: AtomicU64,
}

impl Server {
    pub fn new(address: Address) -> Self {
        Self { address, agent: OnceLock::new(), pause: AtomicU64::new(0) }
    }

    pub fn look_after(&self, pause: Option<u64>) {
        self.pause.store(pause.unwrap_or(0), Relaxed);
    }

    /// The pause that this process looks after. An older module does not number them.
    pub fn pause(&self) -> Option<u64> {
        Some(self.pause.load(Relaxed)).filter(|pause| *pause > 0)
    }

    /// Makes a call that does nothing once that pause is over.
    pub fn call_in_pause(&self, call: &str, limit: Duration, arguments: &[Argument]) -> Answer {
        let mut arguments = arguments.to_vec();
        let number = self.pause().map(|pause| pause.to_string()).unwrap_or_default();
        arguments.push(("pause", number.into()));
        self.call(call, limit, &arguments)
    }

    /// Makes a call, and waits for what comes of it. Arguments without a value are left out.
    pub fn call(&self, call: &str, limit: Duration, arguments: &[Argument]) -> Answer {
        let app = arguments.iter().find(|(name, _)| *name == "app").map(|(_, app)| app);
        let is_for_all = app.is_some_and(|app| app == "*");
        let agent = match self.agent.get_or_init(|| connect::agent(&self.address)) {
            Ok(agent) => agent,
            Err(problem) => return Answer::of_trouble(Verdict::Unsent, problem.clone()),
        };
        match self.fetch(agent, call, limit, arguments) {
            Ok(response) => Answer::of_response(&response, is_for_all),
            Err(error) => connect::trouble(&self.address, error),
        }
    }

    fn fetch(
        &self,
        agent: &Agent,
        call: &str,
        limit: Duration,
        arguments: &[Argument],
    ) -> Result<Response, Error> {
        let address = format!("{}{}", self.address.of_call(call), query(arguments));
        let headers = [
            (ACCEPT, Some("*/*".to_owned())),
            (USER_AGENT, Some(AGENT.to_owned())),
            (CONNECTION, Some("close".to_owned())),
            (AUTHORIZATION, netrc::authorization(&address)),
        ];
        let mut request = ureq::http::Request::builder()
            .method(if call == "status" { "GET" } else { "POST" })
            .uri(&address);
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.body(ureq::SendBody::none())?;
        let request = agent.configure_request(request).timeout_global(Some(limit)).build();
        let mut response = agent.run(request)?;
        let header = |name| {
            let value = response.headers().get(name);
            value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let (location, kind) = (header(LOCATION), header(CONTENT_TYPE));
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec()?;
        let body = String::from_utf8_lossy(&body).trim_end_matches('\n').to_owned();
        Ok(Response {
            status,
            location: location.unwrap_or_default(),
            kind: kind.unwrap_or_default(),
            body,
        })
    }
}

/// An argument of a call, which may be anything at all.
pub type Argument = (&'static str, OsString);

fn query(arguments: &[Argument]) -> String {
    let given = arguments.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

fn encoded(value: &OsStr) -> String {
    percent_encode(value.as_bytes(), NON_ALPHANUMERIC).to_string()
}

/// Does this for all of the servers at once, and waits for all of them. No signal stops it.
pub fn every<T: Send>(
    servers: &[Arc<Server>],
    ask: impl Fn(&Server) -> T + Sync,
) -> Vec<(Arc<Server>, T)> {
    let calling = |server: &Server| {
        signals::keep_away();
        ask(server)
    };
    let calling = &calling;
    thread::scope(|scope| {
        let begin = |server| thread::Builder::new().spawn_scoped(scope, move || calling(server));
        let begun: Vec<_> = servers.iter().map(|server| begin(server)).collect();
        let ends = begun.into_iter().zip(servers).map(|(thread, server)| {
            let result = match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(result)) => result,
                // There is no room for another thread, so this one has to do.
                _ => ask(server),
            };
            (server.clone(), result)
        });
        ends.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_encoded_and_empty_ones_are_left_out() {
        let arguments = |app: &str, time: &str| [("app", app.into()), ("for", time.into())];
        assert_eq!(query(&arguments("", "")), "");
        assert_eq!(query(&arguments("", "1m 30s")), "?for=1m%2030s");
        assert_eq!(query(&arguments("a&b=ö", "1s")), "?app=a%26b%3D%C3%B6&for=1s");
    }
}
