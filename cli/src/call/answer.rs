//! What a call brought: the answer of a control location, or of somebody else, or none.

use serde_json::Value;

use crate::say::printable;

const NO_CONTROL: &str = "Check the address, that nginx loads the module, and that the location says intermission_control.";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// It did not reach the server.
    Unsent,
    /// Nobody knows what became of it.
    Lost,
    /// Whoever answered is no control location.
    Foreign,
    /// A control location says no, with this status.
    Refused(u16),
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub verdict: Verdict,
    pub body: String,
    /// Its first line. If it is not well: what happened, and what to do.
    pub line: String,
    pub facts: Facts,
}

/// As it came.
pub struct Response {
    pub status: u16,
    pub location: String,
    pub kind: String,
    pub body: String,
}

impl Answer {
    pub fn of_trouble(verdict: Verdict, line: String) -> Self {
        Self { verdict, body: String::new(), line, facts: Facts::default() }
    }

    pub fn of_response(response: &Response, is_for_all: bool) -> Self {
        let (verdict, line) = response.judged(is_for_all);
        let body = response.body.clone();
        Self { verdict, line, facts: Facts::of(&body), body }
    }

    pub fn is_ok(&self) -> bool {
        self.verdict == Verdict::Ok
    }

    /// Whether it says that this call, and no other, has paused the app.
    pub fn has_paused(&self) -> bool {
        self.is_ok() && self.line == "Pause enabled."
    }

    /// Whether it says that the pause which the call was for has ended.
    pub fn is_of_past_pause(&self) -> bool {
        self.verdict == Verdict::Refused(409) && self.line.starts_with("That pause is over")
    }

    pub fn is_paused(&self) -> bool {
        self.is_ok() && self.facts.state == "paused"
    }
}

impl Response {
    fn judged(&self, is_for_all: bool) -> (Verdict, String) {
        let first = self.body.lines().next().unwrap_or_default();
        if self.status == 200 && self.is_of_control(first, is_for_all) {
            return (Verdict::Ok, printable(first));
        }
        let own = self.own_words(first);
        let verdict = own.as_ref().map_or(Verdict::Foreign, |_| Verdict::Refused(self.status));
        (verdict, self.explained(own))
    }

