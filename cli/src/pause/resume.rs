//! Resumes the app, and tries again where that fails.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Pause, STILL_PAUSED, Time, seconds};
use crate::call::{Answer, Argument, CANARY_LIMIT, LIMIT, Server, Verdict, every};
use crate::pass_on;
use crate::say::{requests, say};

const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);
/// How often an app is looked at that a lost renewal may still pause.
const LOOKS: usize = 5;

/// What became of a resume at a server.
struct Resume {
    answer: Answer,
    /// What was held before, and for how long.
    held: u64,
    oldest: u64,
    /// It was not paused any more, so it was left alone.
    is_over: bool,
}

/// All that a resume needs, so that it can be made at several servers at once.
struct Resuming {
    name: Vec<Argument>,
    disable: Vec<Argument>,
    limit: Duration,
}

impl Resuming {
    /// What is not paused is left alone. What the server does not like about the pace must not keep the app paused.
    fn resume(&self, server: &Server) -> Resume {
        let now = server.call("status", LIMIT, &self.name);
        let (held, oldest) = (now.facts.held, now.facts.oldest_wait_ms);
        let is_another = server.pause().is_some() && now.facts.pause != server.pause();
        if now.is_ok() && (!now.is_paused() || is_another) {
            return Resume { answer: now, held, oldest, is_over: true };
        }
        let mut answer = server.call_in_pause("disable", self.limit, &self.disable);
        if answer.verdict == Verdict::Refused(400) {
            answer = server.call_in_pause("disable", LIMIT, &self.name);
        }
        let is_over = answer.is_of_past_pause();
        Resume { answer, held, oldest, is_over }
    }
}

impl Pause {
    pub fn resume(&mut self) {
        let before = self.app.complaint.take();
        if let Some(canary) = self.pace.canary.filter(|_| self.has_run) {
            let count = requests(u64::from(canary));
            say(&format!("resuming: waiting for the canary ({count})"));
        }
        self.resume_in_time();
        if self.is_unsure {
            self.look_after();
        }
        let complaint = self.app.complaint.get();
        let complaint = if self.has_run { complaint.map(|_| STILL_PAUSED) } else { complaint };
        self.app.complaint.set(complaint.or(before));
    }

    fn resume_in_time(&mut self) {
        let patience = self.lasts.as_ref().map_or(PATIENCE, |lasts| lasts.length);
        let shown = self.lasts.as_ref().map_or("60s".to_owned(), Time::to_string);
        let until = Instant::now() + patience + INTERVAL;
        let mut warned = Vec::new();
        let resuming = self.resuming();
        loop {
            let resumes = every(&self.paused, |server| resuming.resume(server));
            self.paused = resumes
                .into_iter()
                .filter(|(server, resume)| !self.see(server, resume, &mut warned, &shown))
                .map(|(server, _)| server)
                .collect();
            if self.paused.is_empty() {
                return;
            } else if Instant::now() >= until {
                break;
            }
            sleep(INTERVAL);
        }
        for server in std::mem::take(&mut self.paused) {
            let by_hand = self.app.by_hand(&server);
            let problem = format!("it could not be resumed within {shown}. By hand: {by_hand}");
            self.app.complain(&server, &problem);
        }
    }

    /// Tells what became of it: whether that was the end.
    fn see(
        &self,
        server: &Arc<Server>,
        resume: &Resume,
        warned: &mut Vec<Arc<Server>>,
        patience: &str,
    ) -> bool {
        let (app, answer) = (&self.app, &resume.answer);
        let state = answer.facts.state.as_str();
        let by_hand = || app.by_hand(server);
        match answer.verdict {
            _ if resume.is_over && state == "maintenance" => {
                app.at(
                    server,
                    "it was put into maintenance in the meantime, and is left like that",
                );
            }
            _ if resume.is_over => {
                app.at(server, "it was resumed in the meantime, by another call or its deadline");
            }
            Verdict::Ok => app.at(server, &resumed(resume)),
            Verdict::Refused(409) if state == "paused" => {
                let (held, line) = (requests(answer.facts.held), &answer.line);
                let by_hand = by_hand();
                app.complain(
                    server,
                    &format!("{line} {held} held, and no deadline. When it is mended: {by_hand}"),
                );
            }
            Verdict::Refused(409) => app.at(server, &answer.line),
            _ => {
                if !warned.iter().any(|other| Arc::ptr_eq(other, server)) {
                    warned.push(server.clone());
                    let line = &answer.line;
                    app.at(
                        server,
                        &format!("IT COULD NOT BE RESUMED, and may still be paused: {line}"),
                    );
                    say(&format!("trying again for {patience}. By hand: {}", by_hand()));
                }
                return false;
            }
        }
        true
    }

    fn resuming(&self) -> Resuming {
        let canary = self.pace.canary.filter(|_| self.has_run);
        Resuming {
            name: self.app.arguments(&[]),
            disable: self.app.arguments(&pass_on::arguments(&self.pace, canary)),
            limit: if canary.is_some() { CANARY_LIMIT } else { LIMIT },
        }
    }

    /// A renewal that nobody answered may still be taken up, by a worker that was stuck. So this looks on for a while.
    fn look_after(&mut self) {
        self.is_unsure = false;
        for _ in 0..LOOKS {
            sleep(INTERVAL);
            let answers = self.app.ask(&self.app.servers, "status", LIMIT, &[]);
            let paused = answers.into_iter().filter(|(_, answer)| answer.is_paused());
            self.paused = paused.map(|(server, _)| server).collect();
            if !self.paused.is_empty() {
                return self.resume_in_time();
            }
        }
    }
}

fn resumed(resume: &Resume) -> String {
    let waited = match resume.held {
        0 => String::new(),
        _ => format!(", the longest for {}", seconds(resume.oldest)),
    };
    format!("resumed, {} held{waited}", requests(resume.held))
}
