//! etcd's interface in JSON over HTTP, which each member has at the address for its clients. It is the one that
//! Patroni uses.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Deserializer, Value, json};
use ureq::http::Response;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::{Agent, Body, Error};

use super::race::first_of;
use crate::address::Address;
use crate::call::connect::{agent_as, is_of_connecting, with_cause};
use crate::call::netrc;
use crate::call::tls::{Identity, TlsFailed};
use crate::fleet::store::{LIMIT, Trouble};
use crate::options::Etcd as Options;
use crate::say::printable;

const LONGEST_ANSWER: u64 = 64 << 20;
/// A watch of which nothing is heard for so long is begun anew, as its connection may be cut.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
/// etcd takes no user from the name in a certificate that comes this way, and so none with a name, once it has users.
const OF_NAMED_CERTIFICATE: &str = "it has users, and then takes no certificate with a name here: give --etcd-cert one \
                                    without CN";
const IDLE_CONNECTIONS: usize = 2;

pub struct Gateway {
    members: Vec<Member>,
    /// Which of them is asked first: the last one that has answered.
    current: AtomicUsize,
    identity: Identity,
    token: Mutex<Option<String>>,
}

struct Member {
    address: Address,
    agent: OnceLock<Result<Agent, String>>,
}

/// Why there is no answer, and whether another member may have one.
struct Failure {
    why: String,
    kind: Kind,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Lost,
    /// A password is asked for, or what was told of one is not good any more.
    Stranger,
    Refused,
}

impl Gateway {
    pub fn new(options: &Options) -> Self {
        let member =
            |address: &Address| Member { address: address.clone(), agent: OnceLock::new() };
        let shown = options.certificate.clone().zip(options.key.clone());
        Self {
            members: options.urls.iter().map(member).collect(),
            current: AtomicUsize::new(0),
            identity: Identity { trusted: options.authority.clone(), shown },
            token: Mutex::new(None),
        }
    }

    /// The answer of the member that is the first to give one. What is asked may be done twice, and late: by one that
    /// was slow.
    pub fn ask(self: &Arc<Self>, call: &str, question: &Value) -> Result<Value, Trouble> {
        let until = Instant::now() + LIMIT;
        let (first, count) = (self.current.load(Relaxed), self.members.len());
        let (gateway, call, question) = (self.clone(), call.to_owned(), question.clone());
        let ask = move |number: usize| {
            let number = (first + number) % count;
            let answer = gateway.ask_as_user(number, &call, &question, until);
            answer.map(|answer| (number, answer)).map_err(|failure| (number, failure))
        };
        let is_last_word = |answer: &Result<_, (_, Failure)>| match answer {
            Ok(_) => true,
            Err((_, failure)) => failure.kind != Kind::Lost,
        };
        match first_of(count, until, ask, is_last_word) {
            Some(Ok((number, answer))) => {
                self.current.store(number, Relaxed);
                Ok(answer)
            }
            Some(Err((number, failure))) => Err(self.told(number, &failure)),
            None => Err(self.told(first, &Failure::late())),
        }
    }

    fn ask_as_user(
        &self,
        number: usize,
        call: &str,
        question: &Value,
        until: Instant,
    ) -> Result<Value, Failure> {
        let member = self.members.get(number).ok_or_else(Failure::late)?;
        match self.ask_member(member, call, question, until) {
            Err(failure) if failure.kind == Kind::Stranger => {
                self.sign_in(member, until)?;
                self.ask_member(member, call, question, until)
            }
            answer => answer,
        }
    }

    fn told(&self, number: usize, failure: &Failure) -> Trouble {
        let address = self.members.get(number).map(|member| member.address.to_string());
        format!("etcd at {}: {}", address.unwrap_or_default(), failure.why)
    }

    fn ask_member(
        &self,
        member: &Member,
        call: &str,
        question: &Value,
        until: Instant,
    ) -> Result<Value, Failure> {
        let left = until.saturating_duration_since(Instant::now());
        let mut response = self.send(member, call, question, Some(left))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        let body = body.map_err(Failure::of)?;
        // A stream has more behind it, and an error has trailers, which are not told apart from it.
        let first = Deserializer::from_slice(&body).into_iter::<Value>().next();
        match first.and_then(Result::ok) {
            Some(answer) if status == 200 && answer.is_object() => Ok(answer),
            Some(answer) if answer["error"].is_string() || answer["message"].is_string() => {
                Err(Failure::of_answer(&answer))
            }
            _ if body.starts_with(b"CommonName of client") => {
                Err(Failure::refused(OF_NAMED_CERTIFICATE.to_owned()))
            }
            _ => Err(Failure::refused(format!(
                "something else answers there ({status}), or an etcd before 3.4: check the address"
            ))),
        }
    }

