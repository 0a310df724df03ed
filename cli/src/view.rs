//! Rows that are shown again and again.

use std::io::{IsTerminal, stdout};

use crate::say::print;

#[derive(Default)]
pub struct View {
    shown: Vec<String>,
}

impl View {
    pub fn show(&mut self, lines: Vec<String>) {
        if stdout().is_terminal() {
            let rows = self.shown.len();
            let up = if rows == 0 { String::new() } else { format!("\x1b[{rows}A") };
            let lines: String = lines.iter().map(|line| format!("\x1b[K{line}\n")).collect();
            print(&format!("{up}{lines}\x1b[J"));
        } else if lines != self.shown {
            print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        }
        self.shown = lines;
    }
}