    fn is_of_control(&self, first: &str, is_for_all: bool) -> bool {
        let begins = |words: &[&str]| words.iter().any(|word| first.starts_with(word));
        let is_list_of_none = is_for_all && self.body.is_empty();
        (self.is_text() && (begins(&["app: ", "Pause ", "Maintenance "]) || is_list_of_none))
            || (self.is_json() && begins(&[r#"{"app":"#, r#"{"message":"#, "["]))
    }

    fn is_text(&self) -> bool {
        self.kind.starts_with("text/plain")
    }

    fn is_json(&self) -> bool {
        self.kind.starts_with("application/json")
    }

    /// An error in the words of the module, and not in those of somebody else.
    fn own_words(&self, first: &str) -> Option<String> {
        if self.status == 200 {
            None
        } else if self.is_text() {
            (!first.is_empty() && !first.contains('<')).then(|| printable(first))
        } else if self.is_json() {
            let value: Value = serde_json::from_str(&self.body).ok()?;
            Some(printable(value.get("error")?.as_str()?))
        } else {
            None
        }
    }

    /// What happened, and what to do.
    fn explained(&self, own: Option<String>) -> String {
        match (self.status, own) {
            (200, _) => {
                format!("something else answers here, not a control location. {NO_CONTROL}")
            }
            (300..=309, _) => format!(
                "the server sends on to {}: give the address that it means",
                printable(&self.location)
            ),
            (401, _) => "the server asks for a password: put it into ~/.netrc".to_owned(),
            (403, Some(line)) => {
                format!("{line} Call it on that machine itself, or let this one in there.")
            }
            (403, None) => {
                "the server does not let this machine in (403): allow it in the control \
                            location's access rules"
                    .to_owned()
            }
            (404, Some(line)) => format!("this server's module does not have this call: {line}"),
            (404, None) => format!("there is no control location here (404). {NO_CONTROL}"),
            (_, Some(line)) => line,
            (400, None) => "the server answers 400, and not as a control location does: does it \
                            want https?"
                .to_owned(),
            (status, None) => format!(
                "the server answers {status}, and not as a control location does: its error log may \
                 say why"
            ),
        }
    }
}

/// The state of an app, in words and numbers whatever the server said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub state: String,
    pub held: u64,
    pub in_flight: u64,
    pub oldest_wait_ms: u64,
    pub drained_ms: u64,
    pub resumes_at: Option<String>,
    /// The number of the pause that goes on.
    pub pause: Option<u64>,
}

impl Facts {
    fn of(body: &str) -> Self {
        let mut facts = Self::default();
        for line in body.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            match name {
                "state" => facts.state = beginning(value, |c| c.is_ascii_lowercase() || c == '-'),
                "held" => facts.held = number(value),
                "in_flight" => facts.in_flight = number(value),
                "oldest_wait_ms" => facts.oldest_wait_ms = number(value),
                "drained_ms" => facts.drained_ms = number(value),
                "pause" => facts.pause = value.parse().ok().filter(|pause| *pause > 0),
                "resumes_at" => facts.resumes_at = moment(value),
                _ => {}
            }
        }
        facts
    }
}

fn moment(value: &str) -> Option<String> {
    let moment = beginning(value, |c| c.is_ascii_digit() || "TZ:-".contains(c));
    (!moment.is_empty() && moment != "-").then_some(moment)
}

fn beginning(value: &str, fits: impl Fn(char) -> bool) -> String {
    value.chars().take_while(|c| fits(*c)).collect()
}

pub fn number(value: &str) -> u64 {
    let is_number = value.chars().all(|c| c.is_ascii_digit()) && !value.starts_with('0');
    if is_number && value.len() < 10 { value.parse().unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, kind: &str, body: &str) -> Answer {
        let (kind, body) = (kind.to_owned(), body.to_owned());
        let location = "https://example.org/".to_owned();
        Answer::of_response(&Response { status, location, kind, body }, false)
    }

    #[test]
    fn an_answer_of_a_control_location_is_told_from_others() {
        let cases = [
            (200, "text/plain", "app: default\nstate: open", Verdict::Ok),
            (200, "text/plain", "Pause enabled.\napp: default", Verdict::Ok),
            (200, "application/json", r#"{"app":"x"}"#, Verdict::Ok),
            (200, "text/plain", "hello", Verdict::Foreign),
            (200, "text/plain", "", Verdict::Foreign),
            (200, "text/html", "Pause enabled.", Verdict::Foreign),
            (409, "text/plain", "No.", Verdict::Refused(409)),
            (
                409,
                "application/json",
                r#"{"error":"No \"x\".","state":"paused"}"#,
                Verdict::Refused(409),
            ),
            (409, "application/json", "{}", Verdict::Foreign),
            (502, "text/html", "<html>", Verdict::Foreign),
            (503, "text/plain", "<html>", Verdict::Foreign),
        ];
        for (status, kind, body, expected) in cases {
            assert_eq!(answer(status, kind, body).verdict, expected, "{status} {kind} {body}");
        }
        let refusal = answer(409, "application/json", r#"{"error":"No \"x\".","state":"paused"}"#);
        assert_eq!(refusal.line, r#"No "x"."#);
        assert!(answer(301, "text/html", "").line.contains("sends on to https://example.org/:"));
    }

    #[test]
    fn facts_are_words_and_numbers_whatever_the_server_says() {
        let facts = Facts::of(
            "Pause enabled.\nstate: paused$(x)\nheld: 12\nin_flight: 09\noldest_wait_ms: 1234567890\n\
             drained_ms: 7x\nresumes_at: 2026-11-21T10:00:00Z;x\npause: 7;x\nheld",
        );
        let resumes_at = Some("2026-11-21T10:00:00Z".to_owned());
        let expected =
            Facts { state: "paused".to_owned(), held: 12, resumes_at, ..Facts::default() };
        assert_eq!(facts, expected);
        assert_eq!(Facts::of("resumes_at: -").resumes_at, None);
    }
}
