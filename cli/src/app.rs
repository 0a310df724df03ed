//! An app at one control location or several, and what is told of it.

use std::cell::Cell;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{Answer, Argument, Server, Verdict, every};
use crate::options::Place;
use crate::say::{printable_os, quoted, say};
use crate::status::{TRY_LATER, USAGE};

pub struct App {
    pub servers: Vec<Arc<Server>>,
    pub name: OsString,
    /// The exit status, once something went wrong.
    pub complaint: Cell<Option<i32>>,
}

impl App {
    pub fn new(place: Place) -> Self {
        let servers = place.urls.into_iter().map(|url| Arc::new(Server::new(url))).collect();
        Self { servers, name: place.app, complaint: Cell::new(None) }
    }

    /// The same call at all of these at once.
    pub fn ask(
        &self,
        servers: &[Arc<Server>],
        call: &str,
        limit: Duration,
        arguments: &[Argument],
    ) -> Vec<(Arc<Server>, Answer)> {
        let arguments = self.arguments(arguments);
        every(servers, |server| server.call(call, limit, &arguments))
    }

    /// These, and which app is meant.
    pub fn arguments(&self, others: &[Argument]) -> Vec<Argument> {
        let mut arguments = vec![("app", self.name.clone())];
        arguments.extend_from_slice(others);
        arguments
    }

    /// Tells what went wrong at a server.
    pub fn complain(&self, server: &Server, problem: &str) {
        self.at(server, problem);
        self.complaint.set(Some(TRY_LATER));
    }

    /// The same, if that is in what it answered, or that it did not.
    pub fn complain_of(&self, server: &Server, answer: &Answer) {
        self.at(server, &answer.line);
        // The server found the options wrong, and nothing else is.
        let is_usage = answer.verdict == Verdict::Refused(400);
        self.complaint.set(match (is_usage, self.complaint.get()) {
            (true, None) => Some(USAGE),
            (true, before) => before,
            (false, _) => Some(TRY_LATER),
        });
    }

    /// Tells something of the app at this server.
    pub fn at(&self, server: &Server, message: &str) {
        let address = &server.address;
        if self.name.is_empty() {
            say(&format!("{address}: {message}"));
        } else {
            say(&format!("{address} (app {}): {message}", printable_os(&self.name)));
        }
    }

    /// How to resume the app without this command.
    pub fn by_hand(&self, server: &Server) -> String {
        let mut words = "curl -X POST -G ".to_owned();
        if let Some(socket) = server.address.socket() {
            words += &format!("--unix-socket {} ", quoted(&socket.to_string_lossy()));
        }
        if !self.name.is_empty() {
            let argument = format!("app={}", self.name.to_string_lossy());
            words += &format!("--data-urlencode {} ", quoted(&argument));
        }
        words + &quoted(&server.address.of_call("disable"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(url: &str, name: &str) -> App {
        App::new(Place { urls: vec![url.parse().expect("an address")], app: name.into() })
    }

    #[test]
    fn what_is_to_be_done_by_hand_is_for_a_shell() {
        let plain = app("http://a/x", "");
        assert_eq!(plain.by_hand(&plain.servers[0]), "curl -X POST -G 'http://a/x/disable'");
        let other = app("unix:/ab", "it's");
        assert_eq!(
            other.by_hand(&other.servers[0]),
            r"curl -X POST -G --unix-socket '/ab' --data-urlencode 'app=it'\''s' 'http://localhost/_intermission/disable'"
        );
    }

    #[test]
    fn a_complaint_of_the_server_is_one_of_usage_if_it_is_the_only_one() {
        let refused = Answer::of_trouble(Verdict::Refused(400), "no".to_owned());
        let lost = Answer::of_trouble(Verdict::Lost, "no".to_owned());
        for (answers, expected) in [
            (vec![&refused], USAGE),
            (vec![&refused, &refused], USAGE),
            (vec![&refused, &lost], TRY_LATER),
            (vec![&lost, &refused], TRY_LATER),
        ] {
            let app = app("unix:/a", "");
            answers.iter().for_each(|answer| app.complain_of(&app.servers[0], answer));
            assert_eq!(app.complaint.get(), Some(expected));
        }
    }
}