    fn send(
        &self,
        member: &Member,
        call: &str,
        question: &Value,
        limit: Option<Duration>,
    ) -> Result<Response<Body>, Failure> {
        let agent = member
            .agent
            .get_or_init(|| agent_as(&member.address, self.identity.clone(), IDLE_CONNECTIONS));
        let agent = agent.as_ref().map_err(|why| Failure { why: why.clone(), kind: Kind::Lost })?;
        let mut request = agent
            .post(member.address.of_call(&format!("v3/{call}")))
            .config()
            .timeout_global(limit)
            .timeout_connect(Some(LIMIT))
            .timeout_recv_response(Some(LIMIT))
            .timeout_per_read(Some(limit.unwrap_or(LONGEST_SILENCE)))
            .build()
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &*self.token.lock().unwrap_or_else(PoisonError::into_inner) {
            request = request.header(AUTHORIZATION, token);
        }
        request.send(question.to_string()).map_err(Failure::of)
    }

    fn sign_in(&self, member: &Member, until: Instant) -> Result<(), Failure> {
        let of_nobody = "etcd asks for a user: put login and password into ~/.netrc, for this host";
        let login = netrc::login_at(&member.address.of_call("v3"));
        let (name, password) = login.ok_or_else(|| Failure::refused(of_nobody.to_owned()))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let question = json!({ "name": name, "password": password });
        let answer = self.ask_member(member, "auth/authenticate", &question, until)?;
        let token = answer["token"].as_str().map(str::to_owned);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
        Ok(())
    }

    /// Has a stream of answers: each is told of until it ends.
    pub fn follow(&self, call: &str, question: &Value, wake: &dyn Fn()) -> Result<(), Trouble> {
        let at = self.current.load(Relaxed);
        let Some(member) = self.members.get(at) else { return Ok(()) };
        let told = |failure| self.told(at, &failure);
        let mut response = self.send(member, call, question, None).map_err(told)?;
        let lines = BufReader::new(response.body_mut().as_reader().take(u64::MAX)).lines();
        // What happened before the watch began is seen by looking now.
        for line in lines {
            line.map_err(|error| told(Failure::of(Error::Io(error))))?;
            wake();
        }
        Ok(())
    }
}

impl Failure {
    fn refused(why: String) -> Self {
        Self { why, kind: Kind::Refused }
    }

    fn late() -> Self {
        let why = "no answer in time: is it up, has it a leader, is a firewall in between?";
        Self { why: why.to_owned(), kind: Kind::Lost }
    }

    fn of(error: Error) -> Self {
        let why = match error {
            Error::Timeout(_) => return Self::late(),
            Error::HostNotFound => {
                "the name of the host is not known: check the address".to_owned()
            }
            Error::Io(error) if is_of_connecting(error.kind()) => {
                format!("nothing answers there: is it up, and is the address right? ({error})")
            }
            Error::Other(error) if error.is::<TlsFailed>() => error.to_string(),
            error => {
                let cause = printable(&with_cause(&error));
                format!("the connection failed: does it want https? ({cause})")
            }
        };
        Self { why, kind: Kind::Lost }
    }

    /// What etcd says is wrong.
    fn of_answer(answer: &Value) -> Self {
        let said = answer["error"].as_str().or(answer["message"].as_str()).unwrap_or_default();
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let said = printable(said);
        if has(&["user name is empty", "invalid auth token", "revision of auth store is old"]) {
            Self { why: said, kind: Kind::Stranger }
        } else if has(&["authentication failed", "invalid user ID or password"]) {
            Self::refused(format!("it does not know the user and password of ~/.netrc ({said})"))
        } else if has(&["permission denied"]) {
            Self::refused(
                "this user may not read and write below /intermission/: grant it that".to_owned(),
            )
        } else {
            let is_passing = has(&[
                "no leader",
                "timed out",
                "leader changed",
                "Unavailable",
                "stopped",
                "not capable",
                "corrupt",
            ]);
            Self { why: said, kind: if is_passing { Kind::Lost } else { Kind::Refused } }
        }
    }
}
