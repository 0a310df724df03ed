//! Shows the state again and again.

use std::process;
use std::thread::sleep;
use std::time::Duration;

use crate::app::App;
use crate::call::{Answer, LIMIT, Server, number};
use crate::options::Show;
use crate::say::{print, printable};
use crate::time::seconds;
use crate::view::View;

const INTERVAL: Duration = Duration::from_secs(1);

pub fn watch(options: Show) -> ! {
    let app = App::new(options.place);
    let mut arguments = app.arguments(&[]);
    arguments.push(options.form.argument());
    let mut view = View::default();
    let mut is_first = true;
    loop {
        let mut lines = Vec::new();
        for server in &app.servers {
            let answer = server.call("status", LIMIT, &arguments);
            if is_first && !answer.is_ok() {
                // A watch that cannot begin ends; later, an address that does not answer is shown like that.
                app.complain_of(server, &answer);
                process::exit(app.complaint.get().unwrap_or_default());
            }
            if !options.form.json {
                lines.extend(rows(server, &answer));
            } else if answer.is_ok() {
                print(&format!("{}\n", answer.body));
            }
        }
        if !options.form.json {
            view.show(lines);
        }
        is_first = false;
        sleep(INTERVAL);
    }
}

/// A row for each app that is reported.
fn rows(server: &Server, answer: &Answer) -> Vec<String> {
    if !answer.is_ok() {
        return vec![format!("{}: {}", server.address, answer.line)];
    }
    let mut rows = Vec::new();
    let [mut name, mut state, mut held, mut in_flight, mut oldest] = [const { String::new() }; 5];
    for (fact, value) in answer.body.lines().filter_map(|line| line.split_once(": ")) {
        let value = printable(value);
        match fact {
            "app" => name = value,
            "state" => state = value,
            "held" => held = value,
            "in_flight" => in_flight = value,
            "oldest_wait_ms" => oldest = seconds(number(&value)),
            "resumes_at" => {
                let until = if value == "-" { String::new() } else { format!(", until {value}") };
                rows.push(format!(
                    "{name}: {state}, {held} held, {in_flight} in flight, longest wait {oldest}{until}"
                ));
            }
            _ => {}
        }
    }
    rows
}
