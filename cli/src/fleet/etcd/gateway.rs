//! etcd's interface in JSON over HTTP, which each member has at the address for its clients. It is the one that
//! Patroni uses.

use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Deserializer, Value, json};
use ureq::http::Response;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::{Agent, Body, Error};

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
    /// Which of them is asked.
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
    /// It did not reach the member.
    Unsent,
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

    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// The answer of a member. What did not reach one is sent to the next; who does not answer in time is not asked the
    /// next time.
    pub fn ask(&self, call: &str, question: &Value) -> Result<Value, Trouble> {
        let mut left = self.members.len();
        let mut may_sign_in = true;
        loop {
            let at = self.current.load(Relaxed);
            let Some(member) = self.members.get(at % self.members.len().max(1)) else {
                return Err("no address of etcd is known".to_owned());
            };
            let failure = match self.ask_member(member, call, question) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match failure.kind {
                Kind::Stranger if may_sign_in => {
                    may_sign_in = false;
                    self.sign_in(member).map_err(|failure| member.told(&failure))?;
                    continue;
                }
                Kind::Unsent | Kind::Lost => {
                    let next = at.wrapping_add(1);
                    // Another thread may have gone on already.
                    let _ = self.current.compare_exchange(at, next, Relaxed, Relaxed);
                }
                Kind::Refused | Kind::Stranger => {}
            }
            left = left.saturating_sub(1);
            if left == 0 || failure.kind != Kind::Unsent {
                return Err(member.told(&failure));
            }
        }
    }

    fn ask_member(&self, member: &Member, call: &str, question: &Value) -> Result<Value, Failure> {
        let mut response = self.send(member, call, question, Some(LIMIT))?;
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
        let agent =
            agent.as_ref().map_err(|why| Failure { why: why.clone(), kind: Kind::Unsent })?;
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

    fn sign_in(&self, member: &Member) -> Result<(), Failure> {
        let of_nobody = "etcd asks for a user: put login and password into ~/.netrc, for this host";
        let login = netrc::login_at(&member.address.of_call("v3"));
        let (name, password) = login.ok_or_else(|| Failure::refused(of_nobody.to_owned()))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let question = json!({ "name": name, "password": password });
        let answer = self.ask_member(member, "auth/authenticate", &question)?;
        let token = answer["token"].as_str().map(str::to_owned);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
        Ok(())
    }

    /// Has a stream of answers: each is told of until it ends.
    pub fn follow(&self, call: &str, question: &Value, wake: &dyn Fn()) -> Result<(), Trouble> {
        let at = self.current.load(Relaxed);
        let Some(member) = self.members.get(at % self.members.len().max(1)) else { return Ok(()) };
        let told = |failure| member.told(&failure);
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

impl Member {
    fn told(&self, failure: &Failure) -> Trouble {
        format!("etcd at {}: {}", self.address, failure.why)
    }
}

impl Failure {
    fn refused(why: String) -> Self {
        Self { why, kind: Kind::Refused }
    }

    fn of(error: Error) -> Self {
        let (kind, why) = match error {
            Error::Timeout(_) => (
                Kind::Lost,
                "no answer in time: is it up, has it a leader, is a firewall in between?"
                    .to_owned(),
            ),
            Error::HostNotFound => {
                (Kind::Unsent, "the name of the host is not known: check the address".to_owned())
            }
            Error::Io(error) if is_of_connecting(error.kind()) => (
                Kind::Unsent,
                format!("nothing answers there: is it up, and is the address right? ({error})"),
            ),
            Error::Other(error) if error.is::<TlsFailed>() => (Kind::Unsent, error.to_string()),
            error => (
                Kind::Lost,
                format!(
                    "the connection failed: does it want https? ({})",
                    printable(&with_cause(&error))
                ),
            ),
        };
        Self { why, kind }
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
